"""Set files: reads the small files that golden sets come as, where Spark would not give their rows an id.

Every reader returns a list of rows with the same keys in the same order. The first, `_row`, numbers the rows from 1. An
empty cell or an absent key is None: unknown, and not 0. Errors name the row, never its content.
"""

import csv
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from safeguard_spark.authoring.cases import load_cases
from safeguard_spark.authoring.packs.table_rows import csv_rows
from safeguard_spark.errors import SourceError
from safeguard_spark.evaluation.sets import ROW, FileFormat
from safeguard_spark.policy.document import ENCODING, REVIEW

Row = dict[str, Any]
NAME_WORDS = 3  # more words in a cell are no name of a column, but a content
LABEL_COLUMN = re.compile(r"\b(classification|label|category|verdict|expected)\b", re.IGNORECASE)


def read_rows(path: Path, file_format: FileFormat) -> list[Row]:
    """The rows of a file, gzipped if it ends in .gz. Raises SourceError, for cases PolicyError."""
    try:
        rows = list(READERS[file_format](path))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        cause = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error
        raise SourceError(f"{path} cannot be read as {file_format}: {cause}.") from error
    keys = dict.fromkeys(key for row in rows for key in row)
    return [{ROW: number, **{key: row.get(key) for key in keys}} for number, row in enumerate(rows, 1)]


def _csv(path: Path) -> Iterator[Row]:
    """CSV with a header. All cells are texts."""
    records = iter(csv_rows(_text(path)))
    header = [name or f"_c{index}" for index, name in enumerate(next(records, []))]
    doubled = {name for name in header if header.count(name) > 1}
    if doubled:
        raise SourceError(f"{path} has the column {min(doubled)} twice: rename one.")
    for number, cells in enumerate(records, 1):
        if len(cells) > len(header):
            raise SourceError(f"{path}: row {number} has {len(cells)} cells, but the header has {len(header)}.")
        if cells:
            yield {name: cell or None for name, cell in zip(header, [*cells, *[""] * len(header)], strict=False)}


def _jsonl(path: Path) -> Iterator[Row]:
    """One JSON object per line."""
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise SourceError(f"{path}: line {number} is not a JSON object.")
        yield row


def _parquet(path: Path) -> Iterator[Row]:
    """A Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        yield from pq.read_table(path).to_pylist()
    except pa.ArrowException as error:
        raise SourceError(f"{path} is not a Parquet file.") from error


def _cases(path: Path) -> Iterator[Row]:
    """A policy's cases. A text is a conversation of one turn in `turns`, so that cases of both kinds are one set."""
    for case in load_cases(path):
        turns = [("user", case.text)] if case.conversation is None else [(t.role, t.text) for t in case.conversation]
        yield {
            "id": case.id,
            "text": case.text,
            "turns": [{"role": role, "text": text} for role, text in turns],
            "violation": None if case.violation == REVIEW else case.violation,
            "category": case.expected_category,
            "rules": list(case.rules),
        }


def _pack(path: Path) -> Iterator[Row]:
    """The CSV of a policy pack: notes, a header, and in each row items that are followed by their labels.

    The second item is the answer to the first, so it is a conversation of two turns. `part` is prompt or response.
    """
    records = csv_rows(_text(path))
    header = next((index for index, cells in enumerate(records[:10]) if _label_columns(cells)), None)
    if header is None:
        raise SourceError(f"{path} has no header with label columns in its first ten rows.")
    columns = _label_columns(records[header])
    if len(columns) > 2:
        raise SourceError(f"{path} has {len(columns)} label columns; a pack has one, or two: prompt and response.")
    for number, cells in enumerate(records[header + 1 :], header + 2):
        turns: list[dict[str, str]] = []
        padded = [*cells, *[""] * len(records[header])]
        for column, role in zip(columns, ("user", "assistant"), strict=False):
            text, label = padded[column - 1].strip(), padded[column].strip()
            if not text:
                break
            turns.append({"role": role, "text": text})
            part = "response" if len(turns) == 2 else "prompt"
            suffix = "-response" if len(turns) == 2 else ""
            yield {"id": f"row-{number}{suffix}", "part": part, "turns": list(turns), "label": label or None}


def _label_columns(cells: list[str]) -> list[int]:
    """The columns of a header whose name is that of a label; the text is in the column before."""
    return [
        index
        for index, name in enumerate(cells)
        if index and cells[index - 1].strip() and LABEL_COLUMN.search(name) and len(name.split()) <= NAME_WORDS
    ]


def _text(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode(ENCODING)


READERS: dict[FileFormat, Callable[[Path], Iterator[Row]]] = {
    FileFormat.csv: _csv,
    FileFormat.jsonl: _jsonl,
    FileFormat.parquet: _parquet,
    FileFormat.cases: _cases,
    FileFormat.pack: _pack,
}
