"""Columns of a source: by name or as an expression; ids as text, and contents as the bytes that are hashed."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from safeguard_spark.errors import SourceError
from safeguard_spark.labelling.conversation import CALL_KEYS, LIST_KEYS, ROLE_KEYS, TEXT_KEYS
from safeguard_spark.spark.failures import FAILED, first_sentence
from safeguard_spark.spark.source.hashes import json_hash, text_hash, turns_hash
from safeguard_spark.suggest import closest_match

TEXT, TURNS, JSON = "text", "turns", "json"  # how a content is staged: as text, as (role, text) pairs, or as JSON
IDENTIFIER = re.compile(r"[^\W\d]\w*")
NAME_WORDS, NAME_LENGTH = 5, 80  # words and characters: what has more is no name of a column, but a content
ID_TYPES = (T.StringType, T.ByteType, T.ShortType, T.IntegerType, T.LongType, T.DateType)
ID_KINDS = "A text, a whole number, a date or binary can be an id"
# What can be another value in the next query, though Spark calls it deterministic; and what it cannot know.
CHANGING = re.compile(r"Current|^Now$|LocalTimestamp|UDF|UserDefined|Subquery|^Exists$|^ListQuery$|User$")


class Field(NamedTuple):
    """A column of a source: its name, or what the user wrote; the same in SQL; its value, type and option."""

    name: str
    sql: str
    column: Column
    type: T.DataType
    option: str


class Payload(NamedTuple):
    """The content column as it is staged: its name there, its bytes, and the content hash over that name."""

    name: str
    column: Column
    hash: Column


def find_column(frame: DataFrame, name: str) -> T.StructField | None:
    """The column of this name, else the one whose name differs only in case, or None."""
    fields = frame.schema.fields
    same = next((field for field in fields if field.name == name), None)
    return same or next((field for field in fields if field.name.lower() == name.lower()), None)


def quoted(column: str) -> str:
    """A column's name in backticks, so that dots and spaces in it are part of the name."""
    return f"`{column.replace('`', '``')}`"


def known_columns(columns: Sequence[str]) -> str:
    """Which columns there are. Of a file without a header these would be its first content, which no message shows."""
    if any(len(name.split()) > NAME_WORDS or len(name) > NAME_LENGTH for name in columns):
        return (
            "The first line of the file looks like a content. If it has no header, add a first line with the names of "
            "its columns."
        )
    return f"It has {', '.join(columns)}."


def _separator_hint(columns: Sequence[str], name: str) -> str:
    """What to set if a file's only column holds the names of several, as the header of a CSV with semicolons does."""
    separator = next((mark for mark in ";\t|" if len(columns) == 1 and name in columns[0].split(mark)), None)
    shown = {"\t": "\\t"}.get(separator or "", separator)
    return "" if separator is None else f" Its columns are separated otherwise: --set source.options.sep='{shown}'."


def read_column(frame: DataFrame, source: str, text: str, option: str) -> Field:
    """The column of a name or, where no column has it, the value of an SQL expression over the row.

    Raises SourceError for an unknown column, and for an expression that may have another value in the next query.
    """
    if field := find_column(frame, text):
        return Field(field.name, _sql_name(field.name), F.col(quoted(field.name)), field.dataType, option)
    if IDENTIFIER.fullmatch(text):
        match = closest_match(text, frame.columns)
        known = known_columns(frame.columns)
        hint = f"did you mean {match}? {known}" if match else f"{known[0].lower()}{known[1:]}"
        raise SourceError(
            f"There is no column {text} in {source} ({option}); {hint}" + _separator_hint(frame.columns, text)
        )
    try:
        value = frame.select(F.expr(text).alias("value"))
    except FAILED as error:
        raise SourceError(
            f"{option} {text} is neither a column of {source} nor an SQL expression over its columns "
            f"({first_sentence(error).rstrip('.')}). {known_columns(frame.columns)}"
        ) from error
    if not _is_fixed(frame, value):
        raise SourceError(
            f"{option} {text} may have another value in the next query. Use an expression over the row alone, without "
            "rand(), uuid(), current_timestamp(), aggregates, windows, subqueries or user functions."
        )
    return Field(text, text, F.expr(text), value.schema[0].dataType, option)


def _is_fixed(frame: DataFrame, value: DataFrame) -> bool:
    """Whether an expression depends on its row alone, so that every query gives the same value."""
    plan: Any = value._jdf.queryExecution().analyzed()
    # Aggregates, windows and generators such as explode put other nodes between the projection and the table.
    on_row = plan.getClass().getSimpleName() == "Project" and plan.children().apply(0).equals(
        frame._jdf.queryExecution().analyzed()
    )
    return bool(on_row and plan.deterministic() and not any(map(CHANGING.search, expression_classes(plan))))


def expression_classes(plan: Any) -> list[str]:
    """Class names of a JVM plan's expressions, and of everything in them. Not of the plans below it."""
    return [name for number in range(plan.expressions().size()) for name in _classes(plan.expressions().apply(number))]


def _classes(expression: Any) -> list[str]:
    names, inner = [str(expression.getClass().getSimpleName())], expression.children()
    for number in range(inner.size()):
        names += _classes(inner.apply(number))
    return names


