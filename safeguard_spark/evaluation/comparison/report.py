"""Report: a comparison with its coverage, examples of flips, and agreement with human decisions."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from safeguard_spark.evaluation.comparison.compare import Comparison
from safeguard_spark.evaluation.comparison.text import comparison_json, comparison_text, percent
from safeguard_spark.evaluation.intervals import Rate
from safeguard_spark.relabel.coverage import Progress

MAX_TEXT = 200  # characters of an example's text on a terminal


class Example(NamedTuple):
    """A content whose verdict flipped: its id, both verdicts in words, and its text if that may be shown."""

    content_id: str
    old: str
    new: str
    text: str | None = None


class HumanAgreement(NamedTuple):
    """Precision and recall of a version against human decisions. A content without a verdict counts as not found."""

    ref: str
    contents: int
    precision: Rate | None
    recall: Rate | None

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        rates = {"precision": self.precision, "recall": self.recall}
        plain = {name: None if rate is None else rate._asdict() for name, rate in rates.items()}
        return {"ref": self.ref, "contents": self.contents, **plain}


@dataclass(frozen=True)
class ComparisonReport:
    """A comparison and what belongs in its report. `unfinished`: how far the plan was applied, if not completely."""

    comparison: Comparison
    plan_id: str | None
    coverage: str
    unfinished: Progress | None
    examples: tuple[Example, ...]
    agreement: tuple[HumanAgreement, ...] = ()  # of the old version, then of the new one, where people decided

    def without_texts(self) -> "ComparisonReport":
        """The same report without the texts of examples."""
        return replace(self, examples=tuple(example._replace(text=None) for example in self.examples))


def report_text(report: ComparisonReport) -> str:
    """For people: the comparison, agreement with human decisions, and examples."""
    lines = [agreement_text(agreement) for agreement in report.agreement]
    if report.examples:
        lines.append("Examples (content ids):")
    for example in report.examples:
        line = f"  {example.content_id}: {example.old} -> {example.new}"
        lines.append(line if example.text is None else f"{line}: {' '.join(example.text.split())[:MAX_TEXT]}")
    return "\n".join([comparison_text(report.comparison, report.coverage), *([*lines, ""] if lines else [])])


def agreement_text(agreement: HumanAgreement) -> str:
    """One sentence."""
    precision, recall = percent(agreement.precision), percent(agreement.recall)
    return f"{agreement.ref} against {agreement.contents:,} human decisions: precision {precision}, recall {recall}"


def report_json(report: ComparisonReport) -> dict[str, Any]:
    """The object that `--json` prints. It never has the texts of examples."""
    return {
        **comparison_json(report.comparison),
        "plan_id": report.plan_id,
        "coverage": report.coverage,
        "unfinished": None if report.unfinished is None else report.unfinished._asdict(),
        "gold": [agreement.to_json() for agreement in report.agreement],
        "examples": [{"content_id": e.content_id, "old": e.old, "new": e.new} for e in report.examples],
    }
