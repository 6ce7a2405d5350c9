"""Labels of several labelers under one version: which are active, and how to go from one to the other and back."""

import logging
from pathlib import Path
from typing import Any

import pytest

from safeguard_spark import schema
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError, GateError, TableError
from safeguard_spark.labelling.labeler import Labeler
from safeguard_spark.policy.document import Policy
from safeguard_spark.relabel.budget import Budget
from safeguard_spark.relabel.plan import plan_text
from safeguard_spark.relabel.scope import parse_scope
from safeguard_spark.spark.activations import activate, active, labeler_of
from safeguard_spark.spark.label.dry_run import dry_run
from safeguard_spark.spark.label.job import label_table
from safeguard_spark.spark.relabel.apply import apply_plan, prepare_application
from safeguard_spark.spark.relabel.planner import PlanRequest, plan_relabel
from safeguard_spark.spark.relabel.promote import promote_version
from safeguard_spark.spark.relabel.version_pairs import compare_versions
from safeguard_spark.spark.tables import Tables
from tests.build import policy
from tests.spark.lake import Lake

pytestmark = [pytest.mark.spark, pytest.mark.slow]

POSTS = [("1", "a replica"), ("2", "a table"), ("3", "a rifle"), ("4", "a lamp")]
MARKET = policy()


def configured(lake: Lake, effort: str, **words: str) -> RunConfig:
    """A labeler: an effort, and the words that it judges to violate a rule."""
    engine = {"kind": "scripted", "args": {"words": words, "calls_file": str(lake.folder / "calls")}}
    gate = {"cases": False, "min_coverage": 1.0}
    return lake.config(engine=engine, labeler={"effort": effort}, relabel={"gate": gate})


def current(lake: Lake) -> dict[str, tuple[str, bool | None]]:
    """`labels_current` by id, the same in Spark and by `views.sql` in DuckDB: the effort, and whether it violates."""
    tables = Tables.open(lake.spark, str(lake.tables))
    query = "SELECT content_id, effort, violation FROM "
    rows = [tuple(row) for row in lake.spark.sql(f"{query} ({tables.labels_current})").collect()]
    with lake.duckdb() as connection:
        assert sorted(connection.execute(f"{query} labels_current").fetchall()) == sorted(rows)
    assert len({id for id, _, _ in rows}) == len(rows)
    return {id: (effort, violation) for id, effort, violation in rows}


def label(lake: Lake, config: RunConfig, *policies: Policy) -> Any:
    lake.create()
    return label_table(lake.spark, config, policies or [MARKET], show=False)


def test_from_one_labeler_to_another_and_back(lake: Lake) -> None:
    spark = lake.spark
    lake.write(POSTS)
    low, high = configured(lake, "low", replica="M1"), configured(lake, "high", rifle="M2")
    of_low = {id: ("low", "replica" in body) for id, body in POSTS}
    of_high = {id: ("high", "rifle" in body) for id, body in POSTS}
    assert label(lake, low).message is None
    assert current(lake) == of_low

    planned = dry_run(spark, high, [MARKET])
    with pytest.raises(ConfigError, match=r"labeler changes from scripted/low \(\w{8}\) to scripted/high .*every cont"):
        plan_relabel(spark, high, PlanRequest(MARKET, MARKET, parse_scope("touched", share=0.0)))
    sample = plan_relabel(spark, high, PlanRequest(MARKET, MARKET, parse_scope("sample 2")))
    assert sample.plan.calls == 2 and "labeler: scripted/low (" in plan_text(sample)
    assert "stays valid" not in plan_text(sample)
    application = prepare_application(spark, high, sample.plan, MARKET)
    assert apply_plan(spark, high, application, Budget(), show=False).result.written == 2
    assert compare_versions(spark, high, MARKET, MARKET).comparison.compared == 2
    with pytest.raises(GateError, match="coverage"):
        promote_version(spark, high, MARKET)
    with pytest.raises(ConfigError, match="another labeler than the configured scripted/low"):
        prepare_application(spark, low, sample.plan, MARKET)

    lake.calls()
    everything = plan_relabel(spark, high, PlanRequest(MARKET, MARKET, parse_scope("all"))).plan
    application = prepare_application(spark, high, everything, MARKET)
    assert apply_plan(spark, high, application, Budget(), show=False).result.written == 2
    done = label(lake, high)
    assert (everything.calls, done.pending, lake.calls()) == (2, 0, 2)
    assert planned.message == done.message and "safeguard relabel promote market@1.0.0" in str(done.message)
    assert "market@1.0.0 is active with labeler scripted/low (" in str(done.message)
    assert current(lake) == of_low
    report = compare_versions(spark, high, MARKET, MARKET)
    assert (report.comparison.compared, dict(report.comparison.matrix)) == (
        4, {("counterfeit", "none"): 1, ("none", "weapons"): 1, ("none", "none"): 2},
    )  # fmt: skip
    low_ref, high_ref = (str(Labeler.of(config, MARKET).ref) for config in (low, high))
    assert report.comparison.labelers == (low_ref, high_ref)

    promoted = promote_version(spark, high, MARKET)
    assert promoted.changed and not promoted.is_rollback
    assert str(promoted).startswith(f"market@1.0.0 is active with labeler {high_ref} (replaces market@1.0.0 with ")
    assert current(lake) == of_high
    assert "is active with labeler scripted/high" in str(label(lake, low).message)
    assert current(lake) == of_high and label(lake, high).message is None
    back = promote_version(spark, low, MARKET)
    assert back.changed and back.is_rollback and not back.lines
    assert current(lake) == of_low and lake.calls() == 0
    assert not promote_version(spark, low, MARKET).changed


