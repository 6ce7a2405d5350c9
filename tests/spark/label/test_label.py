"""The label job on real Spark and Delta, with the scripted engine."""

import pytest
from pyspark.sql import functions as F

from safeguard_spark.errors import SourceError, TableError
from safeguard_spark.result import Status
from safeguard_spark.spark.label.dry_run import dry_run
from tests.build import policy, posts
from tests.spark.lake import Lake

pytestmark = pytest.mark.spark

FIFTH = ["a replica, number {n}", *["a table, number {n}"] * 4]  # breaks a rule
NOT_LABELLED = [("empty", ""), ("null", None), ("refused", "zzrefuse"), ("garbage", "zzgarbage"), ("cut", "zzcut")]


def test_every_row_gets_one_outcome_and_nothing_is_called_twice(lake: Lake) -> None:
    lake.write([*posts(200, *FIFTH), *NOT_LABELLED, ("fails", "zzfail")])
    first = lake.label(run={"chunk_rows": 60, "max_attempts": 2})
    assert first.status is Status.partial
    assert (first.rows, first.pending, first.written) == (206, 206, 206)
    assert lake.calls() == first.calls == 204 + 2  # second looks
    current = lake.current()
    assert {id: current[id].outcome for id, _ in NOT_LABELLED} == {
        "empty": "empty", "null": "empty", "refused": "refused", "garbage": "unparseable", "cut": "truncated",
    }  # fmt: skip
    assert sum(row.violation is True for row in current.values()) == 40
    assert current["p5"].rule_ids == ["M1"] and current["p5"].category == "counterfeit"
    assert all(row.violation is None for row in current.values() if row.outcome != "labelled")

    second = lake.label(run={"chunk_rows": 60, "max_attempts": 2})
    assert (second.pending, lake.calls()) == (1, 1)  # only the row that may end differently
    assert second.status is Status.complete and "max_attempts" in str(second.message)
    third = lake.label(run={"chunk_rows": 60, "max_attempts": 2})  # nothing to do, so it has no row of its own
    assert (third.run_id, third.pending, third.calls, third.written, lake.calls()) == (second.run_id, 0, 0, 0, 0)
    assert lake.current()["fails"].attempt == 2

    runs = lake.read("runs").orderBy("started_at").select("run_id", "status", "written", "calls").collect()
    written = {
        row.run_id: row["n"] for row in lake.read("labels").groupBy("run_id").agg(F.count("*").alias("n")).collect()
    }
    assert [row.status for row in runs] == ["partial", "complete"]
    assert [written.get(row.run_id, 0) for row in runs] == [row.written for row in runs]
    assert lake.read("reasoning").count() == 204 + 2 + 1
    assert not (lake.tables / "_staging").exists() or not list((lake.tables / "_staging").iterdir())


def test_new_edited_and_reposted_rows_cost_only_calls_for_new_contents(lake: Lake) -> None:
    lake.write(posts(120, *FIFTH))
    lake.label()
    assert lake.calls() == 120
    edited = posts(5, "a rifle, edited {n}")
    lake.write([*edited, *posts(120, *FIFTH)[5:]], mode="overwrite")
    lake.write([*posts(130, *FIFTH, start=120), *((f"repost{n}", "a table, number 7") for n in range(100))])
    result = lake.label()
    assert result.written == 5 + 10 + 100
    assert lake.calls() == result.calls == 5 + 10
    current = lake.current()
    assert len(current) == 230
    assert current["p3"].rule_ids == ["M2"] and current["repost99"].violation is False
    assert current["repost99"].prompt_tokens is None  # the call was paid for once, under p7

    lake.write(posts(1, *FIFTH), mode="overwrite")  # p0's edit is reverted
    reverted = lake.label()
    assert (reverted.written, lake.calls()) == (1, 0)
    assert lake.current()["p0"].rule_ids == ["M1"]


def test_several_policies_and_versions_have_separate_labels(lake: Lake) -> None:
    lake.write(posts(40, *FIFTH))
    one, other = policy(), policy(name="other", text="Something else.")
    twins = dry_run(lake.spark, lake.config(), [one, policy(version="1.0.1")])
    assert (twins.rows, twins.pending, twins.calls) == (80, 80, 40)
    both = lake.label(one, other)
    assert (both.rows, both.written, lake.calls()) == (80, 80, 80)
    newer = policy(version="1.1.0", text="No replicas at all.")
    assert lake.label(newer).written == 40 and lake.calls() == 40
    # The new version is active only after a promotion.
    rows = lake.spark.sql("SELECT policy, policy_version, count(*) n FROM labels_current GROUP BY 1, 2").collect()
    assert {(row.policy, row.policy_version, row.n) for row in rows} == {
        ("market", "1.0.0", 40),
        ("other", "1.0.0", 40),
    }
    # The same text under another version number costs nothing.
    assert lake.label(policy(version="1.0.1")).written == 40 and lake.calls() == 0


