"""HTML: what the self-contained report pages share: no script, and nothing that is loaded from elsewhere."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from safeguard_spark.terminal import in_own_lines, one_line

NOTHING_IS_LOADED = (
    """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">"""
)
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #1b2631; }
table { border-collapse: collapse; margin: 1rem 0; width: 100%; }
th, td { border-bottom: 1px solid #d5dbdb; padding: .3rem .6rem; text-align: right; vertical-align: top; }
th:first-child, td:first-child { text-align: left; }
td.text { text-align: left; white-space: pre-wrap; overflow-wrap: anywhere; }
.verdict { background: #eaf2f8; border-left: 4px solid #2e86c1; padding: .6rem 1rem; }
"""


def html_page(title: str, parts: Iterable[str], style: str = "") -> str:
    """A page of parts, which are HTML already; empty ones are left out."""
    body = "\n".join(part for part in parts if part)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">{NOTHING_IS_LOADED}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>"
        f"<style>{STYLE}{style}</style></head><body>\n{body}\n</body></html>\n"
    )


def html_table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table; a column named `text` keeps line breaks. Invisible characters are escaped, as on a terminal."""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = []
    for row in rows:
        cells = [
            f'<td class="text">{escape(in_own_lines(str(cell)))}</td>'
            if name == "text"
            else f"<td>{escape(one_line(str(cell)))}</td>"
            for name, cell in zip(head, row, strict=True)
        ]
        body.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table><thead><tr>{top}</tr></thead><tbody>{''.join(body)}</tbody></table>"
