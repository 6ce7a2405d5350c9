"""Storage that fails, conflicts of commits, clocks that jump, and drivers that clear up after each other."""

import contextlib
import json
import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from pyspark.sql import SparkSession

from safeguard_spark import schema
from safeguard_spark.errors import TableError
from safeguard_spark.result import Status
from safeguard_spark.spark import tables as tables_module
from safeguard_spark.spark.label.recover import recover
from safeguard_spark.spark.staging import MANIFEST, Staging, is_alive, this_process
from safeguard_spark.spark.tables import Tables
from tests.spark.lake import Lake, policy

pytestmark = [pytest.mark.spark, pytest.mark.slow]


def posts(count: int) -> list[tuple[str, str]]:
    return [(f"p{n}", f"a table {n} " + "x" * 400) for n in range(count)]


def assert_once(lake: Lake, count: int) -> None:
    rows = lake.read("labels").groupBy("content_id").count().collect()
    assert len(rows) == count and {row["count"] for row in rows} == {1}
    assert not list((lake.tables / "_staging").glob("*"))


@contextlib.contextmanager
def files_at_most(spark: SparkSession, size: int) -> Iterator[None]:
    """No file of the JVM may grow past `size` bytes: what a full disk looks like from there."""
    pid = int(spark._jvm.java.lang.ProcessHandle.current().pid())
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def test_a_disk_that_is_full_is_one_sentence_and_costs_nothing(lake: Lake) -> None:
    lake.write([(f"p{n}", f"a table {n}" + str(n) * 3000) for n in range(100)])
    with files_at_most(lake.spark, 20_000), pytest.raises(TableError, match="issue the same command again") as caught:
        lake.label()
    assert "a table" not in str(caught.value) and "\n" not in str(caught.value)
    assert lake.calls() == 0
    assert not list((lake.tables / "_staging").glob("*"))
    assert lake.label().written == 100
    assert_once(lake, 100)


def test_a_staging_folder_that_cannot_be_made_is_one_sentence(lake: Lake) -> None:
    lake.write(posts(5))
    (lake.folder / "file").write_text("in the way")
    with pytest.raises(TableError, match="issue the same command again"):
        lake.label(run={"staging": str(lake.folder / "file" / "staging")})
    assert lake.calls() == 0
    assert lake.label().written == 5


@contextlib.contextmanager
def refusing(lake: Lake, allowed: str) -> Iterator[None]:
    """The labels table takes only rows for which a condition holds."""
    tables = Tables(lake.spark, str(lake.tables))
    tables.create()
    lake.spark.sql(f"ALTER TABLE {tables.sql(schema.LABELS)} ADD CONSTRAINT refusing CHECK ({allowed})")
    try:
        yield
    finally:
        lake.spark.sql(f"ALTER TABLE {tables.sql(schema.LABELS)} DROP CONSTRAINT refusing")


def test_a_run_that_fails_after_answers_leaves_them_to_the_next_in_the_same_process(lake: Lake) -> None:
    lake.write(posts(120))
    with refusing(lake, "chunk <> 1"), pytest.raises(TableError, match="Labels cannot be written") as caught:
        lake.label(run={"chunk_rows": 40})
    assert "a table" not in str(caught.value) and "p1" not in str(caught.value)
    before = lake.calls()
    again = lake.label(run={"chunk_rows": 40})
    assert before + lake.calls() == 120  # nothing that was answered is asked again
    said = {row.status: row.written for row in lake.read("runs").collect()}
    assert said == {"failed": 120 - again.written, "complete": again.written}
    assert_once(lake, 120)


def test_an_engine_that_never_comes_up_leaves_no_label_without_a_run(lake: Lake) -> None:
    lake.write([("e", ""), ("x", "a table")])
    engine = {"kind": "endpoint", "url": "http://127.0.0.1:9", "model": "m", "deadline_s": 1.0}
    for _ in range(2):
        with contextlib.suppress(Exception):
            lake.label(engine=engine, run={"chunk_rows": 1})
    lake.label(run={"chunk_rows": 1})
    labels = lake.read("labels").groupBy("run_id").count().collect()
    runs = {row.run_id: row.written for row in lake.read("runs").collect() if row.written}
    assert {row.run_id: row["count"] for row in labels} == runs
    assert not list((lake.tables / "_staging").glob("*"))


