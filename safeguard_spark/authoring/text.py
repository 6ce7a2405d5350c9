"""Policy text: the Markdown body as lines with their headings; its examples and tables."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

HEADING = re.compile(r"^(?P<marks>#{1,6})\s+(?P<title>.+?)\s*#*$")
CAPITALS = re.compile(r"^[A-Z][A-Z &/()-]{4,60}:?$")  # a heading in policies written as plain text
BOLD = re.compile(r"^\*\*(?P<title>[^*]{3,60})\*\*:?$")
# In the languages that have a list of words: example, Beispiel, ejemplo, exemple, exemplo.
EXAMPLE = r"(?:examples?|samples?|\w*beispiele?n?|ejemplos?|exemples?|exemplos?)"
LABEL = re.compile(rf"^(?P<title>(?:[A-Z]\w+ )?(?i:{EXAMPLE})):$")
EXAMPLES = re.compile(rf"\b{EXAMPLE}\b", re.IGNORECASE)
TABLE_RULE = re.compile(r"^\|?\s*:?-{3,}:?\s*(\|\s*:?-{3,}:?\s*)*\|?$")
QUOTED = re.compile(r"“[^”\n]*”|‘[^’\n]*’|\"[^\"\n]*\"|`[^`\n]*`")


class Line(NamedTuple):
    """One line of the body. `headings` are the titles above it, outermost first."""

    number: int  # 1-based, in the body
    text: str
    headings: tuple[str, ...]
    is_heading: bool

    @property
    def in_examples(self) -> bool:
        """Whether it is under a heading of examples."""
        return any(EXAMPLES.search(title) for title in self.headings)


class Cell(NamedTuple):
    """One cell of a table: its stripped text, its line, and the 1-based column where it starts."""

    text: str
    line: int
    column: int


class MarkdownTable(NamedTuple):
    """A Markdown table."""

    header: tuple[Cell, ...]
    rows: tuple[tuple[Cell, ...], ...]


class Block(NamedTuple):
    """Lines that belong together: a paragraph, a list, a fenced block."""

    lines: tuple[Line, ...]

    @property
    def text(self) -> str:
        """The lines as text."""
        return "\n".join(line.text for line in self.lines)


@dataclass(frozen=True)
class PolicyText:
    """A policy's body with its structure."""

    body: str

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """Every line, in order."""
        return tuple(_lines(self.body))

    @cached_property
    def headings(self) -> tuple[Line, ...]:
        """The lines that are headings."""
        return tuple(line for line in self.lines if line.is_heading)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """Lines between blank lines and headings."""
        blocks: list[list[Line]] = [[]]
        for line in self.lines:
            if line.is_heading or not line.text.strip():
                blocks.append([])
            else:
                blocks[-1].append(line)
        return tuple(Block(tuple(lines)) for lines in blocks if lines)

    @cached_property
    def tables(self) -> tuple[MarkdownTable, ...]:
        """The Markdown tables."""
        tables = []
        for block in self.blocks:
            rows = [line for line in block.lines if line.text.strip().startswith("|")]
            if len(rows) > 2 and TABLE_RULE.match(rows[1].text.strip()):
                tables.append(MarkdownTable(_cells(rows[0]), tuple(_cells(row) for row in rows[2:])))
        return tuple(tables)


def mentions(text: str, name: str) -> bool:
    """Whether a text has a name as a word of its own."""
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None


def without_quotes(text: str, longer_than: int = 0) -> str:
    """The text with quotations of more than `longer_than` words blanked, positions unchanged."""
    return QUOTED.sub(lambda m: " " * len(m[0]) if len(m[0].split()) > longer_than else m[0], text)


def _lines(body: str) -> Iterator[Line]:
    stack: list[tuple[int, str]] = []
    fenced = False
    for number, text in enumerate(body.split("\n"), 1):
        stripped = text.strip()
        if stripped.startswith("```"):
            fenced = not fenced
        level, title = (0, "") if fenced else _heading(stripped)
        if level:
            stack = [*(outer for outer in stack if outer[0] < level), (level, title)]
        yield Line(number, text, tuple(outer[1] for outer in stack), bool(level))


def _heading(text: str) -> tuple[int, str]:
    """(level, title); level 0 means no heading. Capitals and bold lines are below every Markdown heading."""
    if match := HEADING.match(text):
        return len(match["marks"]), match["title"]
    if CAPITALS.match(text):
        return 7, text.rstrip(":")
    if match := BOLD.match(text) or LABEL.match(text):
        return 8, match["title"].rstrip(":")
    return 0, ""


def _cells(row: Line) -> tuple[Cell, ...]:
    cells, offset = [], 0
    for raw in row.text.split("|"):
        cells.append(Cell(raw.strip(), row.number, offset + len(raw) - len(raw.lstrip()) + 1))
        offset += len(raw) + 1
    return tuple(cells[1:-1] if row.text.rstrip().endswith("|") else cells[1:])
