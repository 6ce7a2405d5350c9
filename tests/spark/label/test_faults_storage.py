"""Failing storage, conflicting commits, clocks that jump, and drivers that clean up after each other."""

import contextlib
import resource
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from pyspark.sql import SparkSession

from safeguard_spark import schema
from safeguard_spark.errors import EngineError, TableError
from safeguard_spark.result import Status
from safeguard_spark.spark import tables as tables_module
from safeguard_spark.spark.label import job
from safeguard_spark.spark.label.audit import RunAudit, audit_of_run
from safeguard_spark.spark.label.recover import recover
from safeguard_spark.spark.label.run import RunContext
from safeguard_spark.spark.staging import DEAD_BEATS, Driver, Manifest, Staging, is_alive
from safeguard_spark.spark.tables import Tables
from tests.build import SkewedClock, policy, posts
from tests.spark.lake import Lake
from tests.staged import manifest

pytestmark = [pytest.mark.spark, pytest.mark.slow]
LONG = "a table {n} " + "x" * 400
HADOOPS_MARKER = "mapreduce.fileoutputcommitter.marksuccessfuljobs"


def assert_labelled_once(lake: Lake, count: int) -> None:
    rows = lake.read("labels").groupBy("content_id").count().collect()
    assert len(rows) == count and {row["count"] for row in rows} == {1}
    assert not list((lake.tables / "_staging").glob("*"))


@contextlib.contextmanager
def files_at_most(spark: SparkSession, size: int) -> Iterator[None]:
    """No file of the JVM may grow past `size` bytes: to the JVM this is a full disk."""
    pid = int(spark._jvm.java.lang.ProcessHandle.current().pid())
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def test_a_disk_that_is_full_before_the_tables_are_complete_is_reported_in_one_sentence(lake: Lake) -> None:
    lake.write(posts(5))
    lake.create()  # without the scripts of the views
    with (
        files_at_most(lake.spark, 10_000),
        pytest.raises(TableError, match=r"views_spark\.sql cannot be written: .*large$"),
    ):
        lake.label()
    assert lake.label().written == 5


def test_a_full_disk_is_reported_in_one_sentence_and_no_call_is_made(lake: Lake) -> None:
    Tables(lake.spark, str(lake.tables)).create()
    lake.write([(f"p{n}", f"a table {n}" + str(n) * 3000) for n in range(100)])
    with files_at_most(lake.spark, 20_000), pytest.raises(TableError, match="issue the same command again") as caught:
        lake.label()
    assert "a table" not in str(caught.value) and "\n" not in str(caught.value)
    assert lake.calls() == 0
    assert not list((lake.tables / "_staging").glob("*"))
    assert lake.label().written == 100
    assert_labelled_once(lake, 100)


def test_a_staging_folder_that_cannot_be_created_is_reported_in_one_sentence(lake: Lake) -> None:
    lake.write(posts(5, LONG))
    (lake.folder / "file").write_text("not a folder")
    with pytest.raises(TableError, match="issue the same command again"):
        lake.label(run={"staging": str(lake.folder / "file" / "staging")})
    assert lake.calls() == 0
    assert lake.label().written == 5


@contextlib.contextmanager
def labels_table_accepts(lake: Lake, condition: str) -> Iterator[None]:
    """Within the block the labels table accepts only rows that meet a condition."""
    tables = Tables(lake.spark, str(lake.tables))
    tables.create()
    lake.spark.sql(f"ALTER TABLE {tables.sql(schema.LABELS)} ADD CONSTRAINT refusing CHECK ({condition})")
    try:
        yield
    finally:
        lake.spark.sql(f"ALTER TABLE {tables.sql(schema.LABELS)} DROP CONSTRAINT refusing")


