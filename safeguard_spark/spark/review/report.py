"""Read the figures of a report from the views for analysts."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from functools import reduce
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError
from safeguard_spark.report.indicators import (
    Indicator,
    Known,
    Period,
    Report,
    active_in,
    cost_indicators,
    label_indicators,
    overturn_indicators,
    queue_indicators,
    sample_indicators,
    screen_indicators,
    without_samples,
)
from safeguard_spark.spark.labels import collection_of, golden_collections
from safeguard_spark.spark.screens import newest_audits
from safeguard_spark.spark.small_tables import read_existing
from safeguard_spark.spark.tables import Tables
from safeguard_spark.suggest import did_you_mean

REVIEWS = ("review_samples", "overturns", "review_queues")


def review_report(spark: SparkSession, config: RunConfig, policy: str | None = None) -> Report:
    """What people have decided so far, as known now. Raises ConfigError for an unknown policy, TableError."""
    tables = Tables.open(spark, config.output)
    _require_policy(tables, policy)
    samples, overturns, queues = _review_counts(tables, {}, policy)
    indicators = [*sample_indicators(samples), *overturn_indicators(overturns), *queue_indicators(queues)]
    return Report(None, tuple(indicators))


def period_report(spark: SparkSession, config: RunConfig, period: Period, policy: str | None = None) -> Report:
    """The report of a period, of one policy or of all. Raises ConfigError for an unknown policy, TableError.

    It is about the items drawn and the runs started in the period, and the labels in use at its end (`then`) or now.
    Labels of golden sets are left out.
    """
    tables = Tables.open(spark, config.output)
    _require_policy(tables, policy)
    start, end = _utc(period, 0), _utc(period, 1)
    changed = _as_of(tables, period, start, end)
    golden = _golden_sets(tables, config)
    days, rules = _label_counts(tables, changed.pop("labels_current", f"({tables.labels_current})"), policy)
    golden_sets = Counter[str]()
    for row in days:
        if row["collection"] in golden:
            golden_sets[row["collection"]] += row["contents"]
    days, rules = ([row for row in rows if row["collection"] not in golden] for rows in (days, rules))
    samples, overturns, queues = _review_counts(tables, changed, policy)
    views = tables.analyst_views(**changed)
    in_period = f"day BETWEEN DATE'{period.start}' AND DATE'{period.end}'"
    cost = [row.asDict() for row in spark.sql(views["daily_cost"]).where(in_period).collect()]
    active = [
        _with_utc(row) for row in _rows(spark, views["active_versions"], policy, times=("active_from", "active_until"))
    ]
    indicators: list[Indicator] = [*label_indicators(days, rules), *sample_indicators(samples)]
    indicators += [*without_samples(indicators), *overturn_indicators(overturns), *queue_indicators(queues)]
    indicators += screen_indicators(newest_audits(tables, start, end, policy))
    indicators += cost_indicators(cost, config.relabel.price_per_engine_hour)
    return Report(
        period=period,
        indicators=tuple(indicators),
        active=tuple(active_in(period, active, datetime.now(UTC).date())),
        days=tuple(row for row in days if period.start <= row["day"] <= period.end),
        currency=config.relabel.currency,
        golden_sets=dict(sorted(golden_sets.items())),
    )


def _golden_sets(tables: Tables, config: RunConfig) -> set[str]:
    """The collections of the golden sets that were evaluated with this output: they are no platform's contents."""
    evaluations = read_existing(tables, schema.EVALUATIONS)
    if evaluations is None:
        return set()
    sets = golden_collections(evaluations, collection_of(tables.spark, config))
    return {row["collection"] for row in sets.collect()}


