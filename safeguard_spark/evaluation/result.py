"""Result: what one evaluation measured, and its forms for programs and for the table `evaluations`."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, NamedTuple

from safeguard_spark.errors import ExitCode
from safeguard_spark.evaluation.cohort import Cohort
from safeguard_spark.evaluation.differences import MetricDifference
from safeguard_spark.evaluation.measures import Measure, Metric
from safeguard_spark.evaluation.names import CategoryCount
from safeguard_spark.evaluation.set_gate import SetGateLine
from safeguard_spark.keys import canonical_json
from safeguard_spark.policy.document import ALL


class Evaluated(NamedTuple):
    """A policy version and what judged by it. Tokens and cost are per thousand calls; None where they are unknown."""

    ref: str
    policy_hash: str
    labeler: str
    labeler_hash: str
    prompt_tokens: float | None = None
    completion_tokens: float | None = None
    cost: float | None = None

    @property
    def policy(self) -> str:
        """The policy's name."""
        return self.ref.partition("@")[0]

    @property
    def tokens(self) -> float | None:
        """Prompt and completion tokens."""
        return None if self.prompt_tokens is None else self.prompt_tokens + (self.completion_tokens or 0)


@dataclass(frozen=True)
class SideResult:
    """What one labeler, with one version of each policy, did on a set. `names`: metrics of rules and categories."""

    name: str
    evaluated: tuple[Evaluated, ...]
    metrics: tuple[Metric, ...]
    names: tuple[Metric, ...] = ()
    categories: tuple[CategoryCount, ...] = ()
    differences: tuple[MetricDifference, ...] = ()  # the first side minus this one

    def metric(self, policy: str, metric: Measure, slice_: str = ALL) -> Metric | None:
        """A metric, or None if it was not measured."""
        wanted = (policy, slice_, metric)
        return next((m for m in self.metrics if (m.policy, m.slice, m.metric) == wanted), None)


def by_slice(metrics: Iterable[Metric], policy: str) -> dict[str, dict[Measure, Metric]]:
    """The metrics of a policy by slice, or by name for metrics of rules and categories, and measure."""
    slices: dict[str, dict[Measure, Metric]] = {}
    for metric in metrics:
        if metric.policy == policy:
            slices.setdefault(metric.slice, {})[metric.metric] = metric
    return slices


@dataclass(frozen=True)
class CheckResult:
    """One check of how a policy is followed. `value`: the share that the check is about, with its interval."""

    set: str
    policy: str
    check: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    sentence: str


@dataclass(frozen=True)
class SetResult:
    """One golden set: its sides, the first of which is evaluated and the others compared with it."""

    ref: str
    digest: str
    cohort: Cohort
    contents: int
    sides: tuple[SideResult, ...]
    decide_again: dict[str, int]
    notes: tuple[str, ...] = ()
    checks: tuple[CheckResult, ...] = ()

    @property
    def first(self) -> SideResult:
        """The side that is evaluated."""
        return self.sides[0]


@dataclass(frozen=True)
class Evaluation:
    """One evaluation. `message`: why it has no figures, if a label run did not finish.

    `not_decided`: the configuration's lines of the gate that are about other sets or policies, each a sentence.
    """

    evaluation_id: str
    evaluated_at: datetime
    sets: tuple[SetResult, ...]
    gate: tuple[SetGateLine, ...] = ()
    not_decided: tuple[str, ...] = ()
    calls: int = 0
    run_ids: tuple[str, ...] = ()
    currency: str = ""
    answers: str = "model"  # or the recording
    message: str | None = None
    mlflow_run_id: str | None = None

    @property
    def exit_code(self) -> ExitCode:
        """Partial if labels are missing, gate if a line of it is not met."""
        if self.message:
            return ExitCode.partial
        return ExitCode.complete if all(line.met for line in self.gate) else ExitCode.gate

    def to_json(self) -> dict[str, Any]:
        """The object `--json` prints."""
        sides = [(result, side) for result in self.sets for side in result.sides]
        return {
            "evaluation_id": self.evaluation_id,
            "status": "partial" if self.message else "complete",
            "evaluated_at": self.evaluated_at.isoformat(),
            "cohort": {result.ref: result.cohort.cohort_hash for result in self.sets},
            "calls": self.calls,
            "run_ids": self.run_ids,
            "answers": self.answers,
            "metrics": [m.to_json() for r in self.sets for m in (*r.first.metrics, *r.first.names)],
            "confusion": [{"set": r.ref, **count._asdict()} for r in self.sets for count in r.first.categories],
            "sides": [
                {
                    "set": result.ref,
                    "name": side.name,
                    "policies": [evaluated._asdict() for evaluated in side.evaluated],
                    "metrics": [] if side is result.first else [metric.to_json() for metric in side.metrics],
                    "differences": [difference.to_json() for difference in side.differences],
                }
                for result, side in sides
            ],
            "checks": [asdict(check) for result in self.sets for check in result.checks],
            "decide_again": {result.ref: result.decide_again for result in self.sets},
            "gate": [line.to_json() for line in self.gate],
            "gate_not_decided": self.not_decided,
            "message": self.message,
            "mlflow_run_id": self.mlflow_run_id,
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows of `evaluations`: one per set, side, policy, slice and metric."""
        for result in self.sets:
            for side in result.sides:
                evaluated = {one.policy: one for one in side.evaluated}
                for metric in (*side.metrics, *side.names):
                    yield self._row(result, side, metric, evaluated.get(metric.policy))

    def _row(self, result: SetResult, side: SideResult, metric: Metric, one: Evaluated | None) -> dict[str, Any]:
        values = metric.to_json()
        return {
            **{name: value for name, value in values.items() if name != "set"},
            "evaluation_id": self.evaluation_id,
            "evaluated_at": self.evaluated_at,
            "golden_set": result.ref,
            "set_digest": result.digest,
            "cohort_hash": result.cohort.cohort_hash,
            "policy_version": one.ref.partition("@")[2] if one else None,
            "policy_hash": one.policy_hash if one else None,
            "labeler": one.labeler if one else None,
            "labeler_hash": one.labeler_hash if one else None,
            "side": side.name,
            "policies": [evaluated.ref for evaluated in side.evaluated],
            "tokens_per_thousand": one.tokens if one else None,
            "cost_per_thousand": one.cost if one else None,
            "answers": self.answers,
            "run_ids": list(self.run_ids),
            "mlflow_run_id": self.mlflow_run_id,
            "cohort": canonical_json(result.cohort.model_dump(mode="json")),
        }
