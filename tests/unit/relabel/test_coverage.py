"""What a comparison's contents stand for, and how far their plan has been applied."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.relabel.coverage import PlanRun, Progress, coverage, progress
from safeguard_spark.relabel.plan import RelabelPlan
from safeguard_spark.relabel.scope import Scope, ScopeKind, Stratum, parse_scope

pytestmark = pytest.mark.unit

STOPPED = PlanRun("p1", "partial", 280, 280, 130)


def plan(scope: Scope) -> RelabelPlan:
    return RelabelPlan(
        policy="market", old_version="1.0.0", old_hash="a" * 64, new_version="1.1.0", new_hash="b" * 64,
        labeler_hash="c" * 64, scope=scope, source="lake.posts", source_version=7, labels_version=12, rows=280,
        pending=280, calls=240, prompt_tokens=1,
    )  # fmt: skip


def test_a_plan_stopped_early_has_the_progress_of_its_last_run() -> None:
    assert progress("p1", []) is None
    assert progress("p1", [STOPPED]) == Progress(130, 280)
    assert progress("p1", [STOPPED, PlanRun("p1", "partial", 280, 150, 100)]) == Progress(230, 280)
    assert progress("p1", [STOPPED, PlanRun("p1", "complete", 280, 150, 150)]) is None
    assert progress("p1", [STOPPED, PlanRun("p1", "partial", 280, 150, 150)]) is None  # only rows to be retried remain
    assert progress("p2", [STOPPED]) is None


def test_the_rest_may_have_been_labelled_by_another_run_over_as_many_contents() -> None:
    for other in (PlanRun(None, "complete", 300, 170, 170), PlanRun("p2", "complete", 280, 150, 150)):
        assert progress("p1", [STOPPED, other]) is None
        assert progress("p1", [other, STOPPED]) == Progress(130, 280)
    for other in (PlanRun(None, "complete", 10, 10, 10), PlanRun(None, "died", 300, 170, 20)):
        assert progress("p1", [STOPPED, other]) == Progress(130, 280)


statuses = st.sampled_from(["complete", "partial", "failed", "died"])
ids = st.sampled_from(["p1", "p2", None])
runs = st.builds(PlanRun, ids, statuses, st.just(9), st.integers(0, 9), st.integers(0, 9))


@given(st.lists(runs, max_size=5))
def test_progress_is_always_below_the_plan(plan_runs: list[PlanRun]) -> None:
    unfinished = progress("p1", plan_runs)
    assert unfinished is None or 0 <= unfinished.labelled < unfinished.planned


@pytest.mark.parametrize("kind", ScopeKind)
@pytest.mark.parametrize("weighted", [True, False])
def test_a_comparison_of_a_part_of_the_plan_says_so_in_every_scope(kind: ScopeKind, weighted: bool) -> None:
    strata = (Stratum(name="rest", size=2_000, sampled=280, sample_threshold=0.1),)
    scoped = plan(Scope(kind=kind, since="2026-01-01", where="id > 3", size=280, strata=strata))
    whole = coverage(scoped, weighted=weighted)
    assert scoped.plan_id in whole and "--order" not in whole
    assert ("weighted to 2,000 contents" in whole) == weighted
    partial = coverage(scoped, weighted=weighted, unfinished=Progress(130, 280))
    assert partial == (
        f"{whole}, but the plan was not applied completely: only the 130 of its 280 contents with a label under "
        "market@1.1.0 are compared, which with --order are not a fair sample"
    )


def test_without_a_plan_nothing_is_claimed_and_a_condition_covers_only_its_contents() -> None:
    assert "no plan says" in coverage(None, weighted=False)
    assert coverage(plan(parse_scope("all")), weighted=False).endswith("covers every content")
    assert "the rest of the table may differ" in coverage(plan(parse_scope("where id > 3")), weighted=False)
