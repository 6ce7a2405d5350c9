"""Golden sets of policy packs, read into cases: a table with a header, or sections of labels.

Columns are found by what their names mean, else by what is in them. A second text is the answer to the first, so the
two are a conversation; a label belongs to the text that its name names, else to the text on its left.

    Example Prompt;Prompt label;Example Generation;Generation Label
    How old must I be?;ARS0;In most places 18.;ARS0

Sections (OpenAI's example): a row with only a label starts a section; the rows below it have a number, the text, and
further right a model's label. The expected label is the section's, not the model's.

    SP2,,,,,,,,,,
    1,Check out the entire collection,,,,,,,,SP2,
"""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from safeguard_spark.authoring.cases import Case, CaseTurn
from safeguard_spark.authoring.packs import answers
from safeguard_spark.authoring.packs.headers import MIN_READABLE, Columns, columns_error, missing_header
from safeguard_spark.authoring.packs.labels import NUMBERED, Labels
from safeguard_spark.authoring.packs.table_rows import HEADER_ROWS, column_kind, read_rows
from safeguard_spark.errors import PolicyError
from safeguard_spark.labelling.content import from_json
from safeguard_spark.policy.document import REVIEW, Answers, Rule
from safeguard_spark.policy.names import level
from safeguard_spark.terminal import counted

INVERTED = ("safe", "allowed", "benign")  # a column `is_safe` says yes to what violates nothing
SHOWN_ROWS = 8


class Expected(NamedTuple):
    """The meaning of a label: whether it is a violation or for a person to decide, and of which rules."""

    violation: bool | Literal["review"]
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Vocabulary:
    """The labels a golden set may use: the policy's own, and common words for a violation and for safe content."""

    labels: Labels
    answers: Answers | None = None
    has_review: bool = True  # whether the text has an answer for what a person must decide

    def read(self, cell: str) -> Expected | None:
        """The meaning of a cell, or None. `SP2.a` and `SP2 - cold` are SP2; a cell may have several labels."""
        word = cell.strip().strip("`*\"'[](){} ")
        if not word:
            return None
        if (whole := self._meanings.get(level(word))) is not None:
            return whole
        parts = [part.strip(" `*\"'") for part in re.split(r"[,;|/+&\n]|\s+and\s+", word) if part.strip(" `*\"'")]
        read = [self._meanings.get(level(part)) or self._begins(part) for part in parts]
        if all(read):
            return _together([meaning for meaning in read if meaning]) if read else None
        unknown = [part for part, meaning in zip(parts, read, strict=True) if not meaning]
        return None if any(re.fullmatch(NUMBERED, part) for part in unknown) else self._begins(word)

    def _begins(self, word: str) -> Expected | None:
        """The meaning of the label that a text begins with: `SP2.a`, `SP2 - cold`, `D-SP2`."""
        ids = [*self.rules, *self.labels.allowed, *self.labels.review]
        for name in sorted(ids, key=len, reverse=True):
            if re.match(rf"(?:[A-Z]-)?{re.escape(name)}(?![A-Za-z0-9])", word, re.IGNORECASE):
                return self._meanings[level(name)]
        return None

    @cached_property
    def rules(self) -> dict[str, Rule]:
        """The rules by id."""
        return {rule.id: rule for rule in self.labels.rules}

    @cached_property
    def _meanings(self) -> dict[str, Expected]:
        """The meaning of each name, levelled. The policy's own names take precedence over common words."""
        own = self.answers or Answers(violation=("1",), safe=("0",))
        meanings = (
            *((name, Expected(True, (r,))) for r in self.labels.rules for name in (r.id, r.title, r.category) if name),
            *((name, Expected(REVIEW)) for name in (*self.labels.review, REVIEW)),
            *((name, Expected(False)) for name in self.labels.allowed),
            *((word, Expected(True)) for word in (*answers.VIOLATES, *answers.YES, *own.violation, "y", "1.0")),
            *((word, Expected(False)) for word in (*answers.SAFE, *answers.NO, *own.safe, "n", "0.0")),
            *((word, Expected(REVIEW)) for word in answers.REVIEW),
        )
        return {level(name): meaning for name, meaning in reversed(meanings)}


class Golden(NamedTuple):
    """The cases of a golden set, what was found in it, and what of it is not in the cases."""

    cases: tuple[Case, ...] = ()
    notes: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


class _Text(NamedTuple):
    """A text column, and the columns of its labels."""

    column: int
    labels: tuple[int, ...]


class _Item(NamedTuple):
    row: int  # 1-based row of the file
    turns: tuple[CaseTurn, ...]  # one text, or a conversation
    expected: Expected | None
    label: str = ""
    suffix: str = ""
    model_label: str | None = None  # if it differs from the section's


