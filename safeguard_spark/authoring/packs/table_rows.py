"""The rows of a golden set's file: CSV with any usual separator, or JSON; and what a column's name says is in it."""

import csv
import io
import json
import math
import re
from typing import Any, NamedTuple

# What the words in a column's name mean, in the order of precedence.
WORDS = {
    "other": "id uuid model predicted prediction predictions gpt llm actual confidence score split source url date "
    "time annotator notes note reason rationale explanation why language lang length",
    "label": "label labels classification classified class category categories verdict expected violates "
    "violating violation decision gold golden truth target rule rules annotation flagged unsafe harmful safe allowed "
    "severity kategorie etikett bewertung regel verstoß etiqueta categoría decisión regla étiquette catégorie "
    "règle categoria",
    "response": "response responses answer answers generation generations completion reply assistant bot output "
    "antwort respuesta réponse resposta",
    "text": "text texts content contents prompt prompts message messages post posts comment comments example "
    "examples input query question utterance body sentence user tweet review conversation beitrag nachricht inhalt "
    "kommentar beispiel texto mensaje contenido ejemplo texte contenu publication mensagem conteúdo",
}  # fmt: skip
SEPARATORS = ",;\t|"
HEADER_ROWS = 10  # rows above a header are notes
# Python's own limit is 131,072 characters. It is one for the whole process, so a smaller one would harm other readers.
MAX_CELL = 2**31 - 1


class Rows(NamedTuple):
    """The rows of a file, the names of columns among them; of JSON, the numbers of those that are no objects."""

    rows: list[list[str]]
    others: tuple[int, ...] = ()
    is_json: bool = False  # then the first row has the names of columns


def read_rows(text: str) -> Rows:
    """The rows of CSV with the separator that makes the most columns alike, or of JSON objects.

    Raises csv.Error, ValueError, RecursionError.
    """
    if text.lstrip()[:1] in ("{", "["):
        return _json_rows(text)
    first = [line for line in text.splitlines() if line.strip()][:20]
    separator = max(SEPARATORS, key=lambda mark: (sum(mark in line for line in first), "".join(first).count(mark)))
    # A header decides between two: a text may be full of commas.
    for mark in SEPARATORS[1:]:
        if any(
            line.count(mark) and all(column_kind(cell) for cell in line.split(mark)) for line in first[:HEADER_ROWS]
        ):
            separator = mark
    return Rows(csv_rows(text, separator))


def csv_rows(text: str, separator: str = ",") -> list[list[str]]:
    """The rows of CSV. Raises csv.Error where quotes do not match: one that is never closed would swallow all rows."""
    csv.field_size_limit(MAX_CELL)
    reader, rows, line = csv.reader(io.StringIO(text), delimiter=separator, strict=True), list[list[str]](), 1
    try:
        for row in reader:
            rows.append(row)
            line = reader.line_num + 1
    except csv.Error as error:
        raise csv.Error(f"the quotes of the row that begins in line {line} do not match: {error}") from None
    return rows


def _json_rows(text: str) -> Rows:
    values = _values(text)
    names = list(dict.fromkeys(name for value in values if isinstance(value, dict) for name in value))
    others = tuple(row for row, value in enumerate(values, 2) if not isinstance(value, dict))
    objects = [value if isinstance(value, dict) else {} for value in values]  # so that later rows keep their numbers
    return Rows([names, *([_cell(value.get(name)) for name in names] for value in objects)], others, is_json=True)


def _values(text: str) -> list[Any]:
    """The entries of JSON: of a list, of the only list in an object, of an object by their ids, or one in each line.

    A line that is no JSON is an entry that is no object. Raises ValueError if none is JSON.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        values = [_of_line(line) for line in lines]
        if not any(isinstance(value, dict) for value in values):
            raise error from None
        return values
    if isinstance(value, list):
        return value
    lists = [inner for inner in value.values() if isinstance(inner, list) and inner and isinstance(inner[0], dict)]
    if len(lists) == 1 and not any(column_kind(name) == "label" for name in value):
        return list(lists[0])
    if value and all(isinstance(inner, dict) for inner in value.values()):
        return list(value.values())
    return [value]


def _of_line(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):  # as some write null
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def column_kind(name: str) -> str | None:
    """What a column's name says is in it: a key of WORDS."""
    words = re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    if len(words) > 4:
        return None  # a sentence
    return next((kind for kind, known in WORDS.items() if set(words) & set(known.split())), None)
