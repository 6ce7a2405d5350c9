"""Golden sets as CSV, in the two layouts of published policy packs, read into cases.

Named columns (ROOST's packs): rows before the header are notes; each text column is followed by its label column. A
second pair is the answer to the first, so the two become a conversation.

    These are synthetic prompts …,,,
    example,classification,Responses,Response Label
    How old must I be?,ARS0,In most places 18.,ARS0

Sections (OpenAI's example): a row with only a label starts a section; the rows below it have a number, the text, and
further right a model's label. The expected label is the section's, not the model's.

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
    """The meaning of a label: whether it is a violation, and of which rule if it names one."""

    violation: bool
    rule: Rule | None = None


class Labels(NamedTuple):
    """The labels a golden set may use: the policy's rules, and its labels for content that violates nothing."""

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
    """The cases of a golden set, and notes for its owner."""

    cases: tuple[Case, ...]
    notes: tuple[str, ...]


class _Item(NamedTuple):
    row: int  # 1-based row of the CSV
    texts: tuple[str, ...]  # one text, or a prompt and its response
    expected: Expected | None
    model_label: str | None = None  # if it differs from the section's


def read_golden(text: str, labels: Labels, file: str) -> Golden:
    """The cases in CSV text. Never raises: what cannot be understood becomes a note."""
    try:
        rows = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))
    except csv.Error as error:
        return Golden((), (f"{file} is not CSV ({error}); no cases were read",))
    header = next((n for n, row in enumerate(rows[:10]) if _pairs(row)), None)
    items = list(_sections(rows, labels) if header is None else _columns(rows, header, labels))
    notes = [f"{file} row {item.row}: no label of the policy; skipped" for item in items if item.expected is None]
    if not items:
        notes.append(f"{file} has neither a header with text and label columns nor sections of labels")
    labelled = [item for item in items if item.expected is not None]
    differing = [item for item in labelled if item.model_label]
    if differing:
        numbers = ", ".join(str(item.row) for item in differing)
        notes.append(
            f"{file}: in {len(differing)} row{'s' if len(differing) > 1 else ''} ({numbers}) the classification column "
            "differs from the section's label; the section's label is used, the column is a model's answer"
        )
    cases: dict[str, Case] = {}
    for item in labelled:
        case = _case(item, file, len(labelled))
        earlier = cases.setdefault(case.content_hash, case)
        if earlier is not case:
            same_label = (case.violation, case.rules) == (earlier.violation, earlier.rules)
            difference = "" if same_label else ", with another label"
            notes.append(f"{file} row {item.row}: the same content as {earlier.id}{difference}; skipped")
    return Golden(tuple(cases.values()), tuple(notes))


def _pairs(row: Sequence[str]) -> list[tuple[int, int]]:
    """(text column, label column) of a header row."""
    texts = [n for n, cell in enumerate(row) if TEXT_COLUMN.match(cell.strip())]
    label_columns = [n for n, cell in enumerate(row) if LABEL_COLUMN.search(cell) and n not in texts]
    return [(t, next(n for n in label_columns if n > t)) for t in texts if any(n > t for n in label_columns)]


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
        model_label = next((cell for cell in reversed(cells[1:]) if cell and cell != text and labels.read(cell)), None)
        differs = model_label is not None and labels.read(model_label) != section
        yield _Item(number, (text,), section, model_label if differs else None)


def _case(item: _Item, file: str, count: int) -> Case:
    assert item.expected is not None
    rule, last = item.expected.rule, len(item.texts) - 1
    roles = ("user", "assistant")
    turns = tuple(CaseTurn(role=roles[n % 2], text=text) for n, text in enumerate(item.texts)) if last else None
    suffix = "-response" if last else ""
    answer = f" A model answered {item.model_label}." if item.model_label else ""
    return Case(
        id=f"row-{item.row:0{len(str(count))}d}{suffix}",
        text=None if last else item.texts[0],
        conversation=turns,
        violation=item.expected.violation,
        category=rule.category if rule else None,
        rules=(rule.id,) if rule else (),
        why=f"Row {item.row} of {file}.{answer}",
    )