def _label_counts(tables: Tables, labels: str, policy: str | None) -> list[list[dict[str, Any]]]:
    """The rows of `daily_rates` and `daily_rules`, with `labels` as the expression of the labels in use.

    Which label of a content is in use takes a sort of all labels, so that is done once.
    """
    columns = ("labelled_at", "collection", "policy", "policy_version", "labeler", "outcome", "violation", "rule_ids")
    select = f"SELECT {', '.join(columns)} FROM {labels}"
    with _kept(tables.spark, "labels_in_use", select, policy) as name:
        views = tables.analyst_views(labels_current=name)
        return [_rows(tables.spark, views[view], policy) for view in ("daily_rates", "daily_rules")]


def _review_counts(tables: Tables, changed: dict[str, str], policy: str | None) -> list[list[dict[str, Any]]]:
    """The rows of the views over reviewed items; `changed` are table expressions as in `Tables.analyst_views`."""
    select = tables.analyst_views(**changed)["reviewed_items"]
    with _kept(tables.spark, "items_reviewed", select, policy) as name:
        views = tables.analyst_views(**changed, reviewed_items=name)
        return [_rows(tables.spark, views[view], policy) for view in REVIEWS]


@contextmanager
def _kept(spark: SparkSession, name: str, select: str, policy: str | None) -> Iterator[str]:
    """The rows of a query, of one policy or of all, under a name within a block; computed once.

    Spark keeps them in the executors' memory, and on disk where that is full.
    """
    frame = spark.sql(select)
    frame = (frame if policy is None else frame.where(F.col("policy") == policy)).cache()
    frame.createOrReplaceTempView(name)
    try:
        yield name
    finally:
        spark.catalog.dropTempView(name)
        frame.unpersist()


def _require_policy(tables: Tables, policy: str | None) -> None:
    """Raises ConfigError for a policy under which nothing was ever labelled and of which there is no item."""
    if policy is None:
        return
    names = (tables.read(table).select("policy") for table in (schema.ACTIVATIONS, schema.REVIEW_ITEMS))
    known = {row["policy"] for row in reduce(DataFrame.union, names).distinct().collect()}
    if policy not in known:
        hint = did_you_mean(policy, known, "Policies there")
        raise ConfigError(f"--policy {policy}: {tables.output} has no labels and no items of it. {hint}")


def _as_of(tables: Tables, period: Period, start: str, end: str) -> dict[str, str]:
    """The table expressions of a period: items that were drawn in it, and what was known at its end, or is now."""

    def rows(table: schema.Table, condition: str) -> str:
        return f"(SELECT * FROM {tables.expression(table)} WHERE {condition})"

    changed = {"review_items": rows(schema.REVIEW_ITEMS, f"drawn_at >= {start} AND drawn_at < {end}")}
    if period.known is Known.then:
        changed["decisions"] = rows(schema.DECISIONS, f"decided_at < {end}")
        changed["policy_activations"] = rows(schema.ACTIVATIONS, f"activated_at < {end}")
        changed["labels_current"] = f"({tables.labels_as_of(end)})"
    return changed


def _utc(period: Period, which: int) -> str:
    """The first moment of a period, or with 1 the first one after it, as SQL."""
    day = (period.start, min(period.end, date.max - timedelta(days=1)) + timedelta(days=1))[which]
    return f"TIMESTAMP'{datetime.combine(day, time(), UTC).isoformat(sep=' ')}'"


def _rows(spark: SparkSession, select: str, policy: str | None, times: Iterable[str] = ()) -> list[dict[str, Any]]:
    frame: DataFrame = spark.sql(select)
    if policy is not None:
        frame = frame.where(F.col("policy") == policy)
    for name in times:  # else Spark returns them in the time zone of this process
        frame = frame.withColumn(name, F.unix_micros(name))
    return [row.asDict(recursive=True) for row in frame.collect()]


def _with_utc(row: dict[str, Any]) -> dict[str, Any]:
    times = {
        name: None if row[name] is None else datetime.fromtimestamp(row[name] / 1e6, UTC)
        for name in ("active_from", "active_until")
    }
    return {**row, **times}
