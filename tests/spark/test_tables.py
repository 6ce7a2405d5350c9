"""The label tables as other programs read them."""

import duckdb
import polars
import pytest
from deltalake import DeltaTable
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException

from safeguard_spark import schema
from tests.spark.lake import Lake

pytestmark = pytest.mark.spark


@pytest.fixture
def labelled(lake: Lake) -> Lake:
    lake.write([*((f"p{n}", f"a replica {n}" if n % 3 else f"a table {n}") for n in range(60)), ("r", "zzrefuse")])
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
    text = (labelled.tables / "views.sql").read_text()
    view = "".join(line[3:] for line in text.split("-- DuckDB")[1].splitlines(keepends=True)[1:])
    with duckdb.connect() as connection:
        for name in ("labels", "policy_activations"):
            path = str(labelled.tables / name)
            connection.register(name, DeltaTable(path).to_pyarrow_dataset())
            view = view.replace(f"delta_scan('{path}')", name)
        connection.execute(view)
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
