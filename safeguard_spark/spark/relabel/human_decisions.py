"""Human decisions: how a version's labels agree with them, where a table of decisions is configured."""

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.config.model import GoldConfig, RunConfig
from safeguard_spark.errors import SourceError
from safeguard_spark.evaluation.comparison.report import HumanAgreement
from safeguard_spark.evaluation.intervals import Weighted, rate
from safeguard_spark.policy.document import Policy
from safeguard_spark.spark.labels import newest_per_content, of_version
from safeguard_spark.spark.source import find_column, quoted, read_snapshot
from safeguard_spark.spark.tables import Tables


def human_agreement(spark: SparkSession, config: RunConfig, tables: Tables, policy: Policy) -> HumanAgreement | None:
    """Precision and recall of a version, or None without a table of decisions or without a label for one of them.

    Raises SourceError if the table does not have the configured columns.
    """
    gold = config.relabel.gold
    if gold.location is None:
        return None
    decisions = _decisions(spark, gold)
    verdicts = newest_per_content(of_version(tables.read(schema.LABELS), policy), "violation")
    joined = decisions.join(verdicts, on="content_id", how="inner")
    rows = joined.groupBy("decided", F.coalesce("violation", F.lit(False)).alias("labelled")).count().collect()
    counts = {(bool(row["decided"]), bool(row["labelled"])): int(row["count"]) for row in rows}
    if not counts:
        return None
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
    frame = read_snapshot(spark, str(gold.location)).frame
    for column in (gold.id_column, gold.violation_column):
        if find_column(frame, column) is None:
            listed = ", ".join(frame.columns)
            raise SourceError(
                f"The table of human decisions {gold.location} has no column {column}; it has {listed}. Set "
                "relabel.gold.id_column and relabel.gold.violation_column."
            )
    id, violation = (F.col(quoted(name)) for name in (gold.id_column, gold.violation_column))
    rows = frame.select(id.cast("string").alias("content_id"), violation.cast("boolean").alias("decided"))
    return rows.where(F.col("decided").isNotNull() & F.col("content_id").isNotNull()).dropDuplicates(["content_id"])
