"""Comparison as one self-contained HTML page: figures, tables and pictures, nothing fetched from anywhere."""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from safeguard_spark.evaluation.comparison.compare import Comparison, Flip, Group
from safeguard_spark.evaluation.comparison.text import NAMES, comparison_verdict, noise_text, p_value, percent

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #1b2631; }
table { border-collapse: collapse; margin: 1rem 0; width: 100%; }
th, td { border-bottom: 1px solid #d5dbdb; padding: .3rem .6rem; text-align: right; vertical-align: top; }
th:first-child, td:first-child { text-align: left; }
td.text { text-align: left; white-space: pre-wrap; overflow-wrap: anywhere; }
.verdict { background: #eaf2f8; border-left: 4px solid #2e86c1; padding: .6rem 1rem; }
img { max-width: 100%; }
"""
COLOURS = {Flip.stricter: "#c0392b", Flip.permissive: "#2e86c1", Flip.moved: "#b7950b"}
SHOWN = 20  # categories or rules in a picture


class Shown(NamedTuple):
    """An example: a content by its id, what either version said, and its text if that was asked for."""

    content_id: str
    old: str
    new: str
    text: str | None = None


def comparison_page(found: Comparison, coverage: str, examples: Sequence[Shown], notes: Sequence[str] = ()) -> str:
    """The page."""
    title = f"{found.old} compared with {found.new}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{found.compared:,} contents labelled under both: {escape(coverage)}.</p>",
        f'<p class="verdict">{escape(comparison_verdict(found))}</p>',
        _summary(found),
        *(f"<p>{escape(note)}</p>" for note in notes),
        *(_groups(name, groups) for name, groups in (("Category", found.categories), ("Rule", found.rules)) if groups),
        _matrix(found.matrix),
        _examples(examples),
    ]
    body = "\n".join(part for part in parts if part)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


def _summary(found: Comparison) -> str:
    rows = [
        ("Violation rate before", percent(found.violation_old)),
        ("Violation rate after", percent(found.violation_new)),
        ("McNemar's exact test", f"p {p_value(found.p_value)}"),
        ("Flips", percent(found.flipped)),
        *((NAMES[kind].capitalize(), percent(rate)) for kind, rate in found.flips.items()),
        ("Noise", noise_text(found)),
    ]
    return _table(("", "share (95 % interval)"), rows)


def _groups(name: str, groups: Sequence[Group]) -> str:
    head = (name, "before", "after", "stricter", "more permissive", "moved", "flipped", "noise", "")
    rows = [
        (
            group.name,
            f"{group.old:,}",
            f"{group.new:,}",
            *(f"{group.flips.get(kind, 0):,}" for kind in (Flip.stricter, Flip.permissive, Flip.moved)),
            percent(group.flipped),
            percent(group.floor.noise),
            group.floor.standing.value,
        )
        for group in groups
    ]
    picture = _picture(groups[:SHOWN])
    return f'<h2>{name} by {name.lower()}</h2>\n<img alt="Flips" src="{picture}">\n{_table(head, rows)}'


def _picture(groups: Sequence[Group]) -> str:
    """Bars of flips per group, as a data URI."""
    from matplotlib.figure import Figure

    names = [group.name for group in groups][::-1]
    figure = Figure(figsize=(8, 1.2 + 0.35 * len(groups)), layout="constrained")
    axes = figure.add_subplot()
    left = [0] * len(names)
    for kind, colour in COLOURS.items():
        widths = [group.flips.get(kind, 0) for group in groups][::-1]
        axes.barh(names, widths, left=left, color=colour, label=NAMES[kind])
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.set_xlabel("contents that flipped")
    axes.legend(frameon=False, fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode("ascii")


def _matrix(matrix: Mapping[tuple[str, str], int]) -> str:
    names = sorted({name for pair in matrix for name in pair})
    rows = [(old, *(f"{matrix[old, new]:,}" if (old, new) in matrix else "·" for new in names)) for old in names]
    return f"<h2>Before (rows) and after (columns)</h2>\n{_table(('', *names), rows)}" if names else ""


def _examples(examples: Sequence[Shown]) -> str:
    if not examples:
        return ""
    with_text = any(example.text is not None for example in examples)
    head = ("content", "before", "after", *(("text",) if with_text else ()))
    rows = [(e.content_id, e.old, e.new, *((e.text or "",) if with_text else ())) for e in examples]
    return f"<h2>Examples</h2>\n{_table(head, rows)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = []
    for row in rows:
        cells = [
            f'<td class="text">{escape(str(cell))}</td>' if name == "text" else f"<td>{escape(str(cell))}</td>"
            for name, cell in zip(head, row, strict=True)
        ]
        body.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table><thead><tr>{top}</tr></thead><tbody>{''.join(body)}</tbody></table>"