def test_answers_of_a_failed_run_are_committed_by_the_next_run_in_the_same_process(lake: Lake) -> None:
    lake.write(posts(120, LONG))
    with (
        labels_table_accepts(lake, "chunk <> 1"),
        pytest.raises(TableError, match="Labels cannot be written") as caught,
    ):
        lake.label(run={"chunk_rows": 40})
    assert "a table" not in str(caught.value) and "p1" not in str(caught.value)
    before = lake.calls()
    second = lake.label(run={"chunk_rows": 40})
    assert before + lake.calls() == 120  # no answered content is sent to the model again
    written = {row.status: row.written for row in lake.read("runs").collect()}
    assert written == {"failed": 120 - second.written, "complete": second.written}
    assert_labelled_once(lake, 120)


def test_after_an_engine_that_never_starts_no_label_is_without_a_run(lake: Lake) -> None:
    lake.write([("e", ""), ("x", "a table")])
    engine = {"kind": "endpoint", "url": "http://127.0.0.1:9", "model": "m", "deadline_s": 1.0}
    for _ in range(2):
        with pytest.raises(EngineError, match=r"127\.0\.0\.1:9"):
            lake.label(engine=engine, run={"chunk_rows": 1})
    lake.label(run={"chunk_rows": 1})
    labels = lake.read("labels").groupBy("run_id").count().collect()
    runs = {row.run_id: row.written for row in lake.read("runs").collect() if row.written}
    assert {row.run_id: row["count"] for row in labels} == runs
    assert not list((lake.tables / "_staging").glob("*"))


def test_conflicting_commits_are_tried_again(lake: Lake) -> None:
    lake.write(posts(90, LONG))
    lake.label(source={"location": str(lake.posts), "text_column": "body", "limit": 10})
    labels = f"delta.`{lake.tables}/labels`"

    def disturb() -> None:
        for number in range(8):
            with contextlib.suppress(Exception):  # this commit may be the one that loses
                lake.spark.sql(f"ALTER TABLE {labels} SET TBLPROPERTIES ('note' = '{number}')")
            with contextlib.suppress(Exception):
                lake.spark.sql(f"OPTIMIZE {labels}")

    with ThreadPoolExecutor(1) as pool:
        disturbed = pool.submit(disturb)
        assert lake.label(run={"chunk_rows": 30}).status is Status.complete
        disturbed.result()
    assert_labelled_once(lake, 90)


def test_if_the_clock_goes_back_newer_labels_stay_newer(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.write(posts(10, LONG))
    monkeypatch.setattr(tables_module, "datetime", SkewedClock)
    SkewedClock.by = timedelta(days=40)
    lake.label()
    SkewedClock.by = timedelta(days=-40)
    lake.write([("p0", "a replica, edited")], mode="append")
    lake.spark.sql(f"DELETE FROM delta.`{lake.posts}` WHERE id = 'p0' AND body LIKE 'a table%'")
    assert lake.label().written == 1
    assert lake.current()["p0"].violation is True
    assert lake.label().pending == 0
    # If a draft's text changes under the same version, the new text is active.
    changed = policy(text="No replicas, no rifles, no tables.")
    assert lake.label(changed).written == 10
    assert {row.policy_hash for row in lake.current().values()} == {changed.policy_hash}


@pytest.mark.parametrize("hadoops_marker", [True, False])
def test_several_drivers_can_recover_the_same_dead_run_at_once(lake: Lake, hadoops_marker: bool) -> None:
    lake.write(posts(200, LONG))
    staged = lake.tables / "_staging"
    lake.spark.conf.set(HADOOPS_MARKER, str(hadoops_marker).lower())
    try:
        with labels_table_accepts(lake, "chunk < 0"), pytest.raises(TableError):
            lake.label(run={"chunk_rows": 25})
    finally:
        lake.spark.conf.unset(HADOOPS_MARKER)
    assert len(list(staged.glob("*/0/results/*/_COMPLETE"))) >= 2
    assert bool(list(staged.glob("*/0/results/*/_SUCCESS"))) == hadoops_marker
    tables, config = Tables(lake.spark, str(lake.tables)), lake.config()
    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(recover, tables, Staging(lake.spark, str(staged)), config) for _ in range(4)]:
            future.result()
    assert [row.status for row in lake.read("runs").collect()] == ["failed"]
    lake.label()
    assert_labelled_once(lake, 200)


