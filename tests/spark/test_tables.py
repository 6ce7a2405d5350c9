"""The label tables: as other programs read them, as writers create them, and readers that change nothing."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import polars
import pytest
import yaml
from delta import exceptions
from deltalake import DeltaTable
from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException, PySparkException
from pyspark.errors.exceptions import captured

from safeguard_spark import schema
from safeguard_spark.errors import TableError
from safeguard_spark.spark.failures import is_conflict, retrying
from safeguard_spark.spark.label.dry_run import dry_run
from safeguard_spark.spark.reader import LabelTables
from safeguard_spark.spark.relabel.version_pairs import compare_versions
from safeguard_spark.spark.tables import Tables
from tests.build import policy, posts
from tests.soak.job import CONF
from tests.spark.lake import Lake
from tests.versions import NEW, OLD, TEXT

pytestmark = pytest.mark.spark
STATES = ("created", "missing", "empty folder", "empty log", "draft", "committed")  # that a killed driver leaves


@pytest.fixture
def labelled(lake: Lake) -> Lake:
    lake.write([*posts(60, "a table {n}", "a replica {n}", "a replica {n}"), ("r", "zzrefuse")])
    lake.label()
    return lake


def test_delta_rs_duckdb_and_polars_agree_with_spark(labelled: Lake) -> None:
    path = str(labelled.tables / "labels")
    expected = {
        (row.content_id, row.outcome, row.violation, *row.rule_ids) for row in labelled.read("labels").collect()
    }
    arrow = DeltaTable(path).to_pyarrow_table()
    listed = {(r["content_id"], r["outcome"], r["violation"], *r["rule_ids"]) for r in arrow.to_pylist()}
    assert listed == expected and len(expected) == 61
    frame = polars.read_delta(path)
    assert {(r["content_id"], r["outcome"], r["violation"], *r["rule_ids"]) for r in frame.to_dicts()} == expected
    dataset = DeltaTable(path).to_pyarrow_dataset()  # noqa: F841  DuckDB finds it by its name
    rows = duckdb.sql("SELECT content_id, outcome, violation, rule_ids FROM dataset").fetchall()
    assert {(id, outcome, violation, *rules) for id, outcome, violation, rules in rows} == expected


def test_the_view_in_views_sql_gives_labels_current_in_duckdb(labelled: Lake) -> None:
    with labelled.duckdb() as connection:
        rows = connection.execute("SELECT content_id, outcome, violation FROM labels_current").fetchall()
    assert set(rows) == {(id, row.outcome, row.violation) for id, row in labelled.current().items()}


def test_every_column_has_a_comment_and_the_tables_need_no_newer_reader(labelled: Lake) -> None:
    for table in schema.TABLES:
        log = DeltaTable(str(labelled.tables / table.name))
        assert log.protocol().min_reader_version == 1
        comments = {field.name: field.metadata.get("comment") for field in log.schema().fields}
        assert comments == {column.name: column.comment for column in table.columns}


@pytest.mark.parametrize("change", ["outcome = 'safe'", "violation = NULL", "confidence = 'sure'", "attempt = 0"])
def test_constraints_refuse_impossible_labels(labelled: Lake, change: str) -> None:
    with pytest.raises((PySparkException, Py4JJavaError), match=r"CHECK constraint"):
        labelled.spark.sql(f"UPDATE delta.`{labelled.tables}/labels` SET {change} WHERE outcome = 'labelled'")


def test_review_is_an_outcome_of_its_own_also_in_tables_of_an_earlier_release(lake: Lake) -> None:
    lake.create()
    labels = f"delta.`{lake.tables}/labels`"
    lake.spark.sql(f"ALTER TABLE {labels} DROP CONSTRAINT outcome_known")
    lake.spark.sql(f"ALTER TABLE {labels} ADD CONSTRAINT outcome_known CHECK (outcome IN ('labelled', 'empty'))")
    lake.write([("a", "a table"), ("b", "a replica"), ("c", "news of a seized rifle"), ("d", "news of a replica")])
    script = {"words": {"news": "Escalate", "replica": "M1"}}
    result = lake.label(policy(review=["Escalate"]), engine={"kind": "scripted", "args": script})
    assert (result.status, result.outcomes) == ("complete", {"labelled": 2, "review": 2})
    rows = {id: (row.outcome, row.violation, row.category) for id, row in lake.current().items()}
    assert rows["a"] == ("labelled", False, None) and rows["b"] == ("labelled", True, "counterfeit")
    assert rows["c"] == rows["d"] == ("review", None, "review")
    assert lake.label(policy(review=["Escalate"]), engine={"kind": "scripted", "args": script}).calls == 0
    with lake.duckdb() as connection:
        query = "SELECT content_id FROM labels_current WHERE violation OR NOT violation ORDER BY 1"
        assert connection.execute(query).fetchall() == [("a",), ("b",)]


def test_drivers_that_create_the_tables_at_once_all_succeed(lake: Lake) -> None:
    lake.spark.sql("CREATE DATABASE races")
    try:
        for output in (str(lake.folder / "raced"), "races"):
            with ThreadPoolExecutor(4) as pool:
                for tables in pool.map(lambda _, name=output: Tables.open_or_create(lake.spark, name), range(4)):
                    assert [tables.read(table).count() for table in schema.TABLES] == [0] * len(schema.TABLES)
    finally:
        lake.spark.sql("DROP DATABASE races CASCADE")


@pytest.mark.parametrize("remains", ["_staged_commits/", ".00000000000000000000.json.1.tmp"])
def test_a_table_whose_driver_died_while_creating_it_is_created(lake: Lake, remains: str) -> None:
    lake.create()
    log = lake.tables / "runs" / "_delta_log"
    shutil.rmtree(log.parent)
    log.mkdir(parents=True)
    (log / remains).mkdir() if remains.endswith("/") else (log / remains).write_text("{")
    tables = Tables.open_or_create(lake.spark, str(lake.tables))
    assert tables.read(schema.RUNS).count() == 0


def test_the_tables_of_a_schema_whose_driver_died_while_creating_them_are_created(lake: Lake) -> None:
    lake.spark.sql("CREATE DATABASE halves")
    try:
        tables = Tables.open_or_create(lake.spark, "halves")
        for position, table in enumerate(schema.TABLES):
            leave(tables, table, STATES[position % len(STATES)])
        tables = Tables.open_or_create(lake.spark, "halves")
        assert [tables.read(table).count() for table in schema.TABLES] == [0] * len(schema.TABLES)
    finally:
        lake.spark.sql("DROP DATABASE halves CASCADE")


def leave(tables: Tables, table: schema.Table, state: str) -> None:
    """Leave a table of a schema as a driver that died while creating it."""
    if state == "created":
        return
    location = tables.spark.sql(f"DESCRIBE DETAIL {tables.sql(table)}").select("location").first()
    assert location is not None
    folder = Path(location[0].removeprefix("file:"))
    copy = shutil.copytree(folder, folder.with_name("copy"))
    tables.spark.sql(f"DROP TABLE {tables.sql(table)}")
    if state == "committed":  # not yet in the catalog
        shutil.copytree(copy, folder)
        os.utime(folder / "_delta_log" / f"{0:020}.json", (0, 0))  # long ago
    elif state != "missing":
        (folder if state == "empty folder" else folder / "_delta_log").mkdir(parents=True)
    if state == "draft":
        (folder / "_delta_log" / ".00000000000000000000.json.1.tmp").write_text("{")
    shutil.rmtree(copy)


def test_the_view_and_the_function_of_a_catalog_follow_the_code(lake: Lake) -> None:
    lake.spark.sql("CREATE DATABASE follows")
    try:
        tables = Tables.open_or_create(lake.spark, "follows")
        moment = "SELECT * FROM follows.labels_as_of(TIMESTAMP'2026-05-01 12:00:00')"
        lake.spark.sql("CREATE OR REPLACE VIEW follows.labels_current AS SELECT 1 AS older_release")
        lake.spark.sql(
            "CREATE OR REPLACE FUNCTION follows.labels_as_of(moment TIMESTAMP) RETURNS TABLE RETURN SELECT 1 AS older"
        )
        assert Tables.open(lake.spark, "follows").output == "follows"  # a reader changes nothing
        assert lake.spark.table("follows.labels_current").columns == ["older_release"]
        tables.create()
        assert lake.spark.table("follows.labels_current").columns == schema.LABELS.names
        if lake.spark.version >= "4.2":  # older ones take no schema in front of a table function (docs/tables.md)
            assert lake.spark.sql(moment).columns == schema.LABELS.names
    finally:
        lake.spark.sql("DROP DATABASE follows CASCADE")


def test_a_table_that_lacks_a_column_is_refused_in_one_sentence(lake: Lake) -> None:
    lake.write([("a", "a table")])
    lake.create()
    shutil.rmtree(lake.tables / "labels")
    columns = [f"{column.name} {column.type}" for column in schema.LABELS.columns if column.name != "salt"]
    lake.spark.createDataFrame([], ", ".join(columns)).write.format("delta").save(str(lake.tables / "labels"))
    for use in (lambda: LabelTables.open(lake.spark, str(lake.tables)).labels, lake.label):
        with pytest.raises(TableError, match=r"has no column salt: it was made by .* another release"):
            use()


@pytest.mark.parametrize(
    "name", [name for name in exceptions.__all__ if name != "DeltaConcurrentModificationException"]
)
def test_each_conflict_of_delta_is_recognized_by_its_class(lake: Lake, name: str) -> None:
    thrown = getattr(lake.spark._jvm.io.delta.exceptions, name)("the message")
    assert is_conflict(captured.convert_exception(thrown))


def test_an_operation_that_loses_is_tried_again_and_other_errors_are_not() -> None:
    errors = [exceptions.ConcurrentAppendException("lost"), exceptions.MetadataChangedException("lost")]

    def write() -> str:
        if errors:
            raise errors.pop()
        return "written"

    assert retrying(write, "It cannot be written") == "written"
    errors[:] = [exceptions.ConcurrentWriteException("the second attempt"), AnalysisException("no such table")]
    with pytest.raises(TableError, match=r"It cannot be written: no such table"):
        retrying(write, "It cannot be written")
    with pytest.raises(TableError, match=r"1 attempts in a row lost .*the second attempt.*Start fewer runs"):
        retrying(write, "It cannot be written", tries=1)


# A reader


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file and folder with its time of change and its size."""
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in [folder, *folder.rglob("*")]}