def read_golden(text: str, vocabulary: Vocabulary, file: str, columns: Columns = Columns()) -> Golden:
    """The cases in a file's text: CSV with any usual separator, or JSON. What cannot be understood is in `lost`.

    Raises PolicyError if `columns` names some and the file does not have them.
    """
    try:
        rows, others, is_json = read_rows(text.removeprefix("\ufeff"))
    except (csv.Error, ValueError, RecursionError) as error:
        if any(columns):
            raise PolicyError(f"{file} is not CSV or JSON ({error}), so it has no columns to name.") from error
        return Golden(lost=(f"{file} is not CSV or JSON ({error}); no cases were read",))
    problem = "" if is_json else missing_header(rows, lambda c: vocabulary.read(c) is not None, list(vocabulary.rules))
    if problem:
        if any(columns):
            raise PolicyError(f"{file} {problem}.")
        return Golden(lost=(f"{file} {problem}; no cases were read",))
    if sum(_filled(row) > 0 for row in rows) < 2:
        return Golden(lost=(f"{file} has no contents, or nothing at all; no cases were read",))
    texts, header = _layout(rows, vocabulary, columns)
    if texts:
        items = list(_in_columns(rows, header, texts, vocabulary))
        found, num_others = _found(rows[header], texts), 0
    elif any(columns):
        raise columns_error(rows, columns, file)
    else:
        items, found = list(_in_sections(rows, vocabulary)), "sections of labels"
        last = max((item.row for item in items), default=len(rows))
        num_others = sum(any(cell.strip() for cell in row) for row in rows[last:])
        if not items and (texts := _by_content(rows, vocabulary)):
            items, found = list(_in_columns(rows, 0, texts, vocabulary)), _found(rows[0], texts)
    if not items:
        hint = "name them with --text-column and --label-column"
        return Golden(lost=(f"{file} has neither columns of texts and labels nor sections of labels; {hint}",))
    wide = [n for n, row in enumerate(rows[header + 1 :], header + 2) if texts and any(row[len(rows[header]) :])]
    usable = [item for item in items if item.row not in wide]
    golden = _golden(usable, found, num_others, file, has_review=vocabulary.has_review)
    lost = [f"{file}: {_in_rows(others)} that are no JSON objects; skipped"] if others else []
    if wide:
        hint = "put texts with a separator in quotes"
        lost.append(f"{file}: {_in_rows(wide)} with more cells than the header has; {hint}; skipped")
    return golden._replace(lost=(*golden.lost, *lost))


def _golden(items: list[_Item], found: str, num_others: int, file: str, *, has_review: bool) -> Golden:
    empty = [item.row for item in items if not item.turns]
    garbled = [item.row for item in items if not all(_is_unicode(turn.text) for turn in item.turns)]
    items = [item for item in items if item.row not in garbled]
    unknown = [item for item in items if item.turns and item.expected is None]
    usable = [item for item in items if item.turns and item.expected is not None]
    for_a_person = [] if has_review else [i for i in usable if i.expected and i.expected.violation == REVIEW]
    usable = [item for item in usable if item not in for_a_person]
    cases: dict[str, Case] = {}
    notes, lost = list[str](), list[str]()
    for item in usable:
        add_case(cases, _case(item, file, len(usable)), f"{file} row {item.row}", notes, lost)
    if unknown:
        words = ", ".join(dict.fromkeys(item.label for item in unknown if 0 < len(item.label) <= 20)) or "no label"
        rows = _in_rows([item.row for item in unknown])
        lost.append(f"{file}: {rows} without a label of the policy ({words[:80]}); skipped")
    if for_a_person:
        rows = _in_rows([item.row for item in for_a_person])
        lost.append(f"{file}: {rows} that a person must decide, which is no answer that the text asks for; skipped")
    if empty:
        lost.append(f"{file}: {_in_rows(empty)} without a text; skipped")
    if garbled:
        lost.append(f"{file}: {_in_rows(garbled)} whose text is not Unicode, with half of a character; skipped")
    if num_others:
        notes.append(
            f"{file}: {counted(num_others, 'row', 'rows')} below the last section: no contents (metrics or notes)"
        )
    differing = [item for item in usable if item.model_label]
    if differing:
        rows = _in_rows([item.row for item in differing])
        notes.append(
            f"{file}: in {rows} the classification column differs from the section's label; the "
            "section's label is used, the column is a model's answer"
        )
    return Golden(
        tuple(cases.values()),
        (f"{len(cases)} case{'' if len(cases) == 1 else 's'} from {file}: {found}", *notes),
        tuple(lost),
    )


