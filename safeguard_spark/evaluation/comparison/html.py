"""Comparison report as one self-contained HTML page: figures, tables and bars, without scripts or downloads."""

from collections.abc import Mapping, Sequence
from html import escape

from safeguard_spark.evaluation.comparison.compare import Comparison, Flip, Group
from safeguard_spark.evaluation.comparison.report import (
    FLIP_NAMES,
    ComparisonReport,
    Example,
    agreement_text,
    comparison_verdict,
    group_rows,
    labelers_text,
    noise_text,
    p_value,
    percent,
)
from safeguard_spark.evaluation.html import html_page, html_table
from safeguard_spark.terminal import counted

COLORS = {Flip.stricter: "var(--bad)", Flip.permissive: "var(--edge)", Flip.moved: "var(--open)"}
STYLE = """
.bar { display: flex; margin: .2rem 0; }
.bar b { flex: 0 0 12rem; font-weight: normal; overflow-wrap: anywhere; }
.bar div { display: flex; flex: 1; }
.bar i, .legend i { height: 1.2em; }
.legend i { display: inline-block; width: 1.2em; margin: 0 .3rem 0 1rem; vertical-align: text-bottom; }
""" + "".join(f"i.{kind} {{ background: {color}; }}\n" for kind, color in COLORS.items())
MAX_BARS = 20  # categories or rules drawn as bars; the table below has all of them


def comparison_page(report: ComparisonReport) -> str:
    """The page. It has the texts of examples only if the report has them."""
    comparison = report.comparison
    title = f"{comparison.old} compared with {comparison.new}"
    groups = (("Category", comparison.categories), ("Rule", comparison.rules))
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{counted(comparison.compared, 'content', 'contents')} labelled under both: {escape(report.coverage)}.</p>",
        f"<p>Labeler: {escape(labelers_text(comparison))}.</p>" if comparison.labelers else "",
        f'<p class="verdict">{escape(comparison_verdict(comparison))}</p>',
        _summary(comparison),
        *(f"<p>{escape(agreement_text(agreement))}</p>" for agreement in report.agreement),
        *(_groups(name, members) for name, members in groups if members),
        _matrix(comparison.matrix),
        _examples(report.examples),
    ]
    return html_page(title, parts, STYLE)


def _summary(comparison: Comparison) -> str:
    rows = [
        ("Violation rate before", percent(comparison.violation_old)),
        ("Violation rate after", percent(comparison.violation_new)),
        ("McNemar's exact test", f"p {p_value(comparison.p_value)}"),
        ("Flips", percent(comparison.flipped)),
        *((FLIP_NAMES[kind].capitalize(), percent(rate)) for kind, rate in comparison.flips.items()),
        ("Noise", noise_text(comparison)),
    ]
    return html_table(("", "share (95 % interval)"), rows)


def _groups(name: str, groups: Sequence[Group]) -> str:
    head, *rows = group_rows(name, groups)
    return f"<h2>{name} by {name.lower()}</h2>\n{_bars(groups[:MAX_BARS])}\n{html_table(head, rows)}"


def _bars(groups: Sequence[Group]) -> str:
    """One stacked bar per group: its flips by kind, as a share of the group with the most flips."""
    longest = max(sum(group.flips.get(kind, 0) for kind in COLORS) for group in groups) or 1
    legend = "".join(f'<i class="{kind}"></i>{FLIP_NAMES[kind]}' for kind in COLORS)
    lines = [f'<p class="legend">Contents that flipped:{legend}</p>']
    for group in groups:
        segments = "".join(
            f'<i class="{kind}" style="width: {100 * count / longest:.2f}%" title="{FLIP_NAMES[kind]}: {count:,}"></i>'
            for kind in COLORS
            if (count := group.flips.get(kind, 0))
        )
        lines.append(f'<div class="bar"><b>{escape(group.name)}</b><div>{segments}</div></div>')
    return "\n".join(lines)


def _matrix(matrix: Mapping[tuple[str, str], int]) -> str:
    names = sorted({name for pair in matrix for name in pair})
    rows = [(old, *(f"{matrix[old, new]:,}" if (old, new) in matrix else "·" for new in names)) for old in names]
    return f"<h2>Before (rows) and after (columns)</h2>\n{html_table(('', *names), rows)}" if names else ""


def _examples(examples: Sequence[Example]) -> str:
    if not examples:
        return ""
    with_text = any(example.text is not None for example in examples)
    head = ("content", "before", "after", *(("text",) if with_text else ()))
    rows = [(e.content_id, e.old, e.new, *((e.text or "",) if with_text else ())) for e in examples]
    return f"<h2>Examples</h2>\n{html_table(head, rows)}"
