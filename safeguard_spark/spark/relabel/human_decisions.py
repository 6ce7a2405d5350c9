"""Human decisions: how a version's labels agree with them, where a table of decisions is configured."""

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from safeguard_spark import schema
from safeguard_spark.config.model import GoldConfig, RunConfig, SourceConfig
from safeguard_spark.errors import SourceError
from safeguard_spark.evaluation.comparison.report import HumanAgreement
from safeguard_spark.evaluation.intervals import Weighted, rate
from safeguard_spark.policy.document import Policy
from safeguard_spark.spark.labels import CONTENT, collection_of, newest_per_content, of_collection, of_version
from safeguard_spark.spark.source import Field, find_column, id_text, read_column, read_snapshot
from safeguard_spark.spark.tables import Tables


def human_agreement(
    spark: SparkSession, config: RunConfig, tables: Tables, policy: Policy, labeler_hash: str
) -> HumanAgreement | None:
    """Precision and recall of a version and labeler; None without decisions, or without a verdict on one of them.

    An answer that could not be read is wrong: a miss, or a false alarm.

    Decisions are on the collection in their column `collection`; without the column, on that of the source.
    Raises SourceError if the table does not have the configured columns.
    """
    gold = config.relabel.gold
    if gold.location is None:
        return None
    decisions = _decisions(spark, gold)
    labels = of_version(tables.read(schema.LABELS), policy, labeler_hash)
    on = [name for name in CONTENT if name in decisions.columns]
    if "collection" not in on:
        labels = of_collection(labels, collection_of(spark, config))
    joined = decisions.join(newest_per_content(labels, "violation"), on=on, how="inner")
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
    """(content_id, decided), and collection if the table has one, one row per content. Raises SourceError."""
    location = str(gold.location)
    frame = read_snapshot(spark, SourceConfig(location=location)).frame
    table = f"the table of human decisions {location}"
    id = read_column(frame, table, gold.id_column, "relabel.gold.id_column")
    violation = read_column(frame, table, gold.violation_column, "relabel.gold.violation_column")
    collection = [F.col("collection").cast("string")] if find_column(frame, "collection") else []
    values = frame.select(id_text(id, table).alias("content_id"), *collection, violation.column.alias("value"))
    values = values.where(F.col("value").isNotNull() & F.col("content_id").isNotNull())
    rows = values.select(*values.columns[:-1], _decided(violation, table).alias("decided"))
    if unread := rows.where("decided IS NULL").count():
        raise SourceError(
            f"{unread:,} decisions in {table} are neither true nor false. Write which value of {violation.name} means "
            f"a violation: {violation.option}=\"{violation.sql} = 'VALUE'\"."
        )
    contents = rows.groupBy(*rows.columns[:-1]).agg(F.min("decided").alias("decided"), F.max("decided").alias("other"))
    if differing := contents.where("decided <> other").count():
        raise SourceError(
            f"{differing:,} contents in {table} have decisions that differ. Name a table or view with one decision per "
            "content, for example the one of most people (relabel.gold.location)."
        )
    return contents.drop("other")


def _decided(field: Field, table: str) -> Column:
    """The column `value` as a boolean: null for a text that is no word for one. Raises SourceError."""
    if isinstance(field.type, T.BooleanType | T.NumericType):
        return F.col("value").cast("boolean")
    if isinstance(field.type, T.StringType):
        return F.col("value").try_cast("boolean")
    raise SourceError(
        f"{field.option} {field.name} of {table} is {field.type.simpleString()}, not true or false. Write an "
        "expression that is."
    )
