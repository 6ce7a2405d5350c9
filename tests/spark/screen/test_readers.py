"""Screened labels for readers and other commands: what counts them, leaves them out, or has them judged again."""

import json
from pathlib import Path

import pytest
import yaml
from pyspark.sql import functions as F

import safeguard_spark as sg
from safeguard_spark.relabel.budget import Budget
from safeguard_spark.relabel.plan import plan_text
from safeguard_spark.relabel.scope import parse_scope
from safeguard_spark.spark.label.job import label_table
from safeguard_spark.spark.relabel.apply import apply_plan, prepare_application
from safeguard_spark.spark.relabel.carry_over import carry_over_verdicts
from safeguard_spark.spark.relabel.planner import PlanRequest, plan_relabel
from safeguard_spark.spark.relabel.version_pairs import compare_versions
from safeguard_spark.spark.screen.make import train_screen
from safeguard_spark.spark.screens import find_screen, retire_screen
from safeguard_spark.spark.tables import Tables
from tests.spark import screened
from tests.spark.lake import Lake
from tests.spark.relabelling import NEW, OLD, configured

pytestmark = [pytest.mark.spark, pytest.mark.slow]


def test_readers_see_screened_labels_and_other_commands_judge_or_leave_them(lake: Lake, tmp_path: Path) -> None:
    lake.write(screened.posts(600, share=0.2, new_kind=0.1))
    lake.create()
    config = configured(lake)
    label_table(lake.spark, config, [OLD], show=False)
    tracked = configured(lake, tracking={"enabled": True})
    screen = train_screen(lake.spark, tracked, OLD, 0.9, critical=False)
    later = screened.posts(1_000, start=600, new_kind=0.1)
    lake.write(later)
    with_screen = configured(lake, screen={"id": screen.screen_id, "audit": 20})
    run = label_table(lake.spark, with_screen, [OLD], show=False)
    cleared = run.outcomes["screened"]

    # Readers: one label each, in Spark and in DuckDB, by the active labeler or the screen that stands in for it.
    current = lake.current()
    assert len(current) == 1_000
    assert sum(row.outcome == "screened" and row.violation is False for row in current.values()) == cleared
    with lake.duckdb() as duckdb:
        counted = duckdb.execute("SELECT outcome, count(*) FROM labels_current GROUP BY outcome").fetchall()
    assert dict(counted) == {"labelled": 1_000 - cleared, "screened": cleared}

    # A golden set of the same contents: what the screen cleared is judged, for the labeler is what is measured.
    golden_set = {
        "name": "golden", "version": "1", "licence": "MIT", "may_redistribute": True, "location": "./rows.jsonl",
        "id_column": "_row", "text_column": "text", "mapping": {"market": "expected"},
    }  # fmt: skip
    (tmp_path / "set.yaml").write_text(yaml.safe_dump(golden_set))
    expected = [{"text": body, "expected": int("replica" in body or "rifle" in body)} for _, body in later[:100]]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, expected)))
    evaluation = sg.evaluate(with_screen, OLD, sets=tmp_path / "set.yaml", spark=lake.spark, progress=False)
    assert evaluation.calls == sum(current[id].outcome == "screened" for id, _ in later[:100]) > 20
    in_set = lake.read("labels").where("collection = 'golden'").groupBy("outcome").count().collect()
    assert [tuple(row) for row in in_set] == [("labelled", 100)]

    # A new version: what the screen cleared is not affected; a comparison has what the labeler judged on both sides.
    planned = plan_relabel(lake.spark, config, PlanRequest(OLD, NEW, parse_scope("touched", share=0.0)))
    assert f"Screen {screen.screen_id} is for market@1.0.0" in plan_text(planned)
    sampled = plan_relabel(lake.spark, config, PlanRequest(OLD, NEW, parse_scope("where id >= 'p000950'")))
    for plan in (planned.plan, sampled.plan):
        apply_plan(lake.spark, config, prepare_application(lake.spark, config, plan, NEW), Budget(), show=False)
    judged = {id for id, row in current.items() if row.outcome == "labelled"}
    both = {id for id in judged if id >= "p000950" or "M2" in current[id].rule_ids}
    assert planned.plan.rows > 50 and len(both) > planned.plan.rows
    assert compare_versions(lake.spark, config, OLD, NEW).comparison.compared == len(both)
    # Its verdicts are not carried over.
    assert carry_over_verdicts(lake.spark, config, planned.plan, NEW) == len(judged) - len(both)
    assert lake.read("labels").where("policy_version = '1.1.0' AND outcome = 'screened'").count() == 0

    # Judged again on request: the labeler's verdict wins, and the screen stays in use.
    again = plan_relabel(lake.spark, with_screen, PlanRequest(OLD, OLD, parse_scope(f"screened-by {screen.screen_id}")))
    assert again.plan.pending == again.plan.rows == cleared == again.plan.calls + evaluation.calls
    application = prepare_application(lake.spark, with_screen, again.plan, OLD)
    done, _ = apply_plan(lake.spark, with_screen, application, Budget(calls=cleared // 2), show=False)
    outcomes = [row.outcome for row in lake.current().values()]
    assert outcomes.count("screened") == cleared - done.written > 0

    # Retired by hand: the rest is pending for any run.
    tables = Tables(lake.spark, str(lake.tables))
    retire_screen(tables, find_screen(tables, screen.screen_id), "no longer needed")
    last = label_table(lake.spark, with_screen, [OLD], show=False)
    assert last.pending == outcomes.count("screened") and last.spared == 0
    assert {row.outcome for row in lake.current().values()} == {"labelled"}
    # Every content was screened once at most, and never after the labeler had judged it.
    labels = lake.read("labels").where("policy_version = '1.0.0'")
    late = labels.groupBy("content_id").agg(
        F.max(F.when(F.col("screened_for").isNotNull(), F.col("labelled_at"))).alias("screened"),
        F.min(F.when(F.col("outcome") == "labelled", F.col("labelled_at"))).alias("judged"),
        F.count("screened_for").alias("times"),
    )
    assert late.where("times > 1 OR screened > judged").count() == 0