def test_a_readers_commands_change_nothing_in_the_tables_folder(lake: Lake) -> None:
    lake.write(posts(8, "a replica {n}"))
    lake.label()
    newer = policy(version="1.1.0", text="No rifles.")
    lake.label(newer)
    (lake.tables / "views.sql").write_text("of another release")
    before = listing(lake.tables)
    compare_versions(lake.spark, lake.config(), policy(), newer)
    dry_run(lake.spark, lake.config(), [newer])
    opened = LabelTables.open(lake.spark, str(lake.tables))
    opened.create_views()
    moment = datetime.now(UTC)
    assert opened.labels_current.count() == opened.labels_as_of(moment).count() == 8
    assert opened.tables.read(schema.ACTIVATIONS).count() == 1
    assert listing(lake.tables) == before


READ_ONLY = """
import sys
from pathlib import Path
from safeguard_spark.cli.app import run_command
try:
    Path(sys.argv[1], "probe").touch()
except PermissionError:
    print("cannot write", file=sys.stderr)
common = ["--config", *sys.argv[2:3], "--json"]
old, new = sys.argv[3:5]
print("compared", run_command(["relabel", "compare", old, new, *common]), file=sys.stderr)
print("planned", run_command(["relabel", "plan", "--policy", new, "--from", old, *common]), file=sys.stderr)
print("planned", run_command(["label", "--dry-run", "--policy", new, *common]), file=sys.stderr)
"""


