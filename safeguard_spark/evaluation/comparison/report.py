"""Report: a comparison with its coverage, examples of flips, and agreement with human decisions.

For people on a terminal, and for programs.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any, NamedTuple

from pydantic_core import to_jsonable_python

from safeguard_spark.evaluation.comparison.compare import Comparison, Flip, Group, NoiseFloor, Significance
from safeguard_spark.evaluation.intervals import Rate
from safeguard_spark.relabel.coverage import Progress
from safeguard_spark.terminal import aligned, as_lines, counted

MAX_TEXT = 200  # characters of an example's text on a terminal
FLIP_NAMES = {
    Flip.stricter: "stricter",
    Flip.permissive: "more permissive",
    Flip.moved: "moved to another category or rule",
    Flip.unread: "with a verdict under one version only",
}


class Example(NamedTuple):
    """A content whose verdict flipped: its id, both verdicts in words, and its text if that may be shown."""

    content_id: str
    old: str
    new: str
    text: str | None = None


@dataclass(frozen=True)
class HumanAgreement:
    """Precision and recall of a version against human decisions. A content without a verdict counts as not found."""

    ref: str
    contents: int
    precision: Rate | None
    recall: Rate | None


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
    examples = [as_lines([*lines, ""])] if lines else []
    return "\n".join([comparison_text(report.comparison, report.coverage), *examples])


def agreement_text(agreement: HumanAgreement) -> str:
    """One sentence."""
    precision, recall = percent(agreement.precision), percent(agreement.recall)
    return f"{agreement.ref} against {agreement.contents:,} human decisions: precision {precision}, recall {recall}"


def report_json(report: ComparisonReport) -> dict[str, Any]:
    """The object that `--json` prints. It never has the texts of examples."""
    values = {
        **comparison_json(report.comparison),
        "plan_id": report.plan_id,
        "coverage": report.coverage,
        "unfinished": None if report.unfinished is None else report.unfinished._asdict(),
        "gold": report.agreement,
        "examples": [{"content_id": e.content_id, "old": e.old, "new": e.new} for e in report.examples],
    }
    return dict(to_jsonable_python(values))


def comparison_text(comparison: Comparison, coverage: str) -> str:
    """Rates first, then categories and rules line by line, then whether the difference is larger than noise."""
    contents = counted(comparison.compared, "content", "contents")
    lines = [
        f"{comparison.old} -> {comparison.new}: {contents} labelled under both",
        *([f"  labeler: {labelers_text(comparison)}"] if comparison.labelers else []),
        f"  {coverage}",
        "",
        f"  violation rate  {percent(comparison.violation_old)} -> {percent(comparison.violation_new)}",
        f"                  McNemar's exact test: p {p_value(comparison.p_value)}",
        f"  flips           {percent(comparison.flipped)}",
        *(f"    {percent(comparison.flips[k])}  {name}" for k, name in FLIP_NAMES.items() if comparison.flips.get(k)),
        f"  noise           {noise_text(comparison)}",
    ]
    if comparison.unexplained is not None and comparison.changes.any:
        lines.append(
            f"  unexplained     {percent(comparison.unexplained)} flipped although neither verdict names a changed rule"
        )
    if comparison.unseen:
        lines.append(f"  not compared    {comparison.unseen:.1%} of the table is in strata without a compared content")
    for title, groups in (("category", comparison.categories), ("rule", comparison.rules)):
        if groups:
            lines += ["", *(f"  {line}" for line in aligned(group_rows(title, groups), (0, 8)))]
    return as_lines([*lines, "", comparison_verdict(comparison), ""])


def labelers_text(comparison: Comparison) -> str:
    """Whose verdicts are compared: one labeler, or the old one's and the new one's."""
    return " -> ".join(dict.fromkeys(comparison.labelers or ()))


def comparison_verdict(comparison: Comparison) -> str:
    """One sentence: whether there is a difference, and where."""
    if comparison.significance is Significance.unknown:
        return (
            "Whether the difference is larger than noise is unknown: label a share twice (safeguard relabel compare … "
            "--noise-share 0.02)."
        )
    if comparison.significance is Significance.within:
        excess = _excess_text(comparison.floor)
        return f"Within noise: the versions differ no more than one version differs from itself:{excess}."
    names = [f"{group.name} ({group.direction})" for group in comparison.beyond_noise]
    return f"Beyond noise in: {', '.join(names) or 'no single category'}; all together{_excess_text(comparison.floor)}."


def _excess_text(floor: NoiseFloor) -> str:
    if floor.excess is None:
        return ""
    value, low, high = (100 * part for part in astuple(floor.excess))
    return f" {value:+.1f} points over noise ({low:+.1f} to {high:+.1f})"


def group_rows(title: str, groups: Sequence[Group]) -> list[tuple[str, ...]]:
    """The cells of a table with a line per category or rule, its head first."""
    rows: list[tuple[str, ...]] = [
        (title, "before", "after", "stricter", "permissive", "moved", "flipped", "noise", "")
    ]
    for group in groups:
        flips = [f"{group.flips.get(kind, 0):,}" for kind in (Flip.stricter, Flip.permissive, Flip.moved)]
        shares = [percent(group.flipped), percent(group.floor.noise)]
        significance = "" if group.floor.significance is Significance.unknown else group.floor.significance.value
        rows.append((group.name, f"{group.old:,}", f"{group.new:,}", *flips, *shares, significance))
    return rows


def noise_text(comparison: Comparison) -> str:
    """The noise floor in words."""
    if comparison.floor.noise is None:
        return "not measured"
    return (
        f"{percent(comparison.floor.noise)} of {comparison.noise_contents:,} contents labelled twice under one version"
    )


def percent(rate: Rate | None) -> str:
    """A share with its interval."""
    return "-" if rate is None else f"{rate.value:.1%} ({rate.low:.1%} to {rate.high:.1%})"


def p_value(p: float) -> str:
    """A p-value as statisticians write it."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """For programs, as values that `report_json` makes plain."""
    return {
        "old": comparison.old,
        "new": comparison.new,
        "labelers": comparison.labelers,
        "compared": comparison.compared,
        "weighted": comparison.weighted,
        "unseen": comparison.unseen,
        "standing": comparison.significance,
        "flipped": comparison.flipped,
        "flips": comparison.flips,
        "noise": comparison.floor.noise,
        "noise_contents": comparison.noise_contents,
        "excess": comparison.floor.excess,
        "violation_rate": {
            "old": comparison.violation_old,
            "new": comparison.violation_new,
        },
        "mcnemar_p": comparison.p_value,
        "unexplained": comparison.unexplained,
        "categories": [_group_json(group) for group in comparison.categories],
        "rules": [_group_json(group) for group in comparison.rules],
        "matrix": [
            {"old": old, "new": new, "contents": count} for (old, new), count in sorted(comparison.matrix.items())
        ],
        "changes": comparison.changes,
    }


def comparison_metrics(comparison: Comparison) -> dict[str, float]:
    """The metrics of the MLflow run."""
    rates = {
        "flipped": comparison.flipped,
        "noise": comparison.floor.noise,
        "unexplained": comparison.unexplained,
        "violation_rate.old": comparison.violation_old,
        "violation_rate.new": comparison.violation_new,
        **{f"flips.{kind.value}": rate for kind, rate in comparison.flips.items()},
    }
    values = {name: rate.value for name, rate in rates.items() if rate is not None}
    return {**values, "compared": comparison.compared, "mcnemar_p": comparison.p_value}


def _group_json(group: Group) -> dict[str, Any]:
    return {
        "name": group.name,
        "old": group.old,
        "new": group.new,
        "direction": group.direction,
        "flips": group.flips,
        "flipped": group.flipped,
        "noise": group.floor.noise,
        "excess": group.floor.excess,
        "standing": group.floor.significance,
    }
