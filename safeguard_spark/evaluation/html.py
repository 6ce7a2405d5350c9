"""HTML: what the self-contained report pages share: no script, and nothing that is loaded from elsewhere."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from safeguard_spark.terminal import in_own_lines, one_line

NOTHING_IS_LOADED = (
    """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">"""
)
STYLE = """
:root { color-scheme: light dark;
  --page: #fff; --text: #1b2631; --quiet: #566573; --line: #d5dbdb; --grid: #e5e8e8; --bar: #85929e; --dot: #1f618d;
  --note: #eaf2f8; --edge: #2e86c1; --good: #1e7a44; --bad: #b03a2e; --open: #7d6608;
  --series-0: #1f618d; --series-1: #b03a2e; --series-2: #1e7a44; --series-3: #7d3c98; --series-4: #8a5a00;
  --series-5: #566573; }
@media (prefers-color-scheme: dark) { :root {
  --page: #14191f; --text: #e4e9ee; --quiet: #a3b1bd; --line: #3a4652; --grid: #2c3640; --bar: #6b7a88; --dot: #8cc7f2;
  --note: #1c2b38; --edge: #5dade2; --good: #58d68d; --bad: #f1948a; --open: #f0c75a;
  --series-0: #8cc7f2; --series-1: #f1948a; --series-2: #58d68d; --series-3: #c9a6da; --series-4: #f0b95a;
  --series-5: #a3b1bd; } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem;
  color: var(--text); background: var(--page); }
h1, h2, h3 { overflow-wrap: anywhere; line-height: 1.25; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .6rem; text-align: right; vertical-align: top; }
th:first-child, td:first-child { text-align: left; }
@media (max-width: 40rem) {
  table { width: auto; } th, td { white-space: nowrap; } td:last-child { white-space: normal; min-width: 10rem; } }
td.text { text-align: left; white-space: pre-wrap; overflow-wrap: anywhere; }
.verdict { background: var(--note); border-left: 4px solid var(--edge); padding: .6rem 1rem; }
"""


def html_page(title: str, parts: Iterable[str], style: str = "") -> str:
    """A page of parts, which are HTML already; empty ones are left out."""
    body = "\n".join(part for part in parts if part)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">{NOTHING_IS_LOADED}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>"
        f"<style>{STYLE}{style}</style></head><body><main>\n{body}\n</main></body></html>\n"
    )


def html_table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table; a column named `text` keeps line breaks. Invisible characters are escaped, as on a terminal."""
    top = "".join(f"<th>{escape(name)}</th>" if name else "<td></td>" for name in head)
    body = []
    for row in rows:
        cells = [
            f'<td class="text">{escape(in_own_lines(str(cell)))}</td>'
            if name == "text"
            else f"<td>{escape(one_line(str(cell)))}</td>"
            for name, cell in zip(head, row, strict=True)
        ]
        body.append(f"<tr>{''.join(cells)}</tr>")
    table = f"<table><thead><tr>{top}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    return scrollable(table, f"Table of {', '.join(filter(None, head))}")


def scrollable(part: str, name: str) -> str:
    """A part of a page of which a narrow screen shows a piece and a keyboard scrolls. Screen readers read its name."""
    return f'<div class="scroll" role="group" tabindex="0" aria-label="{escape(name, quote=True)}">{part}</div>'
