"""Gate: what a version must reach before it may be activated, line by line."""

from collections.abc import Sequence

from safeguard_spark.authoring.requirement import Bound, Requirement
from safeguard_spark.authoring.verify import Verification
from safeguard_spark.config.model import GateConfig
from safeguard_spark.evaluation.comparison.compare import Comparison
from safeguard_spark.evaluation.intervals import Rate
from safeguard_spark.evaluation.measures import Measure, Share
from safeguard_spark.evaluation.set_gate import gold_line
from safeguard_spark.terminal import counted


def failed(lines: Sequence[Requirement]) -> list[Requirement]:
    """The lines that are not met."""
    return [line for line in lines if not line.met]


def cases_lines(verification: Verification | None) -> list[Requirement]:
    """The policy's own gate on its cases; without one, that every case passes. None: there are no cases."""
    if verification is None:
        note = "the policy has no cases; relabel.gate.cases=false requires none"
        return [Requirement("cases passed", Bound.minimum, 1.0, None, note)]
    if verification.requirements:
        cases = counted(len(verification.results), "case", "cases")
        point = f"a point value on {cases}, which shows no rate of other contents"
        return [
            line._replace(measure=f"cases {line.measure}", note="; ".join(filter(None, (line.note, point))))
            for line in verification.requirements
        ]
    total = len(verification.results)
    names = [result.case.id for result in verification.failed]
    passed = (total - len(names)) / total if total else None
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    note = f"failed: {', '.join(names[:5])}{more}" if names else ""
    return [Requirement("cases passed", Bound.minimum, 1.0, passed, note)]


def table_lines(
    config: GateConfig,
    coverage: float | None,
    comparison: Comparison | None,
    precision: Rate | None,
    recall: Rate | None,
    *,
    coverage_of_all: float | None = None,
) -> list[Requirement]:
    """What the configuration requires of the labelled table.

    `coverage` is of the source, `coverage_of_all` of all collections together, None if no other has labels.
    `precision` and `recall` are against human decisions, and decided on one-sided exact bounds.
    """
    min_of_all = None if coverage_of_all is None else config.min_coverage
    candidates = (
        ("coverage of the table", Bound.minimum, config.min_coverage, coverage, ""),
        ("coverage of all collections", Bound.minimum, min_of_all, coverage_of_all, ""),
        ("unexplained flips", Bound.maximum, config.max_unexplained_flips, *unexplained(comparison)),
    )
    gold = (
        (Measure.precision, config.min_gold_precision, precision),
        (Measure.recall, config.min_gold_recall, recall),
    )
    lines = [
        Requirement(measure, bound, required, value, note)
        for measure, bound, required, value, note in candidates
        if required is not None
    ]
    return lines + [
        gold_line(metric, required, None if rate is None else Share(rate.hits, rate.n))
        for metric, required, rate in gold
        if required is not None
    ]


def unexplained(comparison: Comparison | None) -> tuple[float | None, str]:
    """The share of flips that no changed rule explains, minus the noise, and a note on how it was measured."""
    if comparison is None or comparison.unexplained is None:
        return None, "nothing was labelled under both versions"
    noise = comparison.floor.noise
    if noise is None:
        return comparison.unexplained.value, "noise was not measured, so all of them count"
    return max(0.0, comparison.unexplained.value - noise.value), f"after subtracting the noise of {noise.value:.4g}"
