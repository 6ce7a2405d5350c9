"""Coverage: how the contents of a comparison were selected, and how far their plan has been applied."""

from collections.abc import Iterable
from typing import NamedTuple

from safeguard_spark.relabel.plan import RelabelPlan
from safeguard_spark.relabel.scope import ScopeKind
from safeguard_spark.result import Status


class PlanRun(NamedTuple):
    """A row of `runs` for a run under the plan's new version. `plan_id` is None if the run applied no plan."""

    plan_id: str | None
    status: str
    rows: int
    pending: int
    written: int

    @property
    def remaining(self) -> int:
        """Contents of the run that it left without a label."""
        return 0 if self.status == Status.complete.value else max(0, self.pending - self.written)


class Progress(NamedTuple):
    """How many of a plan's contents have a label under the new version; only where not all of them do."""

    labelled: int
    planned: int


def progress(plan_id: str, runs: Iterable[PlanRun]) -> Progress | None:
    """How far a plan has been applied, or None if completely. `runs` are the oldest first.

    A later run over at least as many contents that left none has labelled the rest too, whatever its plan.
    """
    unfinished: Progress | None = None
    for run in runs:
        if run.plan_id == plan_id:
            unfinished = Progress(run.rows - run.remaining, run.rows) if run.remaining else None
        elif unfinished is not None and not run.remaining and run.rows >= unfinished.planned:
            unfinished = None
    return unfinished


def coverage(plan: RelabelPlan | None, *, weighted: bool, unfinished: Progress | None = None) -> str:
    """How the compared contents were selected and what they stand for, as part of a sentence."""
    if plan is None:
        return "all contents labelled under both; no plan says how they were chosen"
    if weighted:
        total = sum(stratum.size for stratum in plan.scope.strata)
        text = f"sampled by plan {plan.plan_id} ({plan.scope}) and weighted to {total:,} contents"
    elif plan.scope.kind is ScopeKind.all:
        text = f"plan {plan.plan_id} covers every content"
    else:
        text = f"the contents of plan {plan.plan_id} ({plan.scope}); the rest of the table may differ"
    if unfinished is None:
        return text
    # The order in which a plan is applied is not stored.
    return (
        f"{text}, but the plan was not applied completely: only the {unfinished.labelled:,} of its "
        f"{unfinished.planned:,} contents with a label under {plan.new_ref} are compared, which with --order are not a "
        "fair sample"
    )
