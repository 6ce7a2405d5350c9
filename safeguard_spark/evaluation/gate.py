"""Gate: what a version must reach before it may rule, line by line, and by how much a line failed."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from safeguard_spark.authoring.verify import Verification
from safeguard_spark.config.model import GateConfig
from safeguard_spark.evaluation.comparison.compare import Comparison


class GateLine(NamedTuple):
    """One line. `value` is None where there was nothing to measure, and then the line is not met."""

    name: str
    asked: float
    value: float | None
    is_least: bool  # whether `asked` is the least or the most
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether what was asked was reached."""
        if self.value is None:
            return False
        return self.value >= self.asked if self.is_least else self.value <= self.asked

    def __str__(self) -> str:
        bound = "at least" if self.is_least else "at most"
        note = f" ({self.note})" if self.note else ""
        if self.value is None:
            return f"{self.name}: {bound} {self.asked:g} is asked and nothing could be measured{note}"
        said = f"{self.name}: {self.value:.4g}, {bound} {self.asked:g} is asked"
        if self.met:
            return f"{said}{note}"
        return f"{said}, {'short' if self.is_least else 'over'} by {abs(self.value - self.asked):.4g}{note}"

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {**self._asdict(), "met": self.met}


def failed(lines: Sequence[GateLine]) -> list[GateLine]:
    """The lines that are not met."""
    return [line for line in lines if not line.met]


def cases_lines(found: Verification | None) -> list[GateLine]:
    """The policy's own gate on its cases; without one, that every case passes. None: there are no cases."""
    if found is None:
        note = "the policy has no cases; relabel.gate.cases=false asks none"
        return [GateLine("cases passed", 1.0, None, True, note)]
    if found.bounds:
        return [GateLine(f"cases {b.name[4:]}", b.asked, b.value, b.name.startswith("min")) for b in found.bounds]
    total = len(found.results)
    names = [result.case.id for result in found.failed]
    passed = (total - len(names)) / total if total else None
    return [GateLine("cases passed", 1.0, passed, True, f"failed: {', '.join(names[:5])}" if names else "")]


def table_lines(
    asked: GateConfig,
    covered: float | None,
    compared: Comparison | None,
    gold: tuple[float | None, float | None] | None,
) -> list[GateLine]:
    """What the configuration asks of the labelled table. `gold` is (precision, recall)."""
    lines = []
    if asked.min_coverage is not None:
        lines.append(GateLine("coverage of the table", asked.min_coverage, covered, True))
    if asked.max_unexplained_flips is not None:
        value, note = unexplained(compared)
        lines.append(GateLine("unexplained flips", asked.max_unexplained_flips, value, False, note))
    for number, (name, least) in enumerate(
        (("gold precision", asked.min_gold_precision), ("gold recall", asked.min_gold_recall))
    ):
        if least is not None:
            lines.append(GateLine(name, least, None if gold is None else gold[number], True))
    return lines


def unexplained(compared: Comparison | None) -> tuple[float | None, str]:
    """The share of flips that no changed rule explains, less what noise makes, and a word on that."""
    if compared is None or compared.unexplained is None:
        return None, "nothing was labelled under both versions"
    noise = compared.floor.noise
    if noise is None:
        return compared.unexplained.value, "noise was not measured, so all of them count"
    return max(0.0, compared.unexplained.value - noise.value), f"less the noise of {noise.value:.4g}"
