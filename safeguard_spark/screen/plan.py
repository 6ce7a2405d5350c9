"""The plan of a screen: what each target would spare and cost, before anything is switched on."""

from shlex import quote
from typing import Any, NamedTuple

from safeguard_spark.evaluation.intervals import Rate
from safeguard_spark.evaluation.layout import share
from safeguard_spark.relabel.estimate import Estimate, estimate_text
from safeguard_spark.screen.threshold import Point, Savings
from safeguard_spark.terminal import aligned, counted, one_line


class Spared(NamedTuple):
    """A target with what it would spare in a run; `cost` is that of the calls spared, less the audit's."""

    point: Point
    savings: Savings | None
    cost: Estimate | None


class ScreenPlan(NamedTuple):
    """What a screen would give.

    `parts`: contents and violations by part. `labeler_recall`: the labeler's, against people's decisions. `strata`: the
    column or the expression by which the thresholds are.
    """

    kind: str
    policy_ref: str
    labeler: str
    contents: int
    parts: dict[str, tuple[int, int]]
    unlabelled: int
    rows: int
    targets: tuple[Spared, ...]
    labeler_recall: Rate | None = None
    currency: str = ""
    strata: str | None = None

    @property
    def calls(self) -> int:
        """The calls that the savings are of: those for what has no label, or for a table of this size again."""
        return self.unlabelled or self.rows

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            **{
                name: getattr(self, name)
                for name in ("kind", "policy_ref", "labeler", "contents", "unlabelled", "rows", "strata")
            },
            "parts": {name: {"contents": n, "violations": hits} for name, (n, hits) in self.parts.items()},
            "labeler_recall": _rate(self.labeler_recall),
            "targets": [
                {
                    "target": point.target,
                    "needed": point.needed,
                    "positives": self.parts["calibration"][1],
                    "rank": point.thresholds.rank if point.thresholds.by_stratum else None,
                    "not_screened": point.thresholds.too_few if self.strata else None,
                    "cleared": _rate(point.cleared),
                    "recall": _rate(point.recall),
                    "calls_spared": None if savings is None else savings.spared - savings.audit,
                    "calls_spared_low": None if savings is None else max(0, savings.spared_low - savings.audit),
                    "calls_spared_high": None if savings is None else max(0, savings.spared_high - savings.audit),
                    "audit": None if savings is None else savings.audit,
                    "worth_it": savings is not None and savings.is_worth_it,
                    "estimate": None if cost is None else cost.to_json(),
                }
                for point, savings, cost in self.targets
            ],
        }


def _rate(value: Rate | None) -> dict[str, float] | None:
    return None if value is None else {"value": value.value, "low": value.low, "high": value.high, "n": value.n}


def plan_text(plan: ScreenPlan, options: str = "") -> str:
    """For people: the curve, what it spares, and the command that makes the screen."""
    parts = ", ".join(
        f"{name} {n:,} ({counted(hits, 'violation', 'violations')})" for name, (n, hits) in plan.parts.items()
    )
    of_what = (
        counted(plan.unlabelled, "content", "contents") + " without a label"
        if plan.unlabelled
        else f"a table like this one, {plan.rows:,}"
    )
    lines = [
        f"{plan.kind} screen for {plan.policy_ref}, in front of {plan.labeler}",
        f"  {counted(plan.contents, 'distinct content', 'distinct contents')} with a verdict: {parts}",
        "",
    ]
    table: list[tuple[str, ...]] = [
        ("target", "needed", "cleared", "recall", f"calls spared of {plan.calls:,}", "audit", "")
    ]
    table += [_row(spared) for spared in plan.targets]
    lines += [f"  {line}" for line in aligned(table)]
    lines += ["", *_needed(plan)]
    lines += [f"  calls spared: of {of_what}, less the audit's, at the ends of the interval of cleared."]
    lines += _costs(plan)
    lines += [
        f"  A target is a share of the violations that {plan.labeler} would find, with 95 % confidence, for contents",
        "  like those that have a label. They must be a random part of the table.",
    ]
    if plan.labeler_recall is not None:
        lines.append(
            f"  Of what people call violations {plan.labeler} finds {share(plan.labeler_recall)}: both factors count."
        )
    worth = [spared.point.target for spared in plan.targets if spared.savings and spared.savings.is_worth_it]
    if worth:
        lines += [
            "",
            f"Nothing was made. To make one: safeguard screen train --policy {plan.policy_ref} --target {worth[0]:g}"
            + (f" --kind {plan.kind}" if plan.kind != "linear" else "")
            + (f" --strata {quote(plan.strata)}" if plan.strata else "")
            + (f" {options}" if options else ""),
        ]
    else:
        lines += ["", "Not worth it: at no target would it spare a tenth of the calls. Nothing was made."]
    return "\n".join([*lines, ""])


def _needed(plan: ScreenPlan) -> list[str]:
    """What the targets need, and of a plan with strata which of them would be screened."""
    if plan.strata is None:
        return [f"  needed: violations to calibrate on; there are {plan.parts['calibration'][1]:,}."]
    lines = [f"  needed: violations to calibrate on, for each {plan.strata} that is screened."]
    for point, _, _ in plan.targets:
        screened = [f"{one_line(str(name))} {one.positives:,}" for name, one in point.thresholds.by_stratum.items()]
        others = [f"{one_line(str(name))} {positives:,}" for name, positives in point.thresholds.too_few.items()]
        needs = f"; not screened, for want of {point.thresholds.needed or 0:,}: {', '.join(others)}" if others else ""
        if screened:
            lines.append(f"  {point.target:.0%} for {', '.join(screened)}{needs}.")
    return lines


def _row(spared: Spared) -> tuple[str, ...]:
    point, savings, _ = spared
    target, needed = f"{point.target:.0%}", f"{point.needed:,}" if point.needed else "-"
    if savings is None:
        return target, needed, "cannot be shown", "", "", "", ""
    low, high = (max(0, end - savings.audit) for end in (savings.spared_low, savings.spared_high))
    verdict = "" if savings.is_worth_it else "not worth it"
    spares = f"{low:,} to {high:,}"
    return target, needed, share(point.cleared), share(point.recall), spares, f"{savings.audit:,}", verdict


def _costs(plan: ScreenPlan) -> list[str]:
    costs = [(point.target, cost) for point, _, cost in plan.targets if cost is not None]
    return [f"  {target:.0%} spares {estimate_text(cost, plan.currency)}." for target, cost in costs]
