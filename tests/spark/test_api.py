"""The Python interface on Spark: one configuration labels a table, and its readers see the same verdicts."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

import safeguard_spark as sg
from tests.build import policy
from tests.spark.lake import Lake

pytestmark = pytest.mark.spark
TEXTS = {"p0": "a table", "p1": "a replica", "p2": "a rifle", "p3": "", "p4": None, "p5": "zzrefuse", "p6": "a replica"}


def files(folder: Path) -> dict[str, int]:
    return {str(file): file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}


def test_label_a_table_and_read_what_judge_says_of_the_same_texts(lake: Lake) -> None:
    lake.write(list(TEXTS.items()))
    config, market = lake.config(), policy()
    assert sg.session(config) is lake.spark
    plan = sg.dry_run(config, market)
    assert (plan.status, plan.rows, plan.pending, plan.calls) == ("planned", 7, 7, 4)
    assert lake.calls() == 0 and not lake.tables.exists()

    result = sg.label_table(config, market, progress=False)
    assert (result.status, result.written, result.calls, lake.calls()) == ("complete", 7, 4, 4)
    ended = datetime.now(UTC)

    before = files(lake.tables)
    tables = sg.open_tables(config)
    rows = {row.content_id: row for row in tables.labels_current.collect()}
    verdicts = sg.judge(market, TEXTS.values(), config)
    for content_id, verdict in zip(TEXTS, verdicts, strict=True):
        row = rows[content_id]
        label = (row.outcome, row.violation, row.category, tuple(row.rule_ids), row.rationale)
        assert label == (verdict.outcome, verdict.violation, verdict.category, verdict.rule_ids, verdict.rationale)

    by_path = sg.open_tables(lake.tables, spark=lake.spark)
    counts = [frame.count() for frame in (by_path.labels, by_path.runs, by_path.reasoning, by_path.policy_activations)]
    assert counts == [7, 1, 4, 1]
    assert by_path.labels_as_of(ended).count() == 7
    assert by_path.labels_as_of(datetime(2020, 1, 1)).count() == 0
    tables.create_views()
    as_of = f"SELECT * FROM labels_as_of(TIMESTAMP'{ended.isoformat()}')"
    assert lake.spark.sql(as_of).count() == lake.spark.table("labels_current").count() == 7
    assert files(lake.tables) == before, "a reader changed the tables' folder"


@pytest.mark.slow
def test_sql_judges_under_a_policy_file_and_its_own_name(lake: Lake, tmp_path: Path) -> None:
    file = tmp_path / "market.md"
    file.write_text("---\nname: market\nversion: 1.0.0\nrules: [{id: M1, category: counterfeit}]\n---\nNo replicas.\n")
    sg.register_sql(lake.config(), file, name="judge_market", spark=lake.spark)
    row = lake.spark.sql("SELECT judge_market('a replica').category, judge_market(NULL).outcome").first()
    assert row is not None and tuple(row) == ("counterfeit", "empty")


def test_tables_that_are_not_there_are_one_sentence_and_stay_away(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(sg.TableError, match=r"There are no label tables in .*nothing\."):
        sg.open_tables(tmp_path / "nothing", spark=spark)
    assert not (tmp_path / "nothing").exists()