def id_text(field: Field, source: str) -> Column:
    """An id column as text. Raises SourceError for a type in which different ids could have the same text."""
    column, kind = field.column, field.type
    if isinstance(kind, ID_TYPES) or (isinstance(kind, T.DecimalType) and not kind.scale):
        return column.cast("string")
    if isinstance(kind, T.BinaryType):
        hexed = F.lower(F.hex(column))
        uuid = F.regexp_replace(hexed, "^(.{8})(.{4})(.{4})(.{4})(.{12})$", "$1-$2-$3-$4-$5")
        return F.when(F.octet_length(column) == 16, uuid).otherwise(hexed)
    instead = id_expression(field.sql, kind)
    advice = f'write {field.option} "{instead}"' if instead else f"name what identifies a content ({field.option})"
    raise SourceError(f"Column {field.name} of {source} is {kind.simpleString()}. {ID_KINDS}; {advice}.")


def id_expression(name: str, kind: T.DataType) -> str | None:
    """An SQL expression that makes an id of a value of this type, or None."""
    match kind:
        case T.FloatType() | T.DoubleType():
            return f"cast({name} AS DECIMAL(38,0))"
        case T.StructType():
            fields = ", '/', ".join(f"{name}.{_sql_name(field.name)}" for field in kind.fields)
            return f"concat({fields})"
        case T.ArrayType() | T.MapType():
            return f"to_json({name})"
        case T.BooleanType() | T.NullType():
            return None
    return f"cast({name} AS STRING)"


def _sql_name(column: str) -> str:
    return column if IDENTIFIER.fullmatch(column) else quoted(column)


def text_payload(field: Field, source: str) -> Payload:
    """A column of texts. Raises SourceError for a column of another type."""
    if isinstance(field.type, T.StringType | T.BinaryType):
        return Payload(TEXT, field.column.cast("binary"), text_hash(F.col(TEXT)))
    kind = field.type.simpleString()
    if isinstance(field.type, T.ArrayType | T.MapType | T.StructType | T.VariantType):
        raise SourceError(
            f"Column {field.name} of {source} is {kind}, not text; for a list of turns use --conversation-column."
        )
    raise SourceError(
        f'Column {field.name} of {source} is {kind}, not text. Write {field.option} "cast({field.sql} AS STRING)".'
    )


def conversation_payload(field: Field, source: str) -> Payload:
    """A column of conversations. Raises SourceError for a type that cannot hold one."""
    column, kind = field.column, field.type
    if isinstance(kind, T.StringType | T.BinaryType):
        return Payload(JSON, column.cast("binary"), json_hash(F.col(JSON)))
    if names := _simple_turns(kind):
        role, text = names
        turns = F.transform(
            column,
            lambda turn: F.struct(turn[role].cast("binary").alias("role"), turn[text].cast("binary").alias("text")),
        )
        return Payload(TURNS, turns, turns_hash(F.col(TURNS)))
    if not _is_conversation(kind):
        raise SourceError(
            f"Column {field.name} of {source} is {kind.simpleString()}; a conversation is a list of turns with role "
            "and text (or content), array<struct<role, text>>, or the same as JSON in a text."
        )
    # With null fields: a turn whose role is null is a turn.
    return Payload(JSON, F.to_json(column, {"ignoreNullFields": "false"}).cast("binary"), json_hash(F.col(JSON)))


def _simple_turns(kind: T.DataType) -> tuple[str, str] | None:
    """The fields of role and text of turns that have one text each and no calls of tools, or None."""
    if not isinstance(kind, T.ArrayType) or not isinstance(kind.elementType, T.StructType):
        return None
    fields = {part.name.lower(): part for part in kind.elementType.fields}
    texts = [key for key in TEXT_KEYS if key in fields]
    if "role" not in fields or texts not in (["text"], ["content"]) or any(key in fields for key in CALL_KEYS):
        return None
    role, text = fields["role"], fields[texts[0]]
    is_text = all(isinstance(field.dataType, T.StringType | T.BinaryType) for field in (role, text))
    return (role.name, text.name) if is_text else None


def _is_conversation(kind: T.DataType) -> bool:
    """Whether `conversation.read_turns` may read the JSON of values of this type."""
    if isinstance(kind, T.VariantType):
        return True
    if _has_binary(kind):  # JSON has it in base64
        return False
    if isinstance(kind, T.StructType):
        return any(field.name in LIST_KEYS and _is_conversation(field.dataType) for field in kind)
    if not isinstance(kind, T.ArrayType):
        return False
    turn = kind.elementType
    if isinstance(turn, T.StructType):
        names = set(turn.names)
        return any(key in names for key in ROLE_KEYS) and any(key in names for key in (*TEXT_KEYS, *CALL_KEYS))
    return isinstance(turn, T.MapType | T.VariantType | T.ArrayType)


def _has_binary(kind: T.DataType) -> bool:
    match kind:
        case T.ArrayType():
            return _has_binary(kind.elementType)
        case T.MapType():
            return _has_binary(kind.keyType) or _has_binary(kind.valueType)
        case T.StructType():
            return any(_has_binary(field.dataType) for field in kind.fields)
    return isinstance(kind, T.BinaryType)
