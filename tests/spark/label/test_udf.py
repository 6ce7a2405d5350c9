"""`safeguard_label` in SQL gives the same verdicts as the label job."""

import pytest
from pyspark.errors import PySparkException

from safeguard_spark.spark.label.udf import register
from tests.build import policy, posts
from tests.spark.label.test_faults_engine import faulty_vllm
from tests.spark.lake import Lake

pytestmark = pytest.mark.spark


def test_sql_gives_the_jobs_verdicts(lake: Lake) -> None:
    not_labelled = [("e", ""), ("n", None), ("r", "zzrefuse"), ("f", "zzfail"), ("g", "zzgarbage")]
    lake.write([*posts(95, "a replica {n}", *["a table {n}"] * 3), *not_labelled])
    lake.label()
    from_job = {id: (r.outcome, r.violation, r.category, r.rule_ids, r.rationale) for id, r in lake.current().items()}
    lake.calls()
    register(lake.spark, lake.config(), policy())
    lake.spark.read.format("delta").load(str(lake.posts)).createOrReplaceTempView("posts")
    rows = lake.spark.sql("SELECT id, safeguard_label(body) AS l FROM posts").collect()
    from_sql = {
        row.id: (row.l.outcome, row.l.violation, row.l.category, row.l.rule_ids, row.l.rationale) for row in rows
    }
    assert from_sql == from_job
    assert lake.calls() == 98 + 1  # a second look
    assert lake.spark.sql("SELECT safeguard_label(body).violation FROM posts LIMIT 10").count() == 10


@pytest.mark.slow
def test_a_start_that_failed_in_one_query_is_tried_again_in_the_next(lake: Lake) -> None:
    lake.write([("p1", "row 1 is here")])
    env = {"MISBEHAVE": "out_of_memory", "ONCE": str(lake.folder / "once")}
    register(lake.spark, lake.config(engine=faulty_vllm(lake, env=env, restarts=0)), policy())
    contents = lake.spark.read.format("delta").load(str(lake.posts))
    with pytest.raises(PySparkException, match="CUDA out of memory"):
        contents.selectExpr("safeguard_label(body) AS label").collect()
    (row,) = contents.selectExpr("safeguard_label(body) AS label").collect()
    assert row.label.outcome == "labelled"


def test_bytes_and_turns_are_judged_and_a_number_is_not_recorded_as_empty(lake: Lake) -> None:
    register(lake.spark, lake.config(), policy())
    turn = "named_struct('text', 'a replica', 'role', 'user')"
    row = lake.spark.sql(
        f"SELECT safeguard_label(encode('a replica', 'utf-8')) b, safeguard_label(array({turn})) t, "
        "safeguard_label(id) n, safeguard_label(cast(null AS BINARY)) e FROM range(1)"
    ).first()
    assert row is not None
    assert [row[name].violation for name in "bt"] == [True, True]
    assert [row[name].outcome for name in "ne"] == ["invalid_content", "empty"]
