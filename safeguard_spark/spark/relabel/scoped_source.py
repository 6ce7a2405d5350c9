"""Scoped source: the rows that a `since` or `where` scope keeps, and the rank by which `--order` labels them."""

from collections.abc import Callable

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError, SourceError
from safeguard_spark.relabel.scope import Scope, ScopeKind
from safeguard_spark.spark.failures import first_sentence
from safeguard_spark.spark.source import Field, Source, open_source, read_column

TIME_TYPES = (T.DateType, T.TimestampType, T.TimestampNTZType)


def open_scoped(
    spark: SparkSession,
    config: RunConfig,
    scope: Scope,
    *,
    order: str | None = None,
    version: int | None = None,
    strata: str | None = None,
) -> Source:
    """The source, without the rows a `since` or `where` scope leaves out. Raises SourceError, ConfigError.

    `strata`: those of the screen that is used.
    """
    rank = None if order is None else lambda frame: _rank(frame, config, order)
    row_filter = _row_filter(config, scope)
    return open_source(spark, config.source, version=version, row_filter=row_filter, rank=rank, strata=strata)


def _row_filter(config: RunConfig, scope: Scope) -> Callable[[DataFrame], DataFrame] | None:
    if scope.kind is ScopeKind.since:
        since = F.lit(scope.since).cast("timestamp")
        return lambda frame: frame.where(time_field(frame, config).column.cast("timestamp") >= since)
    if scope.kind is ScopeKind.where:
        return lambda frame: _where(frame, str(scope.where))
    return None


def _where(frame: DataFrame, condition: str) -> DataFrame:
    try:
        filtered = frame.where(condition)
    except AnalysisException as error:
        raise SourceError(f"The condition of --scope where cannot be used: {first_sentence(error)}") from error
    if not filtered._jdf.queryExecution().analyzed().deterministic():
        raise SourceError(
            "The condition of --scope where selects different rows each time. Use a condition without rand() or "
            "another function whose value changes."
        )
    return filtered


def time_field(frame: DataFrame, config: RunConfig) -> Field:
    """The date or time at which a content was made: the configured one, or the only date or timestamp column.

    Raises SourceError, ConfigError.
    """
    configured = config.source.time_column
    candidates = [field.name for field in frame.schema.fields if isinstance(field.dataType, TIME_TYPES)]
    if configured is None and len(candidates) != 1:
        listed = ", ".join(candidates) or "none"
        raise ConfigError(f"Which column says when a content was made? Set source.time_column (times here: {listed}).")
    field = read_column(frame, str(config.source.location), configured or candidates[0], "source.time_column")
    if isinstance(field.type, TIME_TYPES):  # a cast of another type could fail and quote content
        return field
    raise SourceError(_no_time(field))


def _no_time(field: Field) -> str:
    """A sentence about a column that is no time, with expressions that make one of it."""
    name, kind = field.sql, field.type
    if isinstance(kind, T.NumericType):
        how = f"timestamp_seconds({name}), or timestamp_millis or timestamp_micros"
    elif isinstance(kind, T.StringType):
        how = f"to_timestamp({name}), or with its pattern to_timestamp({name}, 'dd.MM.yyyy HH:mm')"
    else:
        how = "an expression that is a date or a time"
    return f"{field.option} {name} is {kind.simpleString()}, not a date or a time. Write {field.option}={how}."


def _rank(frame: DataFrame, config: RunConfig, order: str) -> Column:
    if order == "newest":
        field = time_field(frame, config)
    else:
        field = read_column(frame, str(config.source.location), order, "--order")
    if isinstance(field.type, T.NumericType):
        return field.column.cast("double")
    if isinstance(field.type, TIME_TYPES):
        return F.unix_micros(field.column.cast("timestamp")).cast("double")
    raise SourceError(f"--order {order}: {field.name} is {field.type.simpleString()}, not a number, date or time.")
