"""A content is known by its collection and its id: two sources in one output, tables of an earlier release, copies."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from safeguard_spark import schema
from safeguard_spark.cli.app import run_command
from safeguard_spark.config.model import RunConfig
from safeguard_spark.result import RunResult
from safeguard_spark.spark.history import labels_as_of
from safeguard_spark.spark.label.dry_run import dry_run
from safeguard_spark.spark.maintain.erase import erase_contents
from safeguard_spark.spark.reader import LabelTables
from safeguard_spark.spark.tables import PROPERTIES, Tables
from tests.build import policy
from tests.spark.lake import Lake, in_duckdb

pytestmark = pytest.mark.spark

POSTS = [("1", "a replica"), ("2", "a table"), ("3", "a lamp")]
COMMENTS = [("1", "a chair"), ("2", "a rifle"), ("4", "a lamp")]


def current(lake: Lake) -> dict[tuple[str, str], bool | None]:
    """`labels_current` by collection and id, the same in Spark and in DuckDB."""
    spark = LabelTables.open(lake.spark, str(lake.tables)).labels_current
    columns = ["collection", "content_id", "violation"]
    rows = [tuple(row) for row in spark.select(columns).collect()]
    assert sorted(rows) == sorted(rows_in_duckdb(lake.tables, f"SELECT {', '.join(columns)} FROM labels_current"))
    by_content = {(collection, id): violation for collection, id, violation in rows}
    assert len(by_content) == len(rows)
    return by_content


def rows_in_duckdb(folder: Path, query: str) -> list[Any]:
    """A query over the views of `views.sql` in DuckDB."""
    with in_duckdb(folder) as connection:
        return connection.execute(query).fetchall()


@pytest.fixture
def two(lake: Lake) -> Iterator[tuple[Lake, dict[str, str]]]:
    """A lake with two sources whose ids overlap, by the name of their collection."""
    lake.write(POSTS)
    comments = Lake(lake.spark, lake.folder / "other")
    comments.write(COMMENTS)
    yield lake, {"posts": str(lake.posts), "comments": str(comments.posts)}


def label(lake: Lake, location: str, name: str | None = None, **sections: Any) -> RunResult:
    return lake.label(source={"location": location, "name": name}, **sections)


def test_ids_of_two_sources_may_be_equal_and_runs_over_both_settle(two: tuple[Lake, dict[str, str]]) -> None:
    lake, sources = two
    label(lake, sources["posts"])
    assert label(lake, sources["comments"]).calls == 2  # the lamp has a verdict
    expected = {
        **{(f"file:{sources['posts']}", id): "replica" in body for id, body in POSTS},
        **{(f"file:{sources['comments']}", id): "rifle" in body for id, body in COMMENTS},
    }
    assert current(lake) == expected
    for location in (sources["posts"], sources["comments"], sources["posts"]):
        again = label(lake, location)
        assert (again.pending, again.calls, again.written) == (0, 0, 0)
        assert dry_run(lake.spark, configured(lake, location), [policy()]).pending == 0
    assert current(lake) == expected
    moment = datetime.now(UTC)
    tables = Tables.open(lake.spark, str(lake.tables))
    told = labels_as_of(tables, moment).where("content_id = '1'").orderBy("collection").collect()
    assert [(row["collection"], row["violation"]) for row in told] == [
        (f"file:{sources['comments']}", False), (f"file:{sources['posts']}", True),
    ]  # fmt: skip
    # A name that is set later is another collection: its verdicts are reused, and the old labels stay.
    renamed = label(lake, sources["posts"], "posts")
    assert (renamed.calls, renamed.written) == (0, 3)
    assert current(lake) == {**expected, **{("posts", id): "replica" in body for id, body in POSTS}}
    # With the name, the folder may move.
    moved = lake.folder / "moved"
    shutil.move(sources["posts"], moved)
    assert label(lake, str(moved), "posts").pending == 0


def configured(lake: Lake, location: str, name: str | None = None) -> RunConfig:
    return lake.config(source={"location": location, "name": name})


@pytest.mark.slow
def test_an_id_is_erased_in_one_collection_or_in_all(
    two: tuple[Lake, dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    lake, sources = two
    for name, location in sources.items():
        label(lake, location, name)
    decided = ", ".join(f"('{name}', '{name}', '1', 'first', 'unsure')" for name in sources)
    columns = "decision_id, collection, content_id, stage, answer"
    lake.spark.sql(f"INSERT INTO delta.`{lake.tables}/decisions` ({columns}) VALUES {decided}")
    done = erase_contents(lake.spark, lake.config(), ["1", "3"], collection="posts")
    assert done.rows["decisions"] == 1 and lake.read("decisions").head()["collection"] == "comments"
    assert (done.found, done.rows["labels"], done.rows["reasoning"]) == (2, 2, 1)
    assert done.collections == {"comments": 1, "posts": 2}
    assert done.shared == 1  # the lamp
    assert set(current(lake)) == {("posts", "2"), ("comments", "1"), ("comments", "2"), ("comments", "4")}
    (lake.folder / "conf.yaml").write_text("engine: {kind: scripted}\n")
    command = ["maintain", "erase", "--config", str(lake.folder / "conf.yaml"), "--output", str(lake.tables), "--json"]
    assert run_command([*command, "--ids", "2"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out.splitlines()[-1])["collections"] == {"comments": 1, "posts": 1}
    assert "in 2 collections, and were erased in each: 1 in comments, 1 in posts" in printed.err
    assert set(current(lake)) == {("comments", "1"), ("comments", "4")}
    assert run_command([*command, "--ids", "1", "--collection", "posts"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out.splitlines()[-1])["found"] == 0
    assert "other collections have too, where they were not erased: 1 in comments." in printed.err
    # A mistyped collection is no collection without these ids.
    for mistyped, hint in (("comment", "Did you mean comments?"), ("profile-texts", "Collections: comments.")):
        assert run_command([*command, "--ids", "1", "--collection", mistyped]) == 2
        printed = capsys.readouterr()
        assert f"There is no collection {mistyped} in " in printed.err and hint in printed.err
    assert set(current(lake)) == {("comments", "1"), ("comments", "4")}


# Tables of the release before collections


def of_the_last_release(lake: Lake) -> None:
    """Label, then write the same rows to tables without the columns that this release adds."""
    lake.label()
    lake.calls()
    for table in (schema.LABELS, schema.ACTIVATIONS, schema.PLANS):
        rows = lake.read(table.name).drop(*table.added).collect()
        ddl = ", ".join(f"{c.name} {c.type}" for c in table.columns if c.name not in table.added)
        properties = {**PROPERTIES, **{f"delta.constraints.{name}": check for name, check in table.checks}}
        listed = ", ".join(f"'{key}' = \"{value}\"" for key, value in properties.items())
        shutil.rmtree(lake.tables / table.name)
        path = f"delta.`{lake.tables / table.name}`"
        lake.spark.sql(f"CREATE TABLE {path} ({ddl}) USING delta TBLPROPERTIES ({listed})")
        lake.spark.createDataFrame(rows, ddl).write.format("delta").mode("append").save(str(lake.tables / table.name))


def files(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}


@pytest.mark.slow
def test_tables_of_the_last_release_are_read_as_they_are_and_get_the_columns_without_a_rewrite(lake: Lake) -> None:
    lake.write(POSTS)
    of_the_last_release(lake)
    expected = {(f"file:{lake.posts}", id): "replica" in body for id, body in POSTS}
    before, data = schema_of(lake, "labels"), files(lake.tables / "labels")
    assert "collection" not in before
    reader = LabelTables.open(lake.spark, str(lake.tables))
    reader.create_views()
    assert dry_run(lake.spark, lake.config(), [policy()]).pending == 0
    for rows in (reader.labels, reader.labels_current, lake.spark.table("labels"), lake.spark.table("labels_current")):
        assert {(row.collection, row.content_id): row.violation for row in rows.collect()} == expected
    assert schema_of(lake, "labels") == before, "a reader changes nothing"
    lake.write([("4", "a rifle")])
    result = lake.label()
    assert (result.pending, result.calls, lake.calls()) == (1, 1, 1)
    for table in schema.TABLES:
        assert schema_of(lake, table.name) == table.names
    log = DeltaTable(str(lake.tables / "labels"))
    assert log.protocol().min_reader_version == 1
    assert log.schema().fields[0].metadata["comment"] == schema.LABELS.columns[0].comment
    assert {name: time for name, time in files(lake.tables / "labels").items() if name in data} == data
    assert not [entry for entry in log.history() if entry["operation"] not in ("CREATE TABLE", "WRITE", "ADD COLUMNS")]
    assert current(lake) == {**expected, (f"file:{lake.posts}", "4"): True}
    # The rows that an older release still writes have no collection either.
    assert lake.label().pending == 0
    done = erase_contents(lake.spark, lake.config(), ["1"], collection=f"file:{lake.posts}")
    assert done.rows["labels"] == 1


def schema_of(lake: Lake, table: str) -> list[str]:
    return [field.name for field in DeltaTable(str(lake.tables / table)).schema().fields]


@pytest.mark.slow
def test_the_views_of_copied_tables_read_the_copy_once_the_folder_is_replaced(lake: Lake) -> None:
    lake.write(POSTS)
    lake.label()
    Tables.open_or_create(lake.spark, str(lake.tables))
    copy = lake.folder / "copy"
    shutil.copytree(lake.tables, copy)
    text = (copy / "views.sql").read_text()
    assert f"sed -i 's|{lake.tables}/|/path/of/the/copy/|g' views.sql" in text
    for name in ("views.sql", "views_spark.sql"):
        (copy / name).write_text((copy / name).read_text().replace(f"{lake.tables}/", f"{copy}/"))
    lake.spark.sql(f"DELETE FROM delta.`{copy}/labels` WHERE content_id = '1'")
    statements = (copy / "views_spark.sql").read_text().split(";\n")
    for statement in filter(str.strip, statements):
        lake.spark.sql(statement)
    query = "SELECT content_id FROM labels_current ORDER BY content_id"
    assert [tuple(row) for row in lake.spark.sql(query).collect()] == rows_in_duckdb(copy, query) == [("2",), ("3",)]
