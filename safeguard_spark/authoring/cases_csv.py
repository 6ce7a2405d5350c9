"""Golden sets as CSV: the two shapes found in published policy packs, read into cases.

Named columns (ROOST's packs): rows before the header are notes; each text column has its label column after it, and a
second pair is the answer to the first, so it becomes a conversation.

    These are synthetic prompts …,,,
    example,classification,Responses,Response Label
    How old must I be?,ARS0,In most places 18.,ARS0

Sections (OpenAI's example): a row with nothing but a label opens a section; the items below it carry a number, the
text, and further right what a model once said of it. The section is the expected label, not the model's answer.

    SP2,,,,,,,,,,
    1,Check out the entire collection,,,,,,,,SP2,
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from safeguard_spark.authoring.cases import Case, CaseTurn
from safeguard_spark.policy.document import Rule

TEXT_COLUMN = re.compile(r"^(example|prompt|text|content|message|input|response|answer|output)s?$", re.IGNORECASE)
LABEL_COLUMN = re.compile(r"\b(classification|label|category|verdict|expected)\b", re.IGNORECASE)
VIOLATES = {"invalid", "1", "true", "violates", "violation", "unsafe"}
SAFE = {"valid", "0", "false", "safe", "none", "allowed"}


class Expected(NamedTuple):
    """A label read: whether it is a violation, and of which rule where it says so."""

    violation: bool
    rule: Rule | None = None


class Labels(NamedTuple):
    """The labels a golden set may use: the policy's rules, and its names for what violates nothing."""

    rules: Sequence[Rule]
    allowed: Sequence[str]

    def read(self, cell: str) -> Expected | None:
        """The meaning of a cell, or None. `SP2.a` and `SP2 - cold` are SP2."""
        word = cell.strip().strip("`*\"'")
        for name, expected in [
            *((r.id, Expected(True, r)) for r in self.rules),
            *((a, Expected(False)) for a in self.allowed),
        ]:
            if re.match(rf"{re.escape(name)}(?![A-Za-z0-9])", word, re.IGNORECASE):
                return expected
        plain = word.lower()
        return Expected(True) if plain in VIOLATES else Expected(False) if plain in SAFE else None


class Golden(NamedTuple):
    """The cases of a golden set, and what to tell its owner."""

    cases: tuple[Case, ...]
    notes: tuple[str, ...]


class _Item(NamedTuple):
    row: int  # 1-based row of the CSV
    texts: tuple[str, ...]  # one text, or a prompt and its response
    expected: Expected | None
    otherwise: str | None = None  # a model's label that differs from the section's


def read_golden(text: str, labels: Labels, file: str) -> Golden:
    """The cases of a CSV's text. Never raises: what cannot be understood is a note."""
    try:
        rows = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))
    except csv.Error as error:
        return Golden((), (f"{file} is not CSV ({error}); no cases were read",))
    header = next((n for n, row in enumerate(rows[:10]) if _pairs(row)), None)
    items = list(_sections(rows, labels) if header is None else _columns(rows, header, labels))
    notes = [f"{file} row {item.row}: no label of the policy; left out" for item in items if item.expected is None]
    if not items:
        notes.append(f"{file} has neither a header with text and label columns nor sections of labels")
    kept = [item for item in items if item.expected is not None]
    unlike = [item for item in kept if item.otherwise]
    if unlike:
        listed = ", ".join(str(item.row) for item in unlike)
        notes.append(
            f"{file}: in {len(unlike)} row{'s' if len(unlike) > 1 else ''} ({listed}) the classification column "
            "differs from the section's label; the section was taken, the column is a model's answer"
        )
    cases: dict[str, Case] = {}
    for item in kept:
        case = _case(item, file, len(kept))
        earlier = cases.setdefault(case.content_hash, case)
        if earlier is not case:
            as_before = (case.violation, case.rules) == (earlier.violation, earlier.rules)
            otherwise = "" if as_before else ", with another label"
            notes.append(f"{file} row {item.row}: the same content as {earlier.id}{otherwise}; left out")
    return Golden(tuple(cases.values()), tuple(notes))


def _pairs(row: Sequence[str]) -> list[tuple[int, int]]:
    """(text column, label column) of a header row."""
    texts = [n for n, cell in enumerate(row) if TEXT_COLUMN.match(cell.strip())]
    marks = [n for n, cell in enumerate(row) if LABEL_COLUMN.search(cell) and n not in texts]
    return [(t, next(m for m in marks if m > t)) for t in texts if any(m > t for m in marks)]


def _columns(rows: list[list[str]], header: int, labels: Labels) -> Iterator[_Item]:
    pairs = _pairs(rows[header])
    for number, row in enumerate(rows[header + 1 :], header + 2):
        texts: list[str] = []
        for text_column, label_column in pairs:
            cells = [row[n].strip() if n < len(row) else "" for n in (text_column, label_column)]
            if not cells[0]:
                continue
            texts.append(cells[0])
            yield _Item(number, tuple(texts), labels.read(cells[1]))


def _sections(rows: list[list[str]], labels: Labels) -> Iterator[_Item]:
    section: Expected | None = None
    for number, row in enumerate(rows, 1):
        cells = [cell.strip() for cell in row]
        filled = [cell for cell in cells if cell]
        if len(filled) == 1 and labels.read(filled[0]) is not None:
            section = labels.read(filled[0])
            continue
        if section is None or len(filled) < 2 or not cells[0].isdigit():
            continue
        text = max(filled, key=len)
        said = next((cell for cell in reversed(cells[1:]) if cell and cell != text and labels.read(cell)), None)
        unlike = said is not None and labels.read(said) != section
        yield _Item(number, (text,), section, said if unlike else None)


def _case(item: _Item, file: str, count: int) -> Case:
    assert item.expected is not None
    rule, last = item.expected.rule, len(item.texts) - 1
    roles = ("user", "assistant")
    turns = tuple(CaseTurn(role=roles[n % 2], text=text) for n, text in enumerate(item.texts)) if last else None
    suffix = "-response" if last else ""
    said = f" A model once said {item.otherwise}." if item.otherwise else ""
    return Case(
        id=f"row-{item.row:0{len(str(count))}d}{suffix}",
        text=None if last else item.texts[0],
        conversation=turns,
        violation=item.expected.violation,
        category=rule.category if rule else None,
        rules=(rule.id,) if rule else (),
        why=f"Row {item.row} of {file}.{said}",
    )
