"""Contents: the rows of a source as (content_id, content_hash, payload)."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from safeguard_spark.config.model import SourceConfig
from safeguard_spark.errors import SourceError
from safeguard_spark.spark.source.columns import (
    Field,
    Payload,
    conversation_payload,
    id_text,
    read_column,
    text_payload,
)
from safeguard_spark.spark.source.location import Snapshot, read_snapshot
from safeguard_spark.spark.source.missing_columns import refuse_files_without
from safeguard_spark.spark.unreadable import readable

RANK = "rank"  # a column of the frame if the source was opened with a rank


@dataclass(frozen=True)
class Source:
    """A content table at one version. `frame` has content_id, content_hash, `payload` (text, turns or json, in bytes).

    It also has `rank` if the source was opened with one. `folder` is where its files are, None for a view.

    If `frame` has only the contents that changed, `whole` has all of them, and `touched` (content_id, content_hash) of
    what changed or is gone, where a change feed shows that.
    """

    name: str
    version: int | None
    payload: str
    frame: DataFrame
    folder: str | None = None
    whole: DataFrame | None = None
    touched: DataFrame | None = None


@dataclass(frozen=True)
class SourceTable:
    """A source whose columns are found, and of which no row has been read.

    `frame` is the table as it is read; `cells` of it has content_id and the payload, in bytes. `opened_ms` is a moment
    before its files were listed.
    """

    spark: SparkSession
    config: SourceConfig
    snapshot: Snapshot
    frame: DataFrame
    cells: DataFrame
    id_field: Field
    field: Field
    payload: Payload
    opened_ms: int
    sample: Column | None = None  # the condition over content_id that its contents meet

    @property
    def name(self) -> str:
        """The path or the name of the table."""
        return self.snapshot.name

    @property
    def version(self) -> int | None:
        """Its version if it is a Delta table."""
        return self.snapshot.version

    @property
    def folder(self) -> str | None:
        """Where its files are, None for a view."""
        return self.snapshot.folder

    def cells_of(self, frame: DataFrame, *columns: Column) -> DataFrame:
        """The cells of other rows of the same table, and other columns of them."""
        content_id, content = id_text(self.id_field, self.name), self.payload.column
        cells = frame.select(content_id.alias("content_id"), content.alias(self.payload.name), *columns)
        return cells if self.sample is None else cells.where(self.sample)

    def contents(
        self, changed: DataFrame | None = None, touched: DataFrame | None = None, rows: DataFrame | None = None
    ) -> Source:
        """Its contents, or those that changed, by their cells and rows. Raises SourceError for rows without an id."""
        cells, name = self.cells if changed is None else changed, self.name
        with readable(f"Source {self.config.location}"):
            if without_id := cells.where(F.col("content_id").isNull()).count():
                raise SourceError(
                    f"{without_id} rows of {name} have no {self.config.id_column}. Every row needs an id (--id-column)."
                )
            if self.snapshot.is_parquet:
                nulls = (self.frame if rows is None else rows).where(self.field.column.isNull())
                refuse_files_without(self.spark, self.field.name, nulls, name)
            whole = None if changed is None else self._hashed(self.cells)
            frame = self._hashed(cells)
        return Source(name, self.version, self.payload.name, frame, self.folder, whole, touched)

    def _hashed(self, cells: DataFrame) -> DataFrame:
        ranks = [RANK] if RANK in cells.columns else []
        return cells.select("content_id", self.payload.hash.alias("content_hash"), self.payload.name, *ranks)


def open_source(
    spark: SparkSession,
    config: SourceConfig,
    *,
    version: int | None = None,
    row_filter: Callable[[DataFrame], DataFrame] | None = None,
    rank: Callable[[DataFrame], Column] | None = None,
) -> Source:
    """Read the table a configuration names: `find_source`, then its rows."""
    return find_source(spark, config, version=version, row_filter=row_filter, rank=rank).contents()


def find_source(
    spark: SparkSession,
    config: SourceConfig,
    *,
    version: int | None = None,
    row_filter: Callable[[DataFrame], DataFrame] | None = None,
    rank: Callable[[DataFrame], Column] | None = None,
    sample: Column | None = None,
) -> SourceTable:
    """Find the table a configuration names, and its columns. Reads no row. Raises SourceError with one sentence.

    `version` is the version of a Delta table, by default the configured or the newest one. `row_filter` removes rows;
    it sees every column of the table. `rank` makes a number: contents with the highest are labelled first. `sample` is
    a condition over content_id.
    """
    if not config.location:
        raise SourceError("No source: give --source PATH or TABLE, or source.location in the configuration.")
    if not (config.text_column or config.conversation_column):
        raise SourceError("No content column: give --text-column or --conversation-column.")
    opened_ms = int(time.time() * 1000)
    snapshot = read_snapshot(spark, config, version)
    frame = row_filter(snapshot.frame) if row_filter else snapshot.frame
    with readable(f"Source {config.location}"):
        return _with_cells(spark, config, snapshot, frame, rank, sample, opened_ms)


def _with_cells(
    spark: SparkSession,
    config: SourceConfig,
    snapshot: Snapshot,
    frame: DataFrame,
    rank: Callable[[DataFrame], Column] | None,
    sample: Column | None,
    opened_ms: int,
) -> SourceTable:
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
    cells = cells if sample is None else cells.where(sample)
    return SourceTable(spark, config, snapshot, frame, cells, id_field, field, payload, opened_ms, sample)