def _is_unicode(text: str) -> bool:
    """Whether UTF-8 can hold a text; JSON can escape half of a character, a lone surrogate."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def add_case(cases: dict[str, Case], case: Case, name: str, notes: list[str], lost: list[str]) -> None:
    """Add a case to those by the hash of their content, or say why it is skipped; `name` is where it comes from."""
    earlier = cases.setdefault(case.content_hash, case)
    if earlier is not case:
        is_same = (case.violation, case.rules) == (earlier.violation, earlier.rules)
        message = f"{name}: the same content as {earlier.id}"
        (notes if is_same else lost).append(f"{message}{'' if is_same else ', with another label'}; skipped")


def _in_rows(rows: Sequence[int]) -> str:
    more = ", …" if len(rows) > SHOWN_ROWS else ""
    return f"{len(rows)} row{'s' if len(rows) > 1 else ''} ({', '.join(map(str, rows[:SHOWN_ROWS]))}{more})"


def _layout(rows: list[list[str]], vocabulary: Vocabulary, columns: Columns) -> tuple[list[_Text], int]:
    """The text columns and the index of the header's row; no columns if there is no header."""
    if any(columns):
        return _named(rows, columns)
    for number, row in enumerate(rows[:HEADER_ROWS]):
        if any(cell.strip().isdigit() for cell in row):
            continue  # a content with its number
        kinds = [column_kind(cell) for cell in row]
        below = rows[number + 1 :]
        texts = [n for n, kind in enumerate(kinds) if kind in ("text", "response")]
        labels = [n for n, kind in enumerate(kinds) if kind == "label"]
        labels = labels or [n for n, cell in enumerate(row) if texts and cell.strip() in vocabulary.rules]
        if not texts and not labels:
            continue
        unnamed = [n for n, kind in enumerate(kinds) if kind is None and row[n].strip()]
        if not (texts and labels) and any(_filled(above) >= _filled(row) for above in rows[:number]):
            continue  # a content below a header without known names
        if not labels:
            labels = [n for n in unnamed if _is_readable(n, below, vocabulary)][:1]
        if not texts:
            texts = sorted(unnamed, key=lambda n: -sum(len(_at(r, n)) for r in below))[:1]
        if texts and labels:
            return _assigned(row, texts[:2], [n for n in labels if n not in texts]), number
    return [], 0


def _by_content(rows: list[list[str]], vocabulary: Vocabulary) -> list[_Text]:
    """The columns below a header without a known name: the only one of labels, and the one of the longest texts."""
    below, columns = rows[1:], range(len(rows[0])) if rows else range(0)
    labels = [n for n in columns if vocabulary.read(_at(rows[0], n)) is None and _is_readable(n, below, vocabulary)]
    others = [n for n in columns if n not in labels]
    if len(labels) != 1 or not others:
        return []
    return [_Text(max(others, key=lambda n: sum(len(_at(row, n)) for row in below)), (labels[0],))]


def _named(rows: list[list[str]], columns: Columns) -> tuple[list[_Text], int]:
    for number, row in enumerate(rows[:HEADER_ROWS]):
        names = [cell.strip().casefold() for cell in row]
        kinds = [column_kind(cell) for cell in row]
        text, label = ((name or "").casefold() for name in columns)
        texts = [names.index(text)] if text in names and text else [n for n, k in enumerate(kinds) if k == "text"][:1]
        labels = [names.index(label)] if label in names and label else [n for n, k in enumerate(kinds) if k == "label"]
        if texts and labels and all(name in names for name in (text, label) if name):
            return [_Text(texts[0], tuple(n for n in labels if n != texts[0]))], number
    return [], 0


def _is_readable(column: int, rows: list[list[str]], vocabulary: Vocabulary) -> bool:
    cells = [cell for row in rows if (cell := _at(row, column))]
    return bool(cells) and sum(vocabulary.read(cell) is not None for cell in cells) >= MIN_READABLE * len(cells)


def _assigned(header: list[str], texts: list[int], labels: list[int]) -> list[_Text]:
    """Each label with its text: the one whose name it has, else the nearest on its left, else the first."""
    owners: dict[int, list[int]] = {text: [] for text in texts}
    for label in labels:
        words = set(re.findall(r"[a-z]+", header[label].lower()))
        named = [
            t for t in texts if words & {w.rstrip("s") for w in re.findall(r"[a-z]+", header[t].lower())} - {"example"}
        ]
        left = [t for t in texts if t < label]
        owners[(named or left[-1:] or texts)[0]].append(label)
    return [_Text(text, tuple(owners[text])) for text in texts]


def _filled(row: list[str]) -> int:
    return sum(bool(cell.strip()) for cell in row)


def _at(row: Sequence[str], column: int) -> str:
    return row[column].strip() if column < len(row) else ""


