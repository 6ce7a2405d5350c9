"""Contents: the rows of a source as (content_id, content_hash, payload)."""

from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from safeguard_spark.config.model import SourceConfig
from safeguard_spark.errors import SourceError
from safeguard_spark.spark.source.columns import conversation_payload, id_text, read_column, text_payload
from safeguard_spark.spark.source.location import Snapshot, read_snapshot
from safeguard_spark.spark.source.missing_columns import refuse_files_without
from safeguard_spark.spark.unreadable import readable

RANK = "rank"  # a column of the frame if the source was opened with a rank


@dataclass(frozen=True)
class Source:
    """A content table at one version. `frame` has content_id, content_hash, `payload` (text, turns or json, in bytes).

    It also has `rank` if the source was opened with one. `folder` is where its files are, None for a view.
    """

    name: str
    version: int | None
    payload: str
    frame: DataFrame
    folder: str | None = None


def open_source(
    spark: SparkSession,
    config: SourceConfig,
    *,
    version: int | None = None,
    row_filter: Callable[[DataFrame], DataFrame] | None = None,
    rank: Callable[[DataFrame], Column] | None = None,
) -> Source:
    """Read the table a configuration names. Raises SourceError with one sentence.

    `version` is the version of a Delta table, by default the configured or the newest one. `row_filter` removes rows;
    it sees every column of the table. `rank` makes a number: contents with the highest are labelled first.
    """
    if not config.location:
        raise SourceError("No source: give --source PATH or TABLE, or source.location in the configuration.")
    if not (config.text_column or config.conversation_column):
        raise SourceError("No content column: give --text-column or --conversation-column.")
    snapshot = read_snapshot(spark, config, version)
    frame = row_filter(snapshot.frame) if row_filter else snapshot.frame
    with readable(f"Source {config.location}"):
        return _contents(spark, config, snapshot, frame, rank)


def _contents(
    spark: SparkSession,
    config: SourceConfig,
    snapshot: Snapshot,
    frame: DataFrame,
    rank: Callable[[DataFrame], Column] | None,
) -> Source:
    name = snapshot.name
    id_field = read_column(frame, name, config.id_column, "--id-column")
    if config.conversation_column:
        field = read_column(frame, name, config.conversation_column, "--conversation-column")
        payload = conversation_payload(field, name)
    else:
        field = read_column(frame, name, str(config.text_column), "--text-column")
        payload = text_payload(field, name)
    ranks = [] if rank is None else [rank(frame).cast("double").alias(RANK)]
    cells = frame.select(id_text(id_field, name).alias("content_id"), payload.column.alias(payload.name), *ranks)
    if not cells._jdf.queryExecution().analyzed().deterministic():
        raise SourceError(
            f"View {name} has other rows each time it is read: it uses rand() or another function whose value changes. "
            "Write its rows to a table, and name that."
        )
    without_id = cells.where(F.col("content_id").isNull()).count()
    if without_id:
        raise SourceError(
            f"{without_id} rows of {name} have no {config.id_column}. Every row needs an id (--id-column)."
        )
    if snapshot.is_parquet:
        refuse_files_without(spark, field.name, frame.where(field.column.isNull()), name)
    contents = cells.select("content_id", payload.hash.alias("content_hash"), payload.name, *([RANK] if ranks else []))
    return Source(name, snapshot.version, payload.name, contents, snapshot.folder)
