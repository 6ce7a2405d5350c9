"""Text and CSV of a report."""

import csv
import io

from safeguard_spark.evaluation.intervals import LEVEL
from safeguard_spark.report.indicators import Indicator, Report
from safeguard_spark.terminal import aligned, counted

# One row per figure: what reports on automated means ask for (docs/reporting.md says which article asks for which).
COLUMNS = (
    "period_start", "period_end", "known", "policy", "policy_version", "labeler", "collection", "sample", "about",
    "indicator", "unit", "value", "low", "high", "confidence_level", "n", "method", "note",
)  # fmt: skip


def report_csv(report: Report) -> str:
    """The indicators as CSV, one a line; numbers with a point, an empty cell where there is none."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    period = report.period
    head = ("", "", "") if period is None else (period.start, period.end, period.known.value)
    for one in report.indicators:
        level = LEVEL if one.low is not None else ""
        unit = "share" if one.is_share else report.currency if one.name == "cost_money" else one.name.rpartition("_")[2]
        cells = (one.policy, one.policy_version, one.labeler, one.collection, one.sample_id, one.about, one.name, unit)
        numbers = (_number(one.value), _number(one.low), _number(one.high), level, _number(one.n))
        writer.writerow([*head, *map(_inert, cells), *numbers, one.method, one.note])
    for row in report.active:
        cells = (row.policy, row.policy_version, row.labeler, "", "", "", "days_active", "days")
        days, when = (row.end - row.start).days + 1, f"{row.start} to {row.end}"
        writer.writerow([*head, *map(_inert, cells), days, "", "", "", "", "table policy_activations", when])
    return out.getvalue()


def _number(value: float | None) -> str:
    return (
        "" if value is None else f"{value:.6g}" if isinstance(value, float) and value != int(value) else f"{int(value)}"
    )


def _inert(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def report_text(report: Report) -> str:
    """The indicators for people, by policy version."""
    lines = [f"Report of {report.period}." if report.period else "Reviews so far.", *remarks(report)]
    for row in report.active:
        forced = ", against its gate" if row.forced else ""
        lines.append(f"{row.policy}@{row.policy_version} by {row.labeler} active {row.start} to {row.end}{forced}")
    for title, indicators in grouped(report):
        lines += [
            "",
            title,
            *aligned([(f"  {label(one)}", figure(one), one.note or evidence(one)) for one in indicators]),
        ]
    return "\n".join(lines) + "\n"


def remarks(report: Report) -> list[str]:
    """Which golden sets are left out, and what to say where there are no labels and no reviews."""
    lines = []
    if report.golden_sets:
        sets = ", ".join(
            f"{name} ({counted(labels, 'label', 'labels')})" for name, labels in report.golden_sets.items()
        )
        lines.append(f"Left out: golden sets, which are no content of the platform: {sets}.")
    if not any(one.policy for one in report.indicators):
        lines.append(
            "No label was in use, and no item was drawn for review."
            if report.period
            else "No item has been drawn for review yet. Draw some with safeguard review sample."
        )
    return lines


def grouped(report: Report) -> list[tuple[str, list[Indicator]]]:
    """The indicators under a title each: a policy version, a sample of it, or the cost."""
    groups: dict[str, list[Indicator]] = {}
    for one in report.indicators:
        title = f"{one.policy}@{one.policy_version}" if one.policy else "cost of the runs"
        title += f" by {one.labeler}" if one.labeler else ""
        title += f" on {one.collection}" if one.collection else ""
        title += f", sample {one.sample_id}" if one.sample_id else ""
        groups.setdefault(title, []).append(one)
    return list(groups.items())


def label(one: Indicator) -> str:
    """The name of an indicator in words, with what it is about."""
    words = one.name.replace("_", " ")
    return f"{words}, {one.about}" if one.about else words


def figure(one: Indicator) -> str:
    """The value with its interval; shares in per cent."""
    if one.value is None:
        return "-"
    if not one.is_share:
        return f"{one.value:,.1f}" if one.value != int(one.value) else f"{one.value:,.0f}"
    if one.low is None or one.high is None:
        return f"{one.value:.2%}"
    return f"{one.value:.2%} ({one.low:.2%} to {one.high:.2%})"


def evidence(one: Indicator) -> str:
    """How many it is of, and the method of its interval."""
    return ", ".join(
        part for part in (f"n {one.n:,}" if one.n is not None else "", one.method) if part != "count" and part
    )
