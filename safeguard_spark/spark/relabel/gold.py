"""Gold: how a version's labels agree with what people decided, where a table of decisions is configured."""

from typing import Any, NamedTuple

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.config.model import GoldConfig, RunConfig
from safeguard_spark.errors import SourceError
from safeguard_spark.evaluation.intervals import Rate, Weighted, rate
from safeguard_spark.policy.document import Policy
from safeguard_spark.spark.source import read
from safeguard_spark.spark.tables import Tables


class GoldMeasures(NamedTuple):
    """Precision and recall over the contents people decided. A content without a verdict is not found."""

    ref: str
    contents: int
    precision: Rate | None
    recall: Rate | None

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        rates = {name: None if r is None else r._asdict() for name, r in zip(self._fields[2:], self[2:], strict=True)}
        return {"ref": self.ref, "contents": self.contents, **rates}


def gold_measures(spark: SparkSession, config: RunConfig, tables: Tables, policy: Policy) -> GoldMeasures | None:
    """How a version does on the configured gold table, or None without one or without a label on it.

    Raises SourceError if the table is not what the configuration says.
    """
    gold = config.relabel.gold
    if gold.location is None:
        return None
    decided = _decided(spark, gold)
    mine = tables.read(schema.LABELS).where(
        (F.col("policy") == policy.name)
        & (F.col("policy_version") == policy.version)
        & (F.col("policy_hash") == policy.policy_hash)
        & F.col("salt").isNull()
    )
    newest = mine.groupBy("content_id").agg(F.max_by("violation", F.struct("labelled_at", "attempt")).alias("said"))
    joined = decided.join(newest, on="content_id", how="inner").withColumn("said", F.coalesce("said", F.lit(False)))
    rows = joined.groupBy("gold", "said").count().collect()
    counts = {(bool(row["gold"]), bool(row["said"])): int(row["count"]) for row in rows}
    if not counts:
        return None
    right, false, missed = (counts.get(key, 0) for key in ((True, True), (False, True), (True, False)))
    return GoldMeasures(
        policy.ref,
        sum(counts.values()),
        rate([Weighted(right, 1.0, True), Weighted(false, 1.0, False)]),
        rate([Weighted(right, 1.0, True), Weighted(missed, 1.0, False)]),
    )


def _decided(spark: SparkSession, gold: GoldConfig) -> DataFrame:
    """(content_id, gold), one row per content."""
    _, frame, _ = read(spark, str(gold.location))
    for column in (gold.id_column, gold.violation_column):
        if column.lower() not in [name.lower() for name in frame.columns]:
            listed = ", ".join(frame.columns)
            raise SourceError(f"The gold table {gold.location} has no column {column}; it has {listed}.")
    key, said = (F.col("`" + name.replace("`", "``") + "`") for name in (gold.id_column, gold.violation_column))
    rows = frame.select(key.cast("string").alias("content_id"), said.cast("boolean").alias("gold"))
    return rows.where(F.col("gold").isNotNull() & F.col("content_id").isNotNull()).dropDuplicates(["content_id"])
