"""Source: the table of content, read as (content_id, content_hash, text or turns)."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from safeguard_spark.config.model import SourceConfig
from safeguard_spark.errors import SourceError
from safeguard_spark.spark.files import Files
from safeguard_spark.suggest import closest_match

TEXT, TURNS = "text", "turns"
RANK = "rank"  # a column of the frame if the source was opened with a rank
TURNS_TYPE = "ARRAY<STRUCT<role: BINARY, text: BINARY>>"


@dataclass(frozen=True)
class Source:
    """A content table at one version. `frame` has content_id, content_hash, and `payload` (text or turns, as bytes).

    It also has `rank` if the source was opened with one.
    """

    name: str
    version: int | None
    payload: str
    frame: DataFrame


class Snapshot(NamedTuple):
    """A table as it is read: its name, its rows, and its version if it is a Delta table."""

    name: str
    frame: DataFrame
    version: int | None


def open_source(
    spark: SparkSession,
    config: SourceConfig,
    *,
    version: int | None = None,
    row_filter: Callable[[DataFrame], DataFrame] | None = None,
    rank: Column | None = None,
) -> Source:
    """Read the table a configuration names. Raises SourceError with one sentence.

    `version` is the version of a Delta table, by default the newest. `row_filter` removes rows; it sees every column of
    the table. `rank` is a number: contents with the highest are labelled first.
    """
    if not config.location:
        raise SourceError("No source: give --source PATH or TABLE, or source.location in the configuration.")
    if not (config.text_column or config.conversation_column):
        raise SourceError("No content column: give --text-column or --conversation-column.")
    name, frame, version = read_snapshot(spark, config.location, version)
    frame = row_filter(frame) if row_filter else frame
    _require(frame, name, config.id_column, "--id-column")
    if config.conversation_column:
        field = _require(frame, name, config.conversation_column, "--conversation-column")
        payload, cell = TURNS, _turns(field, name)
        digest = turns_hash(F.col(TURNS))
    else:
        field = _require(frame, name, str(config.text_column), "--text-column")
        if not isinstance(field.dataType, T.StringType | T.BinaryType):
            kind = field.dataType.simpleString()
            raise SourceError(
                f"Column {field.name} of {name} is {kind}, not text; for a list of turns use --conversation-column."
            )
        payload, cell = TEXT, F.col(quoted(field.name)).cast("binary")
        digest = text_hash(F.col(TEXT))
    ranks = [] if rank is None else [rank.cast("double").alias(RANK)]
    key = F.col(quoted(config.id_column)).cast("string")
    cells = frame.select(key.alias("content_id"), cell.alias(payload), *ranks)
    without_id = cells.where(F.col("content_id").isNull()).count()
    if without_id:
        raise SourceError(
            f"{without_id} rows of {name} have no {config.id_column}. Every row needs an id (--id-column)."
        )
    frame = cells.select("content_id", digest.alias("content_hash"), *cells.columns[1:])
    return Source(name, version, payload, frame)


def text_hash(text: Column) -> Column:
    """`content.text_hash` on the JVM, over raw bytes."""
    return F.sha2(F.concat(_netstring(F.lit(b"text")), _netstring(text)), 256)


def turns_hash(turns: Column) -> Column:
    """`content.turns_hash` on the JVM, over raw bytes."""
    # Strings here carry the cells' bytes as they are; array_join does not look inside.
    cells = F.transform(turns, lambda turn: F.concat(_netstring(turn["role"]), _netstring(turn["text"])).cast("string"))
    joined = F.coalesce(F.array_join(cells, "").cast("binary"), _netstring(F.lit(None).cast("binary")))
    return F.sha2(F.concat(_netstring(F.lit(b"conversation")), joined), 256)


def work_key(policy_hash: str, labeler_hash: str | Column) -> Column:
    """`keys.work_key` on the JVM: canonical JSON of three hex strings needs no escaping."""
    labeler = F.lit(labeler_hash) if isinstance(labeler_hash, str) else labeler_hash
    text = F.concat(F.lit('["'), F.col("content_hash"), F.lit(f'","{policy_hash}","'), labeler, F.lit('"]'))
    return F.sha2(text.cast("binary"), 256)


def _netstring(cell: Column) -> Column:
    framed = F.concat(F.octet_length(cell).cast("string").cast("binary"), F.lit(b":"), cell.cast("binary"), F.lit(b","))
    return F.coalesce(framed, F.lit(b"-,"))


def _turns(field: T.StructField, name: str) -> Column:
    """A conversation column as an array of (role, text) in bytes."""
    column, kind = F.col(quoted(field.name)), field.dataType
    problem = (
        f"Column {field.name} of {name} is {kind.simpleString()}; a conversation is array<struct<role, text>> "
        "(or content in place of text)."
    )
    if not isinstance(kind, T.ArrayType) or not isinstance(kind.elementType, T.StructType):
        raise SourceError(problem)
    fields = {part.name.lower(): part.name for part in kind.elementType.fields}
    text = fields.get("text") or fields.get("content")
    if "role" not in fields or text is None:
        raise SourceError(problem)
    return F.transform(
        column,
        lambda turn: F.struct(
            turn[fields["role"]].cast("binary").alias("role"), turn[text].cast("binary").alias("text")
        ),
    )


def read_snapshot(spark: SparkSession, location: str, version: int | None = None) -> Snapshot:
    """Read a table by path or name, at a version if it is a Delta table. Raises SourceError."""
    try:
        if is_path(location):
            return _read_path(spark, location, version)
        frame = spark.table(location)
        detail = spark.sql(f"DESCRIBE DETAIL {location}").first()
        if detail is None or detail["format"] != "delta":
            return Snapshot(location, frame, None)
        version = table_version(spark, location) if version is None else version
        return Snapshot(location, spark.sql(f"SELECT * FROM {location} VERSION AS OF {version}"), version)
    except AnalysisException as error:
        folder = "" if is_path(location) else f" For a folder write ./{location}."
        raise SourceError(f"Source {location} cannot be read: {_first_sentence(error)}{folder}") from error


def _read_path(spark: SparkSession, location: str, version: int | None) -> Snapshot:
    files = Files(spark, location)
    if not files.exists():
        raise SourceError(f"Source {location} does not exist.")
    name = files.qualified()
    if files.exists("_delta_log"):
        version = table_version(spark, f"delta.`{name}`") if version is None else version
        return Snapshot(name, spark.read.format("delta").option("versionAsOf", version).load(name), version)
    try:
        return Snapshot(name, spark.read.parquet(name), None)
    except Exception as error:
        if isinstance(error, AnalysisException) or "Parquet" in type(error).__name__ or "parquet" in str(error):
            raise SourceError(f"Source {location} is neither a Delta table nor Parquet.") from error
        raise


def is_path(location: str) -> bool:
    """Whether a location is a path rather than the name of a table."""
    return "/" in location or location.endswith(".parquet") or not re.fullmatch(r"[\w`-]+(\.[\w`-]+){0,2}", location)


def table_version(spark: SparkSession, table: str) -> int:
    """The newest version of a Delta table, by its name in SQL."""
    row = spark.sql(f"DESCRIBE HISTORY {table} LIMIT 1").select("version").first()
    return int(row[0]) if row else 0


def _require(frame: DataFrame, name: str, column: str, option: str) -> T.StructField:
    field = find_column(frame, column)
    if field is not None:
        return field
    match = closest_match(column, frame.columns)
    hint = f"did you mean {match}? It" if match else "it"
    raise SourceError(f"There is no column {column} in {name} ({option}); {hint} has {', '.join(frame.columns)}.")


def find_column(frame: DataFrame, name: str) -> T.StructField | None:
    """The column of this name, ignoring case, or None."""
    return next((field for field in frame.schema.fields if field.name.lower() == name.lower()), None)


def quoted(column: str) -> str:
    """A column's name in backticks, so that dots and spaces in it are part of the name."""
    return f"`{column.replace('`', '``')}`"


def _first_sentence(error: AnalysisException) -> str:
    text = " ".join(str(error).splitlines()[0].split())
    return re.sub(r"^\[[A-Z_.]+\]\s*", "", text).split(". ")[0].rstrip(".") + "."
