"""Scoped source: the rows that a `since` or `where` scope keeps, and the rank by which `--order` labels them."""

from collections.abc import Callable

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError, SourceError
from safeguard_spark.relabel.scope import Scope, ScopeKind
from safeguard_spark.spark.source import Source, find_column, open_source, quoted, read_snapshot

TIME_TYPES = (T.DateType, T.TimestampType, T.TimestampNTZType)


def open_scoped(
    spark: SparkSession, config: RunConfig, scope: Scope, *, order: str | None = None, version: int | None = None
) -> Source:
    """The source, without the rows a `since` or `where` scope leaves out. Raises SourceError, ConfigError."""
    rank = None if order is None else _rank(spark, config, order)
    return open_source(spark, config.source, version=version, row_filter=_row_filter(config, scope), rank=rank)


def _row_filter(config: RunConfig, scope: Scope) -> Callable[[DataFrame], DataFrame] | None:
    if scope.kind is ScopeKind.since:
        since = F.lit(scope.since).cast("timestamp")
        return lambda frame: frame.where(F.col(quoted(time_column(frame, config))) >= since)
    if scope.kind is ScopeKind.where:
        return lambda frame: _where(frame, str(scope.where))
    return None


def _where(frame: DataFrame, condition: str) -> DataFrame:
    try:
        filtered = frame.where(condition)
    except AnalysisException as error:
        cause = str(error).splitlines()[0]
        raise SourceError(f"The condition of --scope where cannot be used: {cause[:300]}") from error
    if not filtered._jdf.queryExecution().analyzed().deterministic():
        raise SourceError(
            "The condition of --scope where selects different rows each time. Use a condition without rand() or "
            "another function whose value changes."
        )
    return filtered


def time_column(frame: DataFrame, config: RunConfig) -> str:
    """The column that says when a content was made: the configured one, or the only date or timestamp column."""
    configured = config.source.time_column
    candidates = [field.name for field in frame.schema.fields if isinstance(field.dataType, TIME_TYPES)]
    listed = ", ".join(candidates) or "none"
    if configured is not None:
        field = find_column(frame, configured)
        if field is None or field.name not in candidates:  # a cast of other types could fail and quote content
            raise SourceError(
                f"The source has no column of times {configured}. Set source.time_column (times here: {listed})."
            )
        return configured
    if len(candidates) == 1:
        return candidates[0]
    raise ConfigError(f"Which column says when a content was made? Set source.time_column (times here: {listed}).")


def _rank(spark: SparkSession, config: RunConfig, order: str) -> Column:
    frame = read_snapshot(spark, str(config.source.location)).frame
    field = find_column(frame, time_column(frame, config) if order == "newest" else order)
    if field is None:
        raise SourceError(f"--order {order}: the source has no such column. It has {', '.join(frame.columns)}.")
    if isinstance(field.dataType, T.NumericType):
        return F.col(quoted(field.name)).cast("double")
    if isinstance(field.dataType, TIME_TYPES):
        return F.unix_micros(F.col(quoted(field.name)).cast("timestamp")).cast("double")
    raise SourceError(f"--order {order}: {field.name} is {field.dataType.simpleString()}, not a number, date or time.")
