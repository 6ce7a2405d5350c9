"""The header of a golden set: what is wrong with it, and what to write."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from safeguard_spark.authoring.packs.table_rows import HEADER_ROWS, column_kind
from safeguard_spark.errors import PolicyError
from safeguard_spark.policy.names import level
from safeguard_spark.suggest import closest_match

MIN_READABLE = 0.8  # of a column's cells, for one of labels
NAME_WORDS = 2  # more words in a cell are no name of a column, also if one of them is `message`
FLAGS = ("0", "1", "true", "false", "yes", "no", "y", "n", "x")  # what is in a column that has the name of a rule


class Columns(NamedTuple):
    """Names of the columns to read, where they are not to be found by meaning."""

    text: str | None = None
    label: str | None = None


def missing_header(rows: list[list[str]], is_label: Callable[[str], bool], rules: Sequence[str]) -> str:
    """What is wrong if a table's first row is a content with its label, and what to write; empty if it may be a header.

    The content would be lost as names of columns.
    """
    first, *below = [row for row in rows if any(cell.strip() for cell in row)] or [[]]
    columns = {n: [cell for row in below if (cell := _at(row, n))] for n in range(len(first))}
    labels = [n for n, cells in columns.items() if _begins_with_label(_at(first, n), cells, is_label, rules)]
    others = [n for n in columns if n not in labels and _at(first, n)]
    if not labels or not others:
        return ""
    if any(column_kind(first[n]) not in (None, "other") and len(first[n].split()) <= NAME_WORDS for n in others):
        return ""
    text = max(others, key=lambda n: sum(map(len, [first[n], *columns[n]])))
    names = {text: "text", labels[-1]: "label"}
    header = ", ".join(names.get(n, "id" if n == 0 else f"column {n + 1}") for n in columns)
    return f"has no header: add a first line with the names of its columns ({header})"


def _begins_with_label(first: str, below: Sequence[str], is_label: Callable[[str], bool], rules: Sequence[str]) -> bool:
    if not is_label(first) or sum(map(is_label, below)) < MIN_READABLE * len(below):
        return False
    if column_kind(first) == "label":  # a column may be called `safe` or `violation`
        return level(first) in map(level, below)
    return first not in rules or any(level(cell) not in FLAGS for cell in below)


def _at(row: Sequence[str], column: int) -> str:
    return row[column].strip() if column < len(row) else ""


def columns_error(rows: list[list[str]], columns: Columns, file: str) -> PolicyError:
    """An error for a file without the named columns: it suggests the most similar ones, and lists those there are."""
    header = max(rows[:HEADER_ROWS], key=lambda row: _likeness_to_header(row, columns), default=[])
    names = [name for cell in header if (name := cell.strip())]
    folded = [name.casefold() for name in names]
    options = dict(zip(("--text-column", "--label-column"), columns, strict=True))
    problems = []
    for option, column in options.items():
        if column and column.casefold() not in folded:
            match = closest_match(column, names)
            problems.append(f"no column {column} ({option})" + (f"; did you mean {match}?" if match else ""))
    if not problems:
        missing, what = ("--label-column", "labels") if columns.text else ("--text-column", "texts")
        problems = [f"no other column that is recognized as that of {what}: name it with {missing}"]
    return PolicyError(
        f"{file} has {' and '.join(problems)}{'' if problems[-1].endswith('?') else '.'} "
        f"Its columns: {', '.join(names) or 'none'}."
    )


def _likeness_to_header(row: list[str], columns: Columns) -> tuple[int, int, int]:
    """How many of the named columns a row has, how many for texts and labels, and how many cells: a note has 1."""
    cells = [cell.strip().casefold() for cell in row if cell.strip()]
    num_named = sum(name.casefold() in cells for name in columns if name)
    return num_named, sum(column_kind(cell) in ("text", "response", "label") for cell in cells), len(cells)
