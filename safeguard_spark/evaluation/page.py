"""Page: an evaluation as one self-contained HTML page with figures. It has no content of the sets."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from safeguard_spark.evaluation.figures import Interval, Point, interval_figure, scatter
from safeguard_spark.evaluation.html import html_page, html_table, scrollable
from safeguard_spark.evaluation.layout import share
from safeguard_spark.evaluation.measures import Measure, Metric
from safeguard_spark.evaluation.names import CategoryCount
from safeguard_spark.evaluation.result import Evaluation, SetResult, SideResult, by_slice
from safeguard_spark.policy.document import ALL
from safeguard_spark.terminal import counted

STYLE = """
svg { margin: .5rem 0 1.5rem; overflow: visible; font: 12px system-ui, sans-serif; fill: var(--text); }
svg.wide { min-width: 38rem; }
svg .title { font-weight: 600; font-size: 13px; }
svg .end { text-anchor: end; } svg .middle { text-anchor: middle; } svg .tick { fill: var(--quiet); }
svg .grid { stroke: var(--grid); } svg .bar { stroke: var(--bar); stroke-width: 5; } svg .dot { fill: var(--dot); }
td.cell { text-align: right; } td.right { outline: 2px solid var(--good); outline-offset: -2px; }
.met { color: var(--good); } .refused { color: var(--bad); } .not_shown { color: var(--open); }
small { color: var(--quiet); }
"""
FIGURES = (Measure.recall, Measure.precision, Measure.false_positive_rate)
TABLE = (*FIGURES[:2], Measure.f1, Measure.false_positive_rate, Measure.unreadable_rate)
MAX_LINES = 60  # lines of a figure; the table below it has all


def evaluation_page(evaluation: Evaluation) -> str:
    """The page: for each set the figures and tables of its policies, then the gate."""
    title = f"Evaluation on {', '.join(result.ref for result in evaluation.sets)}"
    where = "recorded answers" if evaluation.answers != "model" else f"{evaluation.calls:,} model calls"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(evaluation.evaluation_id)}, {evaluation.evaluated_at:%Y-%m-%d %H:%M} UTC, {where}. Intervals: "
        "95 %. An answer that could not be read counts as wrong.</p>",
        _gate(evaluation),
        *(part for result in evaluation.sets for part in _set(result, evaluation.currency)),
    ]
    return html_page(title, parts, STYLE)


def _gate(evaluation: Evaluation) -> str:
    lines = (f'<li class="{line.decision}">{escape(str(line))}</li>' for line in evaluation.gate)
    return f"<h2>Gate</h2><ul>{''.join(lines)}</ul>" if evaluation.gate else ""


def _set(result: SetResult, currency: str) -> Iterator[str]:
    contents = counted(result.contents, "content", "contents")
    yield f"<h2>{escape(result.ref)}</h2>"
    yield (
        f"<p>{contents}. <small>Set {result.digest[:12]}, cohort {result.cohort.cohort_hash[:12]}: "
        "only figures of the same cohort may be compared.</small></p>"
    )
    yield "".join(f"<p>{escape(note)}</p>" for note in result.notes)
    for side in result.sides:
        yield from _side(side)
    yield from _sides(result, currency)
    rows = [(check.policy, check.check, share(check), check.sentence) for check in result.checks]
    yield html_table(("policy", "check", "share", "text"), rows) if rows else ""


def _side(side: SideResult) -> Iterator[str]:
    yield f"<h3>{escape(side.name)}</h3>"
    exact = side.metric(ALL, Measure.exact_match)
    if exact is not None and len(side.evaluated) > 1:
        yield f"<p>Right under every policy: {share(exact)} of {counted(exact.n, 'content', 'contents')}.</p>"
    for one in side.evaluated:
        own = [metric for metric in side.metrics if metric.policy == one.policy]
        for measure in FIGURES:
            lines = [
                Interval(m.slice if m.slice != ALL else "all", m.value, m.low, m.high, f"n {_denominator(m):,}")
                for m in own
                if m.metric is measure and m.value is not None and m.low is not None and m.high is not None
            ]
            if lines:
                yield interval_figure(f"{one.policy}: {measure.replace('_', ' ')}", lines[:MAX_LINES])
        yield _table(by_slice(own, one.policy))
        yield _names(one.policy, [metric for metric in side.names if metric.policy == one.policy])
        yield _confusion([count for count in side.categories if count.policy == one.policy])


def _denominator(metric: Metric) -> int:
    cells = {
        Measure.recall: (metric.tp, metric.fn),
        Measure.precision: (metric.tp, metric.fp),
        Measure.false_positive_rate: (metric.fp, metric.tn),
    }
    return sum(cell or 0 for cell in cells.get(metric.metric, (metric.n,)))


def _table(slices: Mapping[str, Mapping[Measure, Metric]]) -> str:
    head = ("slice", "tp", "fp", "fn", "tn", "unreadable", "unknown", *(name.replace("_", " ") for name in TABLE))
    rows = []
    for slice_, of_slice in slices.items():
        recall = of_slice[Measure.recall]
        cells = (recall.tp, recall.fp, recall.fn, recall.tn, recall.unreadable, recall.unknown)
        rows.append((slice_, *(f"{cell:,}" for cell in cells), *(share(of_slice.get(name)) for name in TABLE)))
    return html_table(head, rows) if rows else ""


def _names(policy: str, metrics: Sequence[Metric]) -> str:
    lines = [
        Interval(f"{m.slice} {m.metric}", m.value, m.low, m.high, f"n {_denominator(m):,}")
        for m in metrics
        if m.metric in FIGURES and m.value is not None and m.low is not None and m.high is not None
    ]
    return interval_figure(f"{policy}: rules and categories", lines[:MAX_LINES]) if lines else ""


def _confusion(counts: Sequence[CategoryCount]) -> str:
    """People's category in the rows, the verdict's in the columns; a darker cell is a larger share of its row."""
    if not counts:
        return ""
    cells = {(count.expected, count.predicted): count.contents for count in counts}
    last = ("violation", "safe", "unreadable", "unknown")
    rows, columns = (sorted({pair[side] for pair in cells}, key=lambda name: (name in last, name)) for side in (0, 1))
    head = "".join(f"<th>{escape(name)}</th>" for name in ("people \\ verdict", *columns))
    lines = []
    for row in rows:
        total = sum(cells.get((row, column), 0) for column in columns)
        line = [f"<td>{escape(row)}</td>"]
        for column in columns:
            contents = cells.get((row, column), 0)
            shade = f"background: rgba(31, 97, 141, {0.6 * contents / total:.2f})" if contents else ""
            kind = "cell right" if row == column else "cell"
            line.append(f'<td class="{kind}" style="{shade}">{f"{contents:,}" if contents else "·"}</td>')
        lines.append(f"<tr>{''.join(line)}</tr>")
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    return scrollable(table, "Table of categories, by people and by the verdict")


def _sides(result: SetResult, currency: str) -> Iterator[str]:
    """Figures that compare the sides, if there are several: precision and recall, and quality and cost."""
    if len(result.sides) < 2:
        return
    for policy in result.cohort.mapping:
        sides = [(side, one) for side in result.sides for one in side.evaluated if one.policy == policy]
        shapes = [(s.name, s.metric(policy, Measure.recall), s.metric(policy, Measure.precision)) for s, _ in sides]
        points = [Point(name, _ends(r), _ends(p)) for name, r, p in shapes if _known(r) and _known(p)]
        if points:
            yield scatter(f"{policy}: precision against recall", "recall", "precision", points)
        has_cost = any(one.cost is not None for _, one in sides)
        costs = [(s.name, one.cost if has_cost else one.tokens, s.metric(policy, Measure.f1)) for s, one in sides]
        points = [Point(name, (c, c, c), _ends(f1)) for name, c, f1 in costs if c is not None and _known(f1)]
        if points:
            unit = f"{currency} per thousand calls" if has_cost else "tokens per thousand calls"
            yield scatter(f"{policy}: quality against cost", unit, "F1", points)
    rows = [
        (side.name, "every policy" if d.policy == ALL else d.policy, d.slice, d.metric.replace("_", " "),
         f"{d.value:+.3f} ({d.low:+.3f} to {d.high:+.3f})", f"{d.p_value:.2g}", f"{d.n:,}")
        for side in result.sides
        for d in side.differences
        if d.value is not None
    ]  # fmt: skip
    if rows:
        head = ("compared with", "policy", "slice", "metric", f"{result.first.name} minus it", "McNemar p", "contents")
        yield f"<h3>Differences on the same contents</h3>{html_table(head, rows)}"


def _known(metric: Metric | None) -> bool:
    return metric is not None and metric.value is not None


def _ends(metric: Metric | None) -> tuple[float, float, float]:
    assert metric is not None and metric.value is not None and metric.low is not None and metric.high is not None
    return metric.value, metric.low, metric.high