@pytest.mark.slow
def test_a_conversation_column_is_judged_as_conversations(lake: Lake) -> None:
    ddl = "id STRING, turns ARRAY<STRUCT<role: STRING, content: STRING>>"
    turns = [("user", "how much is the replica"), ("assistant", "ten")]
    lake.write([("a", turns), ("b", []), ("c", None), ("d", [None]), ("e", [("user", "hello")])], ddl)
    result = lake.label(source={"location": str(lake.posts), "text_column": None, "conversation_column": "turns"})
    assert result.written == 5
    outcomes = {id: row.outcome for id, row in lake.current().items()}
    assert outcomes == {"a": "labelled", "b": "empty", "c": "empty", "d": "empty", "e": "labelled"}


@pytest.mark.slow
def test_a_limit_takes_the_same_rows_each_time(lake: Lake) -> None:
    lake.write(posts(50, *FIFTH))
    limited = {"location": str(lake.posts), "text_column": "body", "limit": 10}
    assert lake.label(source=limited).written == 10
    assert lake.label(source=limited).written == 0
    assert lake.label().written == 40


@pytest.mark.slow
def test_an_id_with_two_contents_is_labelled_under_both_and_then_done(lake: Lake) -> None:
    lake.write([("x", "a replica"), ("x", "a table"), ("x", "a table"), ("y", "a rifle")])
    first = lake.label(source={"duplicate_ids": "all"})
    assert (first.written, lake.calls()) == (3, 3)
    assert lake.label(source={"duplicate_ids": "all"}).pending == 0


@pytest.mark.slow
def test_parquet_and_integer_ids_work_the_same(lake: Lake) -> None:
    lake.write([(n, f"text {n}") for n in range(20)], "id BIGINT, body STRING", format="parquet")
    lake.label()
    rows = lake.read("labels").collect()
    assert {row.content_id for row in rows} == {str(n) for n in range(20)}
    assert {row.source_version for row in rows} == {None}


def test_an_empty_table_is_complete_at_once(lake: Lake) -> None:
    lake.write([], "id STRING, body STRING")
    result = lake.label()
    assert (result.status, result.rows, result.written) == (Status.complete, 0, 0)


def test_a_row_without_an_id_is_refused_before_any_call(lake: Lake) -> None:
    lake.write([("a", "x"), (None, "y")])
    with pytest.raises(SourceError, match=r"1 rows of .* have no id"):
        lake.label()
    assert lake.calls() == 0


@pytest.mark.parametrize("table", ["labels", "runs"])
def test_an_output_with_another_programs_table_is_refused_and_gets_none_of_ours(lake: Lake, table: str) -> None:
    lake.write(posts(3, *FIFTH))
    lake.spark.createDataFrame([(1,)], "a INT").write.format("delta").save(str(lake.tables / table))
    with pytest.raises(TableError, match="made by another program"):
        lake.label()
    assert [file.name for file in lake.tables.iterdir()] == [table] and lake.calls() == 0


def test_an_output_with_a_folder_of_other_files_is_refused_and_gets_none_of_ours(lake: Lake) -> None:
    lake.write(posts(3, *FIFTH))
    (lake.tables / "runs").mkdir(parents=True)
    (lake.tables / "runs" / "notes.txt").write_text("not a table")
    with pytest.raises(TableError, match=r"runs is not a Delta table\. Name another --output"):
        lake.label()
    assert [file.name for file in lake.tables.iterdir()] == ["runs"] and lake.calls() == 0


def test_tables_in_a_catalog_schema_work_the_same(lake: Lake) -> None:
    lake.write(posts(20, *FIFTH))
    lake.spark.sql("CREATE DATABASE IF NOT EXISTS trust")
    try:
        first = lake.label(output="spark_catalog.trust")
        assert first.written == 20
        assert lake.label(output="spark_catalog.trust").written == 0
        assert lake.spark.sql("SELECT * FROM spark_catalog.trust.labels_current").count() == 20
    finally:
        lake.spark.sql("DROP DATABASE trust CASCADE")
