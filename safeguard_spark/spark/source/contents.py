"""Contents: the rows of a source as (content_id, content_hash, payload)."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from pyspark.sql import Column, DataFrame, SparkSession, WindowSpec
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
STRATUM = "screen_stratum"  # a column of the frame if the source was opened with strata: as text, or null


@dataclass(frozen=True)
class Source:
    """A content table at one version. `frame` has content_id, content_hash, `payload` (text, turns or json, in bytes).

    It also has `rank` and `screen_stratum` if the source was opened with them. `folder` is where its files are, None
    for a view.

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


class Changes(NamedTuple):
    """What changed: `cells` of the contents that are there now and may be new, and how many rows were read for them.

    `growth` is by how many rows the table grew, None if nothing says so. `touched` has (content_id, content_hash) of
    everything that the feed shows, also of what is gone; None without a feed. `frame` has the rows as they are read.
    `without_id` is how many of the rows have no id, None if they have to be counted.
    """

    cells: DataFrame
    rows: int
    without_id: int | None
    growth: int | None = None
    touched: DataFrame | None = None
    frame: DataFrame | None = None

    def only_added(self, source: "SourceTable") -> "Changes":
        """The same where no row went: the source grew by these rows. Of a sample nothing says how many are in it."""
        return self if source.sample is not None else self._replace(growth=self.rows)


@dataclass(frozen=True)
class SourceTable:
    """A source whose columns are found, and of which no row has been read.

    `frame` is the table as it is read. `columns` are other columns of its contents: their rank, their stratum.
    `opened_ms` is a moment before its files were listed.
    """

    spark: SparkSession
    config: SourceConfig
    snapshot: Snapshot
    frame: DataFrame
    id_field: Field
    field: Field
    payload: Payload
    opened_ms: int
    sample: Column | None = None  # the condition over content_id that its contents meet
    columns: tuple[Column, ...] = ()

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

    def by_strata(self, strata: str | None) -> "SourceTable":
        """The same with the strata of a screen: a column's name, or an expression. Raises SourceError."""
        if strata is None:
            return self
        stratum = read_column(self.frame, self.name, strata, "--strata").column.cast("string")
        return replace(self, columns=(*self.columns, stratum.alias(STRATUM)))

    @cached_property
    def cells(self) -> DataFrame:
        """Content ids and payloads, in bytes, and the other columns."""
        return self.cells_of(self.frame)

    def cells_of(self, frame: DataFrame, *columns: Column) -> DataFrame:
        """The cells of other rows of the same table, and more columns of them."""
        content_id, content = id_text(self.id_field, self.name), self.payload.column
        cells = frame.select(content_id.alias("content_id"), content.alias(self.payload.name), *self.columns, *columns)
        return cells if self.sample is None else cells.where(self.sample)

    def changes(self, rows: DataFrame) -> Changes:
        """Other rows of the same table as what changed."""
        with readable(f"Source {self.config.location}"):
            counts = rows.agg(F.count(F.lit(1)), F.count_if(id_text(self.id_field, self.name).isNull())).first()
        assert counts is not None  # an aggregate without groups has one row
        return Changes(self.cells_of(rows), counts[0], counts[1], frame=rows)

    def contents(self, changes: Changes | None = None) -> Source:
        """Its contents, or those that changed. Raises SourceError for rows without an id."""
        cells, name = self.cells if changes is None else changes.cells, self.name
        rows, touched = (None, None) if changes is None else (changes.frame, changes.touched)
        with readable(f"Source {self.config.location}"):
            without_id = None if changes is None else changes.without_id
            if without_id is None:
                without_id = cells.where(F.col("content_id").isNull()).count()
            if without_id:
                raise SourceError(
                    f"{without_id} rows of {name} have no {self.config.id_column}. Every row needs an id (--id-column)."
                )
            if self.snapshot.is_parquet:
                empty = (self.frame if rows is None else rows).where(self.field.column.isNull())
                refuse_files_without(self.spark, self.field.name, empty, name)
            whole = None if changes is None else self._hashed(self.cells)
            frame = self._hashed(cells)
        return Source(name, self.version, self.payload.name, frame, self.folder, whole, touched)

    def _hashed(self, cells: DataFrame) -> DataFrame:
        others = [name for name in (RANK, STRATUM) if name in cells.columns]
        return cells.select("content_id", self.payload.hash.alias("content_hash"), self.payload.name, *others)


def one_stratum(window: WindowSpec | None = None) -> Column:
    """The stratum of rows with one content: null if they have several, or one of them has none."""
    values = F.min(STRATUM), F.max(STRATUM), F.count(STRATUM), F.count(F.lit(1))
    low, high, known, rows = values if window is None else (value.over(window) for value in values)
    return F.when((low == high) & (known == rows), low).alias(STRATUM)


def distinct_contents(rows: DataFrame, key: str, payload: str) -> DataFrame:
    """(key, payload) of each key once, and its stratum if the rows have strata."""
    if STRATUM not in rows.columns:
        return rows.select(key, payload).dropDuplicates([key])
    return rows.groupBy(key).agg(F.first(payload).alias(payload), one_stratum())


def open_source(
    spark: SparkSession,
    config: SourceConfig,
    *,
    version: int | None = None,
    row_filter: Callable[[DataFrame], DataFrame] | None = None,
    rank: Callable[[DataFrame], Column] | None = None,
    strata: str | None = None,
) -> Source:
    """Read the table a configuration names: `find_source`, then its rows. `strata`: those of a screen."""
    table = find_source(spark, config, version=version, row_filter=row_filter, rank=rank)
    return table.by_strata(strata).contents()


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
    ranks = () if rank is None else (rank(frame).cast("double").alias(RANK),)
    table = SourceTable(spark, config, snapshot, frame, id_field, field, payload, opened_ms, sample, ranks)
    if not table.cells._jdf.queryExecution().analyzed().deterministic():
        raise SourceError(
            f"View {name} has other rows each time it is read: it uses rand() or another function whose value changes. "
            "Write its rows to a table, and name that."
        )
    return table