@pytest.mark.slow
def test_a_user_without_the_right_to_write_compares_and_plans(lake: Lake) -> None:
    lake.write(posts(8, "a rifle {n}"))
    lake.label(OLD)
    lake.label(NEW, source={"limit": 6})
    files = [lake.folder / name for name in ("conf.yaml", "old.md", "new.md")]
    config = lake.config(spark={"master": "local[2]", "conf": CONF}).model_dump(mode="json", exclude_unset=True)
    texts = [yaml.safe_dump(config), TEXT.format(version=OLD.version, weapons="no rifles.")]
    texts.append(TEXT.format(version=NEW.version, weapons="no rifles, unless they are toys."))
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    before = listing(lake.tables)
    # root may write anywhere, unless it gives up that right
    prefix = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []
    subprocess.run(["chmod", "-R", "a-w", str(lake.tables)], check=True)
    try:
        command = [*prefix, sys.executable, "-c", READ_ONLY, str(lake.tables), *map(str, files)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        subprocess.run(["chmod", "-R", "u+w", str(lake.tables)], check=True)
    assert "cannot write" in done.stderr, done.stderr
    assert "compared 0" in done.stderr and done.stderr.count("planned 0") == 2, done.stderr
    compared, planned, dry = map(json.loads, done.stdout.splitlines())
    assert (compared["compared"], planned["rows"], dry["status"], dry["pending"]) == (6, 8, "planned", 2)
    assert "The plan is not stored: " in done.stderr and "as a user who may write there" in done.stderr
    assert listing(lake.tables) == before