def test_whether_a_driver_is_alive_does_not_depend_on_the_wall_clock(lake: Lake) -> None:
    staging = Staging(lake.spark, str(lake.folder / "staging"))
    driver = Driver.this_process()
    assert is_alive(staging, "r", manifest(driver), 1.0)
    assert driver.started.isdecimal() and len(driver.started) < len(str(time.time_ns())) - 5  # ticks since boot
    assert not is_alive(staging, "r", manifest(driver.model_copy(update={"started": "0"})), 1.0)
    assert not is_alive(staging, "r", manifest(driver, failed=True), 1.0)
    # Another machine of the same name.
    elsewhere = manifest(driver.model_copy(update={"machine": driver.machine.split()[0]}))
    assert not is_alive(staging, "r", elsewhere, 1.0)
    staging.touch("r", "alive")
    assert is_alive(staging, "r", elsewhere, 1.0)
    assert not is_alive(staging, "r", elsewhere, -1.0)


def test_a_run_folder_without_a_manifest_is_deleted_once_its_driver_counts_as_dead(lake: Lake) -> None:
    lake.write(posts(3, LONG))
    staging = Staging(lake.spark, str(lake.tables / "_staging"))
    staging.touch("begun", f"{Manifest.file_name}.0a.draft")
    staging.touch("emptied", "x")
    staging.delete("emptied", "x")
    lake.label()
    assert staging.names() == ["begun"]  # a driver may be about to write the manifest
    lake.label(run={"heartbeat_s": 0.0001})
    assert staging.names() == []


def test_drivers_that_look_at_one_run_at_once_all_read_the_time(lake: Lake) -> None:
    staging = Staging(lake.spark, str(lake.folder / "staging"))
    staging.touch("r", "alive")

    def times() -> list[float]:
        return [staging.now("r") for _ in range(200)]

    with ThreadPoolExecutor(2) as drivers:
        looks = [drivers.submit(times) for _ in range(2)]
    assert min(min(look.result()) for look in looks) > 0
    assert staging.names("r") == ["alive"]


def test_labels_are_written_although_the_last_commit_of_a_run_has_left_the_log(lake: Lake) -> None:
    lake.write(posts(10, LONG))
    lake.label()
    table, log = f"delta.`{lake.tables}/labels`", lake.tables / "labels" / "_delta_log"
    lake.spark.sql(f"ALTER TABLE {table} SET TBLPROPERTIES ('delta.checkpointInterval' = '2')")
    for number in range(3):
        lake.spark.sql(f"ALTER TABLE {table} SET TBLPROPERTIES ('note' = '{number}')")
    checkpoint = max(path.name[:20] for path in log.glob("*.checkpoint*.parquet"))
    for path in log.glob("*.json"):
        if path.name[:20].isdecimal() and path.name[:20] < checkpoint:
            path.unlink()
    lake.spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()
    lake.write(posts(20, LONG, start=10))
    assert lake.label().written == 10
    assert_labelled_once(lake, 20)


def test_a_run_counts_as_alive_until_it_is_recorded(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    heartbeat_s, seen = 0.05, list[bool]()

    def slow_audit(run: RunContext) -> RunAudit:
        time.sleep(2 * DEAD_BEATS * heartbeat_s)
        driver = run.manifest.driver.model_copy(update={"machine": "another"})
        seen.append(is_alive(run.staging, run.run_id, manifest(driver), heartbeat_s))
        return audit_of_run(run)

    monkeypatch.setattr(job, "audit_of_run", slow_audit)
    lake.write(posts(3, LONG))
    assert lake.label(run={"heartbeat_s": heartbeat_s}).status is Status.complete
    assert seen == [True]
    assert_labelled_once(lake, 3)