def test_versions_are_compared_by_one_labeler_each(lake: Lake) -> None:
    spark, newer = lake.spark, policy(version="1.1.0", text="No rifles.")
    lake.write(POSTS)
    low, high = configured(lake, "low", replica="M1"), configured(lake, "high", rifle="M2")
    for config in (low, high):
        label(lake, config, MARKET)
    label(lake, low, newer)
    alone = compare_versions(spark, low, MARKET, newer).comparison
    assert not alone.flips or not any(rate.value for rate in alone.flips.values())
    assert alone.labelers and len(set(alone.labelers)) == 1
    other = compare_versions(spark, low, MARKET, newer, "scripted/high").comparison
    assert other.labelers and other.labelers[0].startswith("scripted/high") and other.compared == 4
    assert sum(rate.value for rate in other.flips.values()) == 0.5
    with pytest.raises(TableError, match=r"market@1\.1\.0 has no labels by the configured labeler scripted/high"):
        compare_versions(spark, high, MARKET, newer)
    with pytest.raises(ConfigError, match=r"--labeler m3: is no labeler of market@1\.0\.0.*scripted/"):
        compare_versions(spark, low, MARKET, newer, "m3")
    tables, ref = Tables.open(spark, str(lake.tables)), Labeler.of(high, MARKET).ref
    assert labeler_of(tables, MARKET, ref, ref.hash[:12]) == ref


def test_a_version_that_an_earlier_release_activated_gets_the_labeler_of_its_newest_label(lake: Lake) -> None:
    lake.write(POSTS)
    low, high = configured(lake, "low", replica="M1"), configured(lake, "high", rifle="M2")
    label(lake, high)
    label(lake, low)
    tables = Tables.open(lake.spark, str(lake.tables))
    lake.spark.sql(f"UPDATE delta.`{lake.tables}/policy_activations` SET labeler = NULL, labeler_hash = NULL")
    assert set(current(lake).values()) == {("low", False), ("low", True)}  # the newest, as before
    assert str(label(lake, high).message).startswith("market@1.0.0 is active with labeler scripted/low")
    row = active(tables, "market")
    assert row is not None and (row["labeler"], row["run_id"][:8]) == ("scripted/low", "upgrade-")
    assert label(lake, low).message is None
    assert len(lake.read("policy_activations").collect()) == 2
    with pytest.raises(GateError, match="gold recall"):
        gate = {"gate": {"cases": False, "min_gold_recall": 0.5}}
        promote_version(lake.spark, high.model_copy(update={"relabel": lake.config(relabel=gate).relabel}), MARKET)


def test_a_drafts_text_that_is_changed_back_is_active_again_although_nothing_is_pending(lake: Lake) -> None:
    lake.write(POSTS)
    draft = policy(text="No rifles.")
    for version in (MARKET, draft):
        lake.label(version)
    assert {row.policy_hash for row in lake.current().values()} == {draft.policy_hash}
    again = lake.label(MARKET)
    assert (again.pending, again.message) == (0, None)
    assert {row.policy_hash for row in lake.current().values()} == {MARKET.policy_hash}


def test_a_policy_that_is_named_twice_is_labelled_once(lake: Lake) -> None:
    lake.write(POSTS)
    done = lake.label(MARKET, policy())
    assert (done.rows, done.calls, done.written, lake.calls()) == (4, 4, 4, 4)
    assert dry_run(lake.spark, lake.config(), [MARKET, policy()]).rows == 4
    for use in (lake.label, lambda *both: dry_run(lake.spark, lake.config(), both)):
        with pytest.raises(ConfigError, match=r"Two of the policies are market@1\.0\.0, with different texts"):
            use(MARKET, policy(text="No rifles."))


def test_two_versions_of_one_text_in_one_command_share_their_calls(lake: Lake) -> None:
    lake.write(POSTS)
    both = [policy(version="1.0.1"), MARKET, policy(version="2.0.0", text="No rifles.")]
    planned = dry_run(lake.spark, lake.config(), both)
    assert (planned.rows, planned.pending, planned.calls) == (12, 12, 8)
    done = lake.label(*both)
    assert (done.pending, done.calls, done.written, lake.calls()) == (12, 8, 12, 8)
    assert {ref: counts["violations"] for ref, counts in done.by_policy.items()} == {
        "market@1.0.1": 2, "market@1.0.0": 2, "market@2.0.0": 2,
    }  # fmt: skip
    assert lake.label(*both).pending == 0


def test_a_run_says_how_many_contents_were_given_up_and_logs_its_engines(
    lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    lake.write([*POSTS, ("5", "zzfail")])
    with caplog.at_level(logging.INFO, logger="safeguard_spark"):
        first = lake.label(run={"max_attempts": 1})
    started = [record.message for record in caplog.records if "was started" in record.message]
    assert len(started) == first.engine_starts and all(first.run_id in message for message in started)
    for _ in range(2):
        done = lake.label(run={"max_attempts": 1})
        assert (done.exit_code, done.pending) == (0, 0)
        assert "1 content is not tried again after 1 failure (run.max_attempts)" in str(done.message)
        assert "--set run.max_attempts=2" in str(done.message)
    assert lake.label(run={"max_attempts": 2}).pending == 1


def test_tables_without_activations_of_a_policy_show_none_of_its_labels(lake: Lake, tmp_path: Path) -> None:
    tables = Tables.open_or_create(lake.spark, str(tmp_path / "empty"))
    assert active(tables, "market") is None
    activate(tables, MARKET, Labeler.of(lake.config(), MARKET).ref, "r", "first labelled")
    assert tables.read(schema.ACTIVATIONS).count() == 1
