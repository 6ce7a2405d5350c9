"""From an edited rule to a promoted version and back: plan, apply, compare, promote, on real Spark and Delta."""

import shutil
from datetime import UTC, datetime, timedelta

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from safeguard_spark.errors import GateError, SourceError
from safeguard_spark.evaluation.comparison.compare import Significance
from safeguard_spark.policy.document import parse_policy
from safeguard_spark.relabel.budget import Budget
from safeguard_spark.relabel.plan import RelabelPlan
from safeguard_spark.result import Status
from safeguard_spark.spark.label.job import label_table
from safeguard_spark.spark.relabel.apply import apply_plan, load_plan
from safeguard_spark.spark.relabel.promote import promote_version
from safeguard_spark.spark.relabel.version_pairs import compare_versions, label_again
from safeguard_spark.spark.tables import Tables
from tests.spark.lake import Lake
from tests.spark.relabelling import NEW, OLD, TEXT, WORDS, applied, configured, planned, posts, prepared

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def original(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """240 contents and 40 reposts of the first ones, labelled under OLD; an eighth breaks each of three rules."""
    lake = Lake(spark, tmp_path_factory.mktemp("labelled"))
    lake.write([*posts(240), *((f"r{n}", posts(240)[n][1]) for n in range(40))])
    label_table(spark, configured(lake), [OLD], show=False)
    assert lake.calls() == 240
    return lake


@pytest.fixture
def labelled(original: Lake, lake: Lake) -> Lake:
    """A copy of those tables: Delta's files name each other by relative paths."""
    shutil.copytree(original.posts, lake.posts)
    shutil.copytree(original.tables, lake.tables)
    return lake


def test_a_plan_of_affected_contents_counts_exactly_the_calls_that_are_made(labelled: Lake) -> None:
    before = labelled.read("labels").count()
    report = planned(labelled, "touched")
    assert report.changes.changed == ("M2",) and not report.changes.added
    assert (report.plan.rows, report.plan.calls) == (30 + 5, 30)
    assert report.others["all"] == (280, 240) and report.unlabelled == 280
    assert labelled.read("labels").count() == before and labelled.calls() == 0
    assert report.cost is not None and report.cost.runs == 1

    row = labelled.read("plans").collect()[0]
    stored = load_plan_of(labelled, row["plan_id"])
    assert stored == report.plan and stored.plan_hash == row["plan_hash"]
    assert planned(labelled, "touched").plan.plan_id == report.plan.plan_id  # the same request is the same plan
    assert labelled.read("plans").count() == 1

    result = applied(labelled, report.plan)
    assert result.status is Status.complete
    assert (result.calls, labelled.calls(), result.written) == (30, 30, 35)
    new = labelled.read("labels").where("policy_version = '1.1.0'")
    old = labelled.read("labels").where("policy_version = '1.0.0'")
    relabelled = new.join(old.select("content_id", F.col("rule_ids").alias("old")), on="content_id", how="inner")
    assert {tuple(row["old"]) for row in relabelled.collect()} == {("M2",)}
    assert labelled.read("runs").where(f"plan_id = '{report.plan.plan_id}'").count() == 1
    assert applied(labelled, report.plan).calls == 0


def load_plan_of(lake: Lake, plan_id: str) -> RelabelPlan:
    return load_plan(Tables.open(lake.spark, str(lake.tables)), plan_id)


@pytest.mark.slow
def test_a_sample_has_rare_categories_and_is_the_same_each_time(labelled: Lake) -> None:
    report = planned(labelled, "sample 80")
    sizes = {s.name: (s.size, s.sampled) for s in report.plan.scope.strata}
    assert {name: sampled for name, (_, sampled) in sizes.items()} == {
        "none": 20, "counterfeit": 20, "weapons": 20, "drugs": 20,
    }  # fmt: skip
    assert sum(size for size, _ in sizes.values()) == 280
    assert report.plan.rows == 80
    first = {row["content_id"] for row in prepared(labelled, report.plan).source.frame.collect()}
    second = {row["content_id"] for row in prepared(labelled, report.plan).source.frame.collect()}
    assert first == second and len(first) == 80
    assert applied(labelled, report.plan).calls == report.plan.calls == labelled.calls()


@pytest.mark.slow
def test_a_budget_stops_a_run_and_the_same_command_continues(labelled: Lake) -> None:
    plan = planned(labelled, "all").plan
    assert plan.calls == 240
    spent, rounds = 0, 0
    while True:
        result = applied(labelled, plan, budget=Budget(calls=130))
        rounds += 1
        assert result.calls == labelled.calls() <= 130
        spent += result.calls
        if result.status is Status.complete:
            break
        assert result.exit_code == 6 and "budget of 130 calls" in str(result.message)
        pending = 280 - labelled.read("labels").where("policy_version = '1.1.0'").count()
        assert f"{pending} contents are pending" in str(result.message)
    assert spent == 240 and rounds >= 2
    ids = labelled.read("labels").where("policy_version = '1.1.0'").groupBy("content_id").count()
    assert ids.count() == 280 and ids.where("count > 1").count() == 0
    again = label_table(labelled.spark, configured(labelled), [NEW], show=False)
    assert again.candidates.startswith("Nothing changed since") and again.rows == 280


@pytest.mark.slow
def test_the_newest_contents_are_labelled_first(lake: Lake) -> None:
    ddl = "id STRING, body STRING, made TIMESTAMP"
    start = datetime(2026, 1, 1, tzinfo=UTC)
    lake.write([(id, body, start + timedelta(hours=n)) for n, (id, body) in enumerate(posts(200))], ddl)
    label_table(lake.spark, configured(lake), [OLD], show=False)
    lake.calls()
    plan = planned(lake, "all").plan
    applied(lake, plan, budget=Budget(calls=40), order="newest")
    labelled_ids = sorted(r["content_id"] for r in lake.read("labels").where("policy_version = '1.1.0'").collect())
    assert 30 <= len(labelled_ids) <= 40 and labelled_ids[0] >= "p0150"
    since = planned(lake, "since 2026-01-08").plan
    assert since.rows == 200 - 7 * 24


@pytest.mark.slow
def test_conditions_select_rows_and_conditions_that_are_not_deterministic_are_refused(labelled: Lake) -> None:
    assert planned(labelled, "where id < 'p0010'").plan.rows == 10
    for condition in ("rand() < 0.5", "nosuch = 1", "id ="):
        with pytest.raises(SourceError, match="--scope where"):
            planned(labelled, f"where {condition}")


@pytest.mark.slow
def test_a_changed_source_is_described_and_the_plan_still_applies(labelled: Lake) -> None:
    plan = planned(labelled, "touched").plan
    assert prepared(labelled, plan).source_change is None
    rows = [*posts(240)[3:], ("p0000", "a lamp"), ("p0002", "a rifle, of brass"), ("new", "a rifle, brand new")]
    labelled.write(rows, mode="overwrite")
    change = prepared(labelled, plan).source_change
    assert change is not None and (change.added, change.edited, change.gone) == (0, 1, 5)
    assert "from version 0 to 1" in str(change)
    everything = planned(labelled, "all").plan
    assert everything.rows == 240


@pytest.mark.slow
def test_a_comparison_shows_the_flips_of_the_changed_rule_next_to_noise(labelled: Lake) -> None:
    applied(labelled, planned(labelled, "all").plan)
    config = configured(labelled)
    without_noise = compare_versions(labelled.spark, config, OLD, NEW).comparison
    assert without_noise.compared == 280 and without_noise.flipped is not None and without_noise.flipped.value == 0
    assert without_noise.significance is Significance.unknown
    calls = labelled.calls()
    again = label_again(labelled.spark, config, OLD, 0.5, show=False)
    assert calls == 240 and 80 < labelled.calls() == again.calls < 160
    with_noise = compare_versions(labelled.spark, config, OLD, NEW).comparison
    assert with_noise.significance is Significance.within and with_noise.noise_contents > 90
    current = labelled.current()  # labels that measure noise never count
    assert {row.salt for row in current.values()} == {None} and len(current) == 280


@pytest.mark.slow
def test_a_removed_rule_makes_its_category_more_permissive_and_nothing_else(labelled: Lake) -> None:
    text = TEXT.format(version="2.0.0", weapons="").replace("  - {id: M2, category: weapons}\n", "")
    without = parse_policy(text.replace("- M2: \n", ""))
    report = planned(labelled, "all", without)
    assert report.changes.removed == ("M2",)
    applied(labelled, report.plan, without)
    config = configured(labelled)
    label_again(labelled.spark, config, OLD, 0.5, show=False)
    compared = compare_versions(labelled.spark, config, OLD, without)
    assert [(group.name, group.direction) for group in compared.comparison.beyond_noise] == [
        ("weapons", "more permissive")
    ]
    assert compared.comparison.unexplained is not None and compared.comparison.unexplained.value == 0
    assert {(e.old, e.new) for e in compared.examples} == {("weapons (M2)", "none")}


@pytest.mark.slow
def test_a_sample_is_weighted_back_to_the_table(labelled: Lake) -> None:
    flipping = configured(labelled, args={"words": {**WORDS, "lamp": "M3"}})
    plan = planned(labelled, "sample 120").plan
    application = prepared(labelled, plan)
    apply_plan(labelled.spark, flipping, application, Budget(), show=False)
    comparison = compare_versions(labelled.spark, configured(labelled), OLD, NEW).comparison
    assert comparison.weighted and comparison.flipped is not None
    assert comparison.compared == 120
    assert comparison.flipped.low <= 35 / 280 <= comparison.flipped.high
    raw = sum(n for (old, new), n in comparison.matrix.items() if old != new) / 120
    assert abs(comparison.flipped.value - 35 / 280) < abs(raw - 35 / 280)


def test_a_gate_names_the_failed_line_and_by_how_much_and_a_forced_promotion_keeps_its_reason(labelled: Lake) -> None:
    applied(labelled, planned(labelled, "touched").plan)
    config = configured(labelled, relabel={"gate": {"cases": False, "min_coverage": 0.9}})
    with pytest.raises(GateError, match=r"coverage of the table: 0\.125, at least 0\.9 is required, short by 0\.775"):
        promote_version(labelled.spark, config, NEW)
    assert {row.policy_version for row in labelled.current().values()} == {"1.0.0"}
    labelled.calls()
    done = promote_version(labelled.spark, config, NEW, force=True, reason="court order")
    assert done.forced and done.changed and labelled.calls() == 0
    row = labelled.read("policy_activations").where("policy_version = '1.1.0'").collect()[0]
    assert row["forced"] and row["reason"] == "court order" and "coverage" in row["gate"]
    assert {row.policy_version for row in labelled.current().values()} == {"1.1.0"}
    assert not promote_version(labelled.spark, config, NEW).changed  # it is active already
    back = promote_version(labelled.spark, config, OLD)
    assert back.is_rollback and back.calls == labelled.calls() == 0
    assert len(labelled.current()) == 280
    assert labelled.read("policy_activations").count() == 3
