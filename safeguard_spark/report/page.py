"""Page: a report as one self-contained HTML page with pictures. It has no content and no content's id."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from html import escape

from safeguard_spark.evaluation.figures import COLORS, Interval, Series, axis_end, interval_figure, line_figure, percent
from safeguard_spark.evaluation.html import html_page, html_table
from safeguard_spark.evaluation.page import STYLE
from safeguard_spark.report.indicators import Report
from safeguard_spark.report.text import figure, grouped, label, remarks

RATES = ("violation_rate_model", "violation_rate")
QUALITY = ("precision", "recall", "accuracy")


def report_page(report: Report) -> str:
    """The page: rates by the model beside corrected ones, then every figure, with what it counts and its method."""
    title = f"Labels and reviews, {report.period}" if report.period else "Reviews so far"
    parts = [
        f"<h1>{escape(title)}</h1>",
        "<p>Corrected rates come from estimating samples: contents drawn at random that people judged, first without "
        "seeing the label. What was looked for as it might be wrong is in no rate. Intervals: 95 %. Days: UTC.</p>",
        *(f"<p>{escape(line)}</p>" for line in remarks(report)),
        *_rates(report),
        *_days(report),
        *_active(report),
        *_tables(report),
    ]
    return html_page(title, parts, STYLE)


def _rates(report: Report) -> Iterator[str]:
    for names, title in ((RATES, "violation rate: by the model, and corrected"), (QUALITY, "quality of the labels")):
        lines = [
            Interval(
                f"{one.policy}@{one.policy_version} {'corrected' if one.name == 'violation_rate' else label(one)}"
                .replace("violation rate model", "by the model"),
                one.value, one.value if one.low is None else one.low, one.value if one.high is None else one.high,
                f"n {one.n:,}" if one.n is not None else "",
            )
            for one in report.indicators
            if one.name in names and one.value is not None and one.sample_id
        ]  # fmt: skip
        if lines:
            yield interval_figure(title, lines, axis_end(line.high for line in lines), percent)


def _days(report: Report) -> Iterator[str]:
    by_name: dict[str, dict[date, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    # A collection is no part of another one's share.
    is_one = len({row["collection"] for row in report.days}) == 1
    for row in report.days:
        sums = by_name[row["policy"] if is_one else f"{row['policy']} on {row['collection']}"][row["day"]]
        sums[0] += row["flagged"]
        sums[1] += row["judged"]
    series = [
        Series(name, points)
        for name, days in sorted(by_name.items())
        if (
            points := [(day.toordinal(), flagged / judged) for day, (flagged, judged) in sorted(days.items()) if judged]
        )
    ]
    if report.period and any(len(one.points) > 1 for one in series):
        names = (str(report.period.start), str(report.period.end))
        ends = (report.period.start.toordinal(), report.period.end.toordinal())
        yield line_figure("flagged share by the day of the label", series[: len(COLORS)], ends, names)


def _active(report: Report) -> Iterator[str]:
    rows = [
        (f"{row.policy}@{row.policy_version}", row.labeler, row.start, row.end, "yes" if row.forced else "", row.reason)
        for row in report.active
    ]
    if rows:
        yield "<h2>Which version was active</h2>"
        yield html_table(("version", "labeler", "from", "to", "against its gate", "why"), rows)


def _tables(report: Report) -> Iterator[str]:
    for title, indicators in grouped(report):
        yield f"<h2>{escape(title)}</h2>"
        rows = [
            (label(one), figure(one), "" if one.n is None else f"{one.n:,}", one.note or one.method)
            for one in indicators
        ]
        yield html_table(("figure", "value", "n", "method"), rows)
