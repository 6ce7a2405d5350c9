"""What the contents of a comparison stand for: how their plan chose them, and how far it has been applied."""

from collections.abc import Iterable
from typing import NamedTuple

from safeguard_spark.relabel.plan import RelabelPlan
from safeguard_spark.relabel.scope import ScopeKind
from safeguard_spark.result import Status


class PlanRun(NamedTuple):
    """A run that labelled under the plan's new version, as `runs` has it. `plan_id` is None if it applied no plan."""

    plan_id: str | None
    status: str
    rows: int
    pending: int
    written: int

    @property
    def left(self) -> int:
        """Contents it was asked for and left without a label."""
        return 0 if self.status == Status.complete.value else max(0, self.pending - self.written)


class Progress(NamedTuple):
    """How many of a plan's contents have a label under the new version, where not all of them do."""

    labelled: int
    planned: int


def progress(plan_id: str, runs: Iterable[PlanRun]) -> Progress | None:
    """How far a plan has been applied, or None if to its end. `runs` are the oldest first.

    A later run over as many contents that left none has labelled the rest, whatever it was asked for.
    """
    found: Progress | None = None
    for run in runs:
        if run.plan_id == plan_id:
            found = Progress(run.rows - run.left, run.rows) if run.left else None
        elif found is not None and not run.left and run.rows >= found.planned:
            found = None
    return found


def coverage(plan: RelabelPlan | None, *, weighted: bool, unfinished: Progress | None = None) -> str:
    """In words."""
    if plan is None:
        return "all contents labelled under both; no plan says how they were chosen"
    if weighted:
        total = sum(stratum.size for stratum in plan.scope.strata)
        said = f"drawn by plan {plan.plan_id} ({plan.scope}) and weighted to {total:,} contents"
    elif plan.scope.kind is ScopeKind.all:
        said = f"plan {plan.plan_id} covers every content"
    else:
        said = f"the contents of plan {plan.plan_id} ({plan.scope}); the rest of the table may differ"
    if unfinished is None:
        return said
    # Which order it was applied in is not written down.
    return (
        f"{said}, but was not applied to its end: only the {unfinished.labelled:,} of its {unfinished.planned:,} "
        f"contents with a label under {plan.new_ref} are compared, and with --order these are no fair sample"
    )