def _found(header: list[str], texts: list[_Text]) -> str:
    used = {n for text in texts for n in (text.column, *text.labels)}
    parts = []
    for text in texts:
        labels = ", ".join(f'"{header[n].strip()}"' for n in text.labels)
        parts.append(
            f'text in "{header[text.column].strip()}"' + (f" with label in {labels}" if labels else " without a label")
        )
    unused = ", ".join(cell.strip() for n, cell in enumerate(header) if n not in used and cell.strip())
    return "; ".join(parts) + (f"; not used: {unused}" if unused else "")


def _in_columns(rows: list[list[str]], header: int, texts: list[_Text], vocabulary: Vocabulary) -> Iterator[_Item]:
    names = rows[header]
    for number, row in enumerate(rows[header + 1 :], header + 2):
        turns: tuple[CaseTurn, ...] = ()
        for index, text in enumerate(texts):
            cell, labels = _at(row, text.column), [_at(row, n) for n in text.labels]
            if cell:
                turns = (*turns, *_turns(cell, "assistant" if index else "user"))
            if not text.labels or not (cell or any(labels)):
                continue
            read = [_read(names[n], label, vocabulary) for n, label in zip(text.labels, labels, strict=True) if label]
            known = [meaning for meaning in read if meaning is not None]
            are_flags = {names[n].strip() for n in text.labels} <= vocabulary.rules.keys()
            is_clear = are_flags or {True, False} - {meaning.violation for meaning in known}
            expected = _together(known) if known and len(known) == len(read) and is_clear else None
            suffix = "-response" if index and texts[0].labels else ""
            yield _Item(number, turns if cell else (), expected, ", ".join(filter(None, labels)), suffix)


def _read(name: str, label: str, vocabulary: Vocabulary) -> Expected | None:
    """The meaning of a cell under its column's name, which may be a rule, or mean safe."""
    meaning = vocabulary.read(label)
    rule = vocabulary.rules.get(name.strip())
    if meaning is None or meaning.rules or meaning.violation == REVIEW:
        return meaning
    is_inverted = set(re.findall(r"[a-z]+", name.lower())) & set(INVERTED)
    if is_inverted and level(label) in ("1", "0", "true", "false", "yes", "no", "y", "n"):
        return Expected(not meaning.violation)
    return Expected(True, (rule,)) if rule and meaning.violation else meaning


def _together(meanings: Sequence[Expected]) -> Expected:
    """Several labels of one content: any violation makes it one, else any review."""
    rules = {rule.id: rule for meaning in meanings for rule in meaning.rules}
    sides = [meaning.violation for meaning in meanings]
    violation: bool | Literal["review"] = True if True in sides else REVIEW if REVIEW in sides else False
    return Expected(violation, tuple(rules.values()))


def _turns(cell: str, role: str) -> tuple[CaseTurn, ...]:
    """A text as one turn; a conversation in JSON as its turns."""
    if cell.startswith("[{"):
        content = from_json(cell)
        if content.turns:
            return tuple(CaseTurn(role=turn.role or role, text=turn.text or "") for turn in content.turns)
    return (CaseTurn(role=role, text=cell),)


def _in_sections(rows: list[list[str]], vocabulary: Vocabulary) -> Iterator[_Item]:
    section: Expected | None = None
    for number, row in enumerate(rows, 1):
        cells = [cell.strip() for cell in row]
        filled = [cell for cell in cells if cell]
        if len(filled) == 1 and (meaning := vocabulary.read(filled[0])) is not None:
            section = meaning
            continue
        if section is None or not filled or not cells[0].isdigit():
            continue
        labels = [cell for cell in cells[1:] if cell and vocabulary.read(cell)]
        texts = [cell for cell in cells[1:] if cell and cell not in labels] or labels[:-1]
        text = max(texts, key=len, default="")
        model_label = next((label for label in reversed(labels) if label != text), None)
        differs = model_label is not None and vocabulary.read(model_label) != section
        yield _Item(number, _turns(text, "user") if text else (), section, model_label=model_label if differs else None)


def _case(item: _Item, file: str, count: int) -> Case:
    assert item.expected is not None
    rules, is_text = item.expected.rules, len(item.turns) == 1 and not item.suffix
    answer = f" A model answered {item.model_label}." if item.model_label else ""
    return Case(
        id=f"row-{item.row:0{len(str(count))}d}{item.suffix}",
        text=item.turns[0].text if is_text else None,
        conversation=None if is_text else item.turns,
        violation=item.expected.violation,
        category=rules[0].category if rules and item.expected.violation is True else None,
        rules=tuple(rule.id for rule in rules) if item.expected.violation is True else (),
        why=f"Row {item.row} of {file}.{answer}",
    )
