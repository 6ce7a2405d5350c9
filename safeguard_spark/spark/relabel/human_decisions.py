"""Human decisions: how a version's labels agree with them, where a table of decisions is configured."""

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.config.model import GoldConfig, RunConfig, SourceConfig
from safeguard_spark.evaluation.comparison.report import HumanAgreement
from safeguard_spark.evaluation.intervals import Weighted, rate
from safeguard_spark.policy.document import Policy
from safeguard_spark.spark.labels import newest_per_content, of_version
from safeguard_spark.spark.source import id_text, read_column, read_snapshot
from safeguard_spark.spark.tables import Tables


def human_agreement(spark: SparkSession, config: RunConfig, tables: Tables, policy: Policy) -> HumanAgreement | None:
    """Precision and recall of a version, or None without a table of decisions or without a verdict on one of them.

    An answer that could not be read is wrong: a miss, or a false alarm.

    Raises SourceError if the table does not have the configured columns.
    """
    gold = config.relabel.gold
    if gold.location is None:
        return None
    decisions = _decisions(spark, gold)
    verdicts = newest_per_content(of_version(tables.read(schema.LABELS), policy), "violation")
    joined = decisions.join(verdicts, on="content_id", how="inner")
    if joined.where(F.col("violation").isNotNull()).isEmpty():
        return None
    rows = joined.groupBy("decided", F.coalesce("violation", ~F.col("decided")).alias("labelled")).count().collect()
    counts = {(bool(row["decided"]), bool(row["labelled"])): int(row["count"]) for row in rows}
    true_positives, false_positives = counts.get((True, True), 0), counts.get((False, True), 0)
    false_negatives = counts.get((True, False), 0)
    return HumanAgreement(
        ref=policy.ref,
        contents=sum(counts.values()),
        precision=rate([Weighted(true_positives, 1.0, True), Weighted(false_positives, 1.0, False)]),
        recall=rate([Weighted(true_positives, 1.0, True), Weighted(false_negatives, 1.0, False)]),
    )


def _decisions(spark: SparkSession, gold: GoldConfig) -> DataFrame:
    """(content_id, decided), one row per content."""
    location = str(gold.location)
    frame = read_snapshot(spark, SourceConfig(location=location)).frame
    table = f"the table of human decisions {location}"
    id = read_column(frame, table, gold.id_column, "relabel.gold.id_column")
    violation = read_column(frame, table, gold.violation_column, "relabel.gold.violation_column").column
    rows = frame.select(id_text(id, table).alias("content_id"), violation.cast("boolean").alias("decided"))
    return rows.where(F.col("decided").isNotNull() & F.col("content_id").isNotNull()).dropDuplicates(["content_id"])
