"""What changed between two versions, what re-labelling will cost, and how a plan reports it."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.relabel.estimate import PastRun, Spread, estimate_cost, estimate_text
from safeguard_spark.relabel.plan import PlanReport, RelabelPlan, ScopeSize, plan_text
from safeguard_spark.relabel.rules import RuleChanges, rule_changes, rule_lines
from safeguard_spark.relabel.scope import Scope, ScopeKind, Stratum
from tests.versions import NEW, OLD, version

pytestmark = pytest.mark.unit


def test_rules_are_added_removed_changed_or_only_reworded() -> None:
    assert rule_changes(OLD, NEW) == RuleChanges(changed=("M2",), categories=("weapons",), new_categories=("weapons",))
    assert rule_changes(OLD, NEW).affected == ("M2",) and rule_changes(OLD, NEW).explaining == {"M2"}
    reworded = rule_changes(OLD, version("1.1.0", "**no** rifles!"))
    assert reworded == RuleChanges(reworded=("M2",))
    by_patch = rule_changes(OLD, version("1.0.1", "rifles may not be offered."))
    assert by_patch == RuleChanges(reworded=("M2",))
    elsewhere = rule_changes(OLD, version("1.1.0", "no rifles.", ("a post.", "a post or a message.")))
    assert elsewhere == RuleChanges(sections=("Definitions",))
    same = rule_changes(OLD, version("1.1.0"))
    assert same == RuleChanges() and not same.any
    assert rule_lines(RuleChanges()) == ["no rule and no text changed: every label stays valid"]


def test_an_added_rule_and_a_removed_rule_are_told_apart() -> None:
    moved = (("id: M2, category: weapons", "id: M4, category: gambling"), ("- M2:", "- M4:"))
    changes = rule_changes(OLD, version("2.0.0", "no bets.", *moved))
    assert (changes.added, changes.removed, changes.changed) == (("M4",), ("M2",), ())
    assert changes.affected == ("M2",) and changes.explaining_categories == {"weapons", "gambling"}


def test_without_a_past_run_nothing_is_guessed() -> None:
    assert estimate_cost(1000, []) is None
    assert estimate_cost(1000, [PastRun(0, 10.0, 0, 1)]) is None
    assert estimate_text(None) == "no past run of this labeler, so time cannot be estimated"


def test_hours_come_from_the_rates_of_past_runs_and_money_from_hours() -> None:
    past = [PastRun(3600, 360.0, 36_000, 1), PastRun(7200, 360.0, 144_000, 1), PastRun(100, 1.0, 100, 1)]
    estimate = estimate_cost(36_000, past, price=2.0)
    assert estimate is not None and estimate.runs == 2  # the run of one second is left out
    assert estimate.calls_per_s == Spread(10, 15, 20)
    assert estimate.engine_hours.low == 0.5 and estimate.engine_hours.high == 1.0
    assert estimate.money is not None and estimate.money.high == 2.0
    assert "540,000 (360,000 to 720,000) tokens generated" in estimate_text(estimate, "EUR")
    assert "2 past runs" in estimate_text(estimate, "EUR") and "EUR" in estimate_text(estimate, "EUR")
    two = estimate_cost(3600, [PastRun(3600, 180.0, 1, 2)])
    assert two is not None and two.engine_hours.median == 0.1  # each of two engines makes ten a second


seconds = st.just(0.0) | st.floats(0.001, 10**5)
runs = st.builds(PastRun, st.integers(0, 10**6), seconds, st.integers(0, 10**9), st.integers(1, 9))


@given(st.lists(runs))
def test_a_spread_is_always_in_order(past: list[PastRun]) -> None:
    estimate = estimate_cost(12_345, past, price=1.5)
    if estimate is not None:
        for spread in (estimate.calls_per_s, estimate.completion_tokens, estimate.engine_hours, estimate.money):
            assert spread is not None and spread.low <= spread.median <= spread.high


def plan_report(**values: object) -> PlanReport:
    scope = Scope(
        kind=ScopeKind.touched, share=0.05, rules=("M2",), categories=("weapons",),
        strata=(Stratum(name="rest", size=190_000, sampled=9_510, sample_threshold=0.05),
                Stratum(name="touched", size=10_000, sampled=10_000, sample_threshold=1.0)),
    )  # fmt: skip
    plan = RelabelPlan.model_validate({
        "policy": "market", "old_version": "1.0.0", "old_hash": "a" * 64, "new_version": "1.1.0", "new_hash": "b" * 64,
        "labeler_hash": "c" * 64, "scope": scope, "source": "lake.posts", "source_version": 7, "labels_version": 12,
        "rows": 19_510, "pending": 19_510, "calls": 18_200, "prompt_tokens": 9_100_000, **values,
    })  # fmt: skip
    past = [PastRun(9_000 + 100 * n, 600.0, 2_700_000, 1) for n in range(6)]
    return PlanReport(
        plan=plan,
        changes=RuleChanges(added=("M9",), changed=("M2",), sections=("Definitions",)),
        cost=estimate_cost(18_200, past, 2.5),
        unlabelled=200_000,
        others={"all": ScopeSize(200_000, 181_000)},
        currency="EUR",
    )


def test_the_text_of_a_plan_is_the_golden_one(golden: Callable[[str, str], None]) -> None:
    golden("relabel/plan.txt", plan_text(plan_report()))


def test_a_plan_of_what_a_screen_cleared_says_who_judges_it_and_not_that_nothing_is_to_do() -> None:
    scope = Scope(kind=ScopeKind.screened_by, screen="s0a1")
    for hash_of_new, is_same in (("a" * 64, True), ("b" * 64, False)):
        report = plan_report(scope=scope, new_hash=hash_of_new)
        changes = RuleChanges() if is_same else report.changes
        text = plan_text(report.model_copy(update={"changes": changes}))
        assert ("the labeler judges what screen s0a1 cleared" in text) is is_same
        assert "stays valid" not in text and "18,200 calls" in text


def test_a_plan_is_read_back_from_its_row_and_its_id_depends_on_what_it_selects() -> None:
    plan = plan_report().plan
    row = {**plan.to_row(None), "created_at": None}
    assert RelabelPlan.from_row(row) == plan and RelabelPlan.from_row(row).plan_hash == plan.plan_hash
    assert plan_report(calls=3).plan.plan_id == plan.plan_id
    for change in ({"labels_version": 13}, {"source_version": 8}, {"new_hash": "d" * 64}):
        assert plan_report(**change).plan.plan_id != plan.plan_id
    assert json.loads(json.dumps(plan_report().to_json()))["plan_id"] == plan.plan_id