def test_commits_that_conflict_are_made_again(lake: Lake) -> None:
    lake.write(posts(90))
    lake.label(source={"location": str(lake.posts), "text_column": "body", "limit": 10})
    place = f"delta.`{lake.tables}/labels`"

    def disturb() -> None:
        for number in range(8):
            with contextlib.suppress(Exception):  # it may lose the race itself
                lake.spark.sql(f"ALTER TABLE {place} SET TBLPROPERTIES ('note' = '{number}')")
            with contextlib.suppress(Exception):
                lake.spark.sql(f"OPTIMIZE {place}")

    with ThreadPoolExecutor(1) as pool:
        disturbed = pool.submit(disturb)
        assert lake.label(run={"chunk_rows": 30}).status is Status.complete
        disturbed.result()
    assert_once(lake, 90)


class Skewed(datetime):
    """A clock that is wrong by `by`."""

    by = timedelta()

    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
        return datetime.now(UTC) + cls.by


def test_a_clock_set_back_makes_no_newer_label_older(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.write(posts(10))
    monkeypatch.setattr(tables_module, "datetime", Skewed)
    Skewed.by = timedelta(days=40)
    lake.label()
    Skewed.by = timedelta(days=-40)
    lake.write([("p0", "a replica, edited")], mode="append")
    lake.spark.sql(f"DELETE FROM delta.`{lake.posts}` WHERE id = 'p0' AND body LIKE 'a table%'")
    assert lake.label().written == 1
    assert lake.current()["p0"].violation is True
    assert lake.label().pending == 0
    # A draft whose text changes under the same version rules with its new text.
    changed = policy(text="No replicas, no rifles, no tables.")
    assert lake.label(changed).written == 10
    assert {row.policy_hash for row in lake.current().values()} == {changed.policy_hash}


def test_drivers_that_recover_the_same_dead_run_at_once_do_not_stumble(lake: Lake) -> None:
    lake.write(posts(200))
    staged = lake.tables / "_staging"
    with refusing(lake, "chunk < 0"), pytest.raises(TableError):
        lake.label(run={"chunk_rows": 25})
    assert len(list(staged.glob("*/0/results/*/_SUCCESS"))) >= 2
    tables, config = Tables(lake.spark, str(lake.tables)), lake.config()
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(recover, tables, Staging(lake.spark, str(staged)), config) for _ in range(4)]:
            done.result()
    assert [row.status for row in lake.read("runs").collect()] == ["failed"]
    lake.label()
    assert_once(lake, 200)


def test_who_lives_does_not_depend_on_the_wall_clock(lake: Lake) -> None:
    staging = Staging(lake.spark, str(lake.folder / "staging"))
    mine = this_process()
    assert is_alive(staging, "r", {"driver": mine}, 1.0)
    assert not any(key in json.dumps(mine) for key in ("boot", "time", "started"))
    assert not is_alive(staging, "r", {"driver": {**mine, "born": "0"}}, 1.0)
    assert not is_alive(staging, "r", {"driver": mine, "left": True}, 1.0)
    elsewhere = {"driver": {**mine, "machine": mine["machine"].split()[0]}}  # another of its name
    assert not is_alive(staging, "r", elsewhere, 1.0)
    staging.touch("r", "alive")
    assert is_alive(staging, "r", elsewhere, 1.0)
    assert not is_alive(staging, "r", elsewhere, -1.0)


def test_what_a_run_left_without_its_manifest_goes_when_nobody_can_be_at_it(lake: Lake) -> None:
    lake.write(posts(3))
    staging = Staging(lake.spark, str(lake.tables / "_staging"))
    staging.touch("begun", f"{MANIFEST}.0a.draft")
    staging.touch("emptied", "x")
    staging.delete("emptied", "x")
    lake.label()
    assert staging.names() == ["begun"]  # a driver may be about to write the manifest
    lake.label(run={"heartbeat_s": 0.0001})
    assert staging.names() == []
