"""Rows of a source that a condition or a date leaves, and the order they are labelled in."""

from collections.abc import Callable

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError, SourceError
from safeguard_spark.relabel.scope import Scope, ScopeKind
from safeguard_spark.spark.source import Source, open_source, read

TIMES = (T.DateType, T.TimestampType, T.TimestampNTZType)


def open_scoped(
    spark: SparkSession, config: RunConfig, scope: Scope, *, order: str | None = None, version: int | None = None
) -> Source:
    """The source, without the rows a `since` or `where` scope leaves out. Raises SourceError, ConfigError."""
    rank = None if order is None else _rank(spark, config, order)
    return open_source(spark, config.source, version=version, narrow=_narrow(config, scope), order=rank)


def _narrow(config: RunConfig, scope: Scope) -> Callable[[DataFrame], DataFrame] | None:
    if scope.kind is ScopeKind.since:
        since = F.lit(scope.since).cast("timestamp")
        return lambda frame: frame.where(F.col(_quoted(time_column(frame, config))) >= since)
    if scope.kind is ScopeKind.where:
        return lambda frame: _where(frame, str(scope.where))
    return None


def _where(frame: DataFrame, condition: str) -> DataFrame:
    try:
        narrowed = frame.where(condition)
    except AnalysisException as error:
        said = str(error).splitlines()[0]
        raise SourceError(f"The condition of --scope where cannot be used: {said[:300]}") from error
    if not narrowed._jdf.queryExecution().analyzed().deterministic():
        raise SourceError("The condition of --scope where gives other rows each time; leave out rand() and its kind.")
    return narrowed


def time_column(frame: DataFrame, config: RunConfig) -> str:
    """The column that says when a content was made: the configured one, or the only one there is."""
    named = config.source.time_column
    times = [field.name for field in frame.schema.fields if isinstance(field.dataType, TIMES)]
    if named is not None:
        if named.lower() not in [name.lower() for name in frame.columns]:
            raise SourceError(f"The source has no column {named}: set source.time_column to one of {', '.join(times)}.")
        return named
    if len(times) == 1:
        return times[0]
    listed = ", ".join(times) or "none"
    raise ConfigError(f"Which column says when a content was made? Set source.time_column (times here: {listed}).")


def _rank(spark: SparkSession, config: RunConfig, order: str) -> Column:
    frame = read(spark, str(config.source.location))[1]
    column = time_column(frame, config) if order == "newest" else order
    field = next((f for f in frame.schema.fields if f.name.lower() == column.lower()), None)
    if field is None:
        raise SourceError(f"--order {order}: the source has no such column; it has {', '.join(frame.columns)}.")
    if isinstance(field.dataType, T.NumericType):
        return F.col(_quoted(field.name)).cast("double")
    if isinstance(field.dataType, TIMES):
        return F.unix_micros(F.col(_quoted(field.name)).cast("timestamp")).cast("double")
    raise SourceError(f"--order {order}: {field.name} is {field.dataType.simpleString()}, not a number, date or time.")


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
