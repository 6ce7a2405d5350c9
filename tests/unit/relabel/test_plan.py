"""What changed between two versions, what it will cost, and how a plan says so."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.relabel.estimate import PastRun, Spread, estimate_cost, estimate_text
from safeguard_spark.relabel.plan import PlanReport, RelabelPlan, plan_text
from safeguard_spark.relabel.rules import RuleChanges, rule_changes, rule_lines
from safeguard_spark.relabel.scope import Scope, ScopeKind, Stratum
from tests.versions import NEW, OLD, version

pytestmark = pytest.mark.unit


def test_rules_are_added_removed_changed_or_only_reworded() -> None:
    assert rule_changes(OLD, NEW) == RuleChanges(changed=("M2",), categories=("weapons",), new_categories=("weapons",))
    assert rule_changes(OLD, NEW).touched == ("M2",) and rule_changes(OLD, NEW).explaining == {"M2"}
    reworded = rule_changes(OLD, version("1.1.0", "**no** rifles!"))
    assert reworded == RuleChanges(reworded=("M2",))
    by_patch = rule_changes(OLD, version("1.0.1", "rifles may not be offered."))
    assert by_patch == RuleChanges(reworded=("M2",))
    elsewhere = rule_changes(OLD, version("1.1.0", "no rifles.", ("a post.", "a post or a message.")))
    assert elsewhere == RuleChanges(sections=("Definitions",))
    same = rule_changes(OLD, version("1.1.0"))
    assert same == RuleChanges() and not same.any
    assert rule_lines(RuleChanges()) == ["no rule and no text changed: every label stands"]


def test_a_rule_that_went_and_one_that_came_are_told_apart() -> None:
    moved = (("id: M2, category: weapons", "id: M4, category: gambling"), ("- M2:", "- M4:"))
    found = rule_changes(OLD, version("2.0.0", "no bets.", *moved))
    assert (found.added, found.removed, found.changed) == (("M4",), ("M2",), ())
    assert found.touched == ("M2",) and found.explaining_categories == {"weapons", "gambling"}


def test_without_a_past_run_nothing_is_guessed() -> None:
    assert estimate_cost(1000, []) is None
    assert estimate_cost(1000, [PastRun(0, 10.0, 0, 1)]) is None
    assert estimate_text(None) == "no past run of this labeler, so no time is said"


def test_hours_come_from_the_rates_of_past_runs_and_money_from_hours() -> None:
    past = [PastRun(3600, 360.0, 36_000, 1), PastRun(7200, 360.0, 144_000, 1), PastRun(100, 1.0, 100, 1)]
    found = estimate_cost(36_000, past, price=2.0)
    assert found is not None and found.runs == 2  # a second of work measures the start
    assert found.calls_per_s == Spread(10, 15, 20)
    assert found.engine_hours.low == 0.5 and found.engine_hours.high == 1.0
    assert found.money is not None and found.money.high == 2.0
    assert "540,000 (360,000 to 720,000) tokens generated" in estimate_text(found, "EUR")
    assert "2 past runs" in estimate_text(found, "EUR") and "EUR" in estimate_text(found, "EUR")
    two = estimate_cost(3600, [PastRun(3600, 180.0, 1, 2)])
    assert two is not None and two.engine_hours.median == 0.1  # each of two engines makes ten a second


runs = st.builds(PastRun, st.integers(0, 10**6), st.floats(0, 10**5), st.integers(0, 10**9), st.integers(1, 9))


@given(st.lists(runs))
def test_a_spread_is_in_order_whatever_ran(past: list[PastRun]) -> None:
    found = estimate_cost(12_345, past, price=1.5)
    if found is not None:
        for spread in (found.calls_per_s, found.completion_tokens, found.engine_hours, found.money):
            assert spread is not None and spread.low <= spread.median <= spread.high


def planned(**values: object) -> PlanReport:
    scope = Scope(
        kind=ScopeKind.touched, share=0.05, rules=("M2",), categories=("weapons",),
        strata=(Stratum(name="rest", size=190_000, taken=9_510, up_to=0.05),
                Stratum(name="touched", size=10_000, taken=10_000, up_to=1.0)),
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
        others={"all": (200_000, 181_000)},
        currency="EUR",
    )


def test_a_plan_is_shown_as_it_was_approved(golden: Callable[[str, str], None]) -> None:
    golden("relabel/plan.txt", plan_text(planned()))


def test_a_plan_comes_back_from_its_row_and_its_id_follows_what_it_selects() -> None:
    made = planned().plan
    row = {**made.to_row(None), "created_at": None}
    assert RelabelPlan.from_row(row) == made and RelabelPlan.from_row(row).plan_hash == made.plan_hash
    assert planned(calls=3).plan.plan_id == made.plan_id
    for change in ({"labels_version": 13}, {"source_version": 8}, {"new_hash": "d" * 64}):
        assert planned(**change).plan.plan_id != made.plan_id
    assert json.loads(json.dumps(planned().to_json()))["plan_id"] == made.plan_id
