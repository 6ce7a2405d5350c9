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


def test_a_plan_of_what_is_touched_counts_exactly_the_calls_that_are_made(labelled: Lake) -> None:
    before = labelled.read("labels").count()
    found = planned(labelled, "touched")
    assert found.changes.changed == ("M2",) and not found.changes.added
    assert (found.plan.rows, found.plan.calls) == (30 + 5, 30)
    assert found.others["all"] == (280, 240) and found.unlabelled == 280
    assert labelled.read("labels").count() == before and labelled.calls() == 0
    assert found.cost is not None and found.cost.runs == 1

    row = labelled.read("plans").collect()[0]
    again = load_plan_of(labelled, row["plan_id"])
    assert again == found.plan and again.plan_hash == row["plan_hash"]
    assert planned(labelled, "touched").plan.plan_id == found.plan.plan_id  # the same question is the same plan
    assert labelled.read("plans").count() == 1

    result = applied(labelled, found.plan)
    assert result.status is Status.complete
    assert (result.calls, labelled.calls(), result.written) == (30, 30, 35)
    new = labelled.read("labels").where("policy_version = '1.1.0'")
    old = labelled.read("labels").where("policy_version = '1.0.0'")
    touched = new.join(old.select("content_id", F.col("rule_ids").alias("was")), on="content_id", how="inner")
    assert {tuple(row["was"]) for row in touched.collect()} == {("M2",)}
    assert labelled.read("runs").where(f"plan_id = '{found.plan.plan_id}'").count() == 1
    assert applied(labelled, found.plan).calls == 0


def load_plan_of(lake: Lake, plan_id: str) -> RelabelPlan:
    return load_plan(Tables.open_existing(lake.spark, configured(lake)), plan_id)


def test_a_sample_sees_rare_categories_and_is_drawn_again_alike(labelled: Lake) -> None:
    found = planned(labelled, "sample 80")
    sizes = {s.name: (s.size, s.sampled) for s in found.plan.scope.strata}
    assert {name: taken for name, (_, taken) in sizes.items()} == {
        "none": 20, "counterfeit": 20, "weapons": 20, "drugs": 20,
    }  # fmt: skip
    assert sum(size for size, _ in sizes.values()) == 280
    assert found.plan.rows == 80
    first = {row["content_id"] for row in prepared(labelled, found.plan).source.frame.collect()}
    second = {row["content_id"] for row in prepared(labelled, found.plan).source.frame.collect()}
    assert first == second and len(first) == 80
    assert applied(labelled, found.plan).calls == found.plan.calls == labelled.calls()


@pytest.mark.slow
def test_a_budget_ends_a_run_and_the_same_command_goes_on(labelled: Lake) -> None:
    made = planned(labelled, "all").plan
    assert made.calls == 240
    spent, rounds = 0, 0
    while True:
        result = applied(labelled, made, budget=Budget(calls=130))
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


@pytest.mark.slow
def test_what_is_newest_is_labelled_first(lake: Lake) -> None:
    ddl = "id STRING, body STRING, made TIMESTAMP"
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    lake.write([(id, body, begin + timedelta(hours=n)) for n, (id, body) in enumerate(posts(200))], ddl)
    label_table(lake.spark, configured(lake), [OLD], show=False)
    lake.calls()
    made = planned(lake, "all").plan
    applied(lake, made, budget=Budget(calls=40), order="newest")
    done = sorted(r["content_id"] for r in lake.read("labels").where("policy_version = '1.1.0'").collect())
    assert 30 <= len(done) <= 40 and done[0] >= "p0150"
    since = planned(lake, "since 2026-01-08").plan
    assert since.rows == 200 - 7 * 24


def test_conditions_choose_rows_and_ones_that_change_their_mind_are_refused(labelled: Lake) -> None:
    assert planned(labelled, "where id < 'p0010'").plan.rows == 10
    for condition in ("rand() < 0.5", "nosuch = 1", "id ="):
        with pytest.raises(SourceError, match="--scope where"):
            planned(labelled, f"where {condition}")


def test_a_source_that_moved_is_described_and_the_plan_goes_on(labelled: Lake) -> None:
    made = planned(labelled, "touched").plan
    assert prepared(labelled, made).source_change is None
    rows = [*posts(240)[3:], ("p0000", "a lamp"), ("p0002", "a rifle, of brass"), ("new", "a rifle, brand new")]
    labelled.write(rows, mode="overwrite")
    moved = prepared(labelled, made).source_change
    assert moved is not None and (moved.added, moved.edited, moved.gone) == (0, 1, 5)
    assert "from version 0 to 1" in str(moved)
    everything = planned(labelled, "all").plan
    assert everything.rows == 240


def test_versions_compared_show_the_flips_of_the_changed_rule_beside_noise(labelled: Lake) -> None:
    applied(labelled, planned(labelled, "all").plan)
    config = configured(labelled)
    same = compare_versions(labelled.spark, config, OLD, NEW).comparison
    assert same.compared == 280 and same.flipped is not None and same.flipped.value == 0
    assert same.significance is Significance.unknown
    calls = labelled.calls()
    again = label_again(labelled.spark, config, OLD, 0.5, show=False)
    assert calls == 240 and 80 < labelled.calls() == again.calls < 160
    beside = compare_versions(labelled.spark, config, OLD, NEW).comparison
    assert beside.significance is Significance.within and beside.noise_contents > 90
    current = labelled.current()  # labels that measure noise never count
    assert {row.salt for row in current.values()} == {None} and len(current) == 280


@pytest.mark.slow
def test_a_rule_taken_out_makes_its_category_more_permissive_and_nothing_else(labelled: Lake) -> None:
    text = TEXT.format(version="2.0.0", weapons="").replace("  - {id: M2, category: weapons}\n", "")
    without = parse_policy(text.replace("- M2: \n", ""))
    made = planned(labelled, "all", without)
    assert made.changes.removed == ("M2",)
    applied(labelled, made.plan, without)
    config = configured(labelled)
    label_again(labelled.spark, config, OLD, 0.5, show=False)
    found = compare_versions(labelled.spark, config, OLD, without)
    assert [(group.name, group.direction) for group in found.comparison.beyond_noise] == [
        ("weapons", "more permissive")
    ]
    assert found.comparison.unexplained is not None and found.comparison.unexplained.value == 0
    assert {(e.old, e.new) for e in found.examples} == {("weapons (M2)", "none")}


def test_a_sample_is_weighted_back_to_the_table(labelled: Lake) -> None:
    flips = configured(labelled, args={"words": {**WORDS, "lamp": "M3"}})
    made = planned(labelled, "sample 120").plan
    ready = prepared(labelled, made)
    apply_plan(labelled.spark, flips, ready, NEW, Budget(), show=False)
    found = compare_versions(labelled.spark, configured(labelled), OLD, NEW).comparison
    assert found.weighted and found.flipped is not None
    assert found.compared == 120
    assert found.flipped.low <= 35 / 280 <= found.flipped.high
    raw = sum(n for (old, new), n in found.matrix.items() if old != new) / 120
    assert abs(found.flipped.value - 35 / 280) < abs(raw - 35 / 280) + 0.02


def test_a_gate_refuses_by_line_and_by_how_much_and_is_forced_only_with_a_reason_kept(labelled: Lake) -> None:
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
    assert not promote_version(labelled.spark, config, NEW).changed  # it rules already
    back = promote_version(labelled.spark, config, OLD)
    assert back.is_rollback and back.calls == labelled.calls() == 0
    assert len(labelled.current()) == 280
    assert labelled.read("policy_activations").count() == 3
