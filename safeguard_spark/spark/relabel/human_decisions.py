"""Human decisions: how a version's labels agree with them, where a table of decisions is configured."""

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql import types as T

from safeguard_spark import schema
from safeguard_spark.config.model import GoldConfig, RunConfig, SourceConfig
from safeguard_spark.errors import PolicyError, SourceError
from safeguard_spark.evaluation.comparison.report import HumanAgreement
from safeguard_spark.evaluation.intervals import Weighted, rate
from safeguard_spark.policy.document import Policy
from safeguard_spark.relabel.plan import DecideAgain
from safeguard_spark.relabel.rules import rule_changes
from safeguard_spark.spark.labels import CONTENT, collection_of, newest_per_content, of_collection, of_version
from safeguard_spark.spark.source import Field, find_column, id_text, read_column, read_snapshot
from safeguard_spark.spark.tables import Tables
from safeguard_spark.tracking.registry import resolve

MAX_LISTED = 100  # content ids of decisions to be made again, in a plan


def human_agreement(
    spark: SparkSession, config: RunConfig, tables: Tables, policy: Policy, labeler_hash: str
) -> HumanAgreement | None:
    """Precision and recall of a version and labeler; None without decisions, or without a verdict on one of them.

    An answer that could not be read is wrong: a miss, or a false alarm. Decisions that name a rule which was changed
    since are left out: they are to be made again.

    Decisions are on the collection in their column `collection`; without the column, on that of the source.
    Raises SourceError if the table does not have the configured columns.
    """
    gold = config.relabel.gold
    if gold.location is None:
        return None
    decisions = _decisions(spark, config, policy).where("NOT decide_again")
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


def decide_again(spark: SparkSession, config: RunConfig, policy: Policy) -> DecideAgain | None:
    """The decisions that name a rule which a version changes; None if the table does not say rules and versions."""
    gold = config.relabel.gold
    if gold.location is None or gold.rules_column is None or gold.version_column is None:
        return None
    rows = _decisions(spark, config, policy).where("decide_again").select("content_id").distinct().cache()
    try:
        listed = rows.orderBy("content_id").limit(MAX_LISTED).collect()
        return DecideAgain(rows.count(), tuple(row["content_id"] for row in listed))
    finally:
        rows.unpersist()


def _decisions(spark: SparkSession, config: RunConfig, policy: Policy) -> DataFrame:
    """(content_id, decided, decide_again), and collection if the table has one, one row per content.

    Of decisions under several versions, those under the newest count. Raises SourceError.
    """
    gold = config.relabel.gold
    location = str(gold.location)
    frame = read_snapshot(spark, SourceConfig(location=location)).frame
    table = f"the table of human decisions {location}"
    id = read_column(frame, table, gold.id_column, "relabel.gold.id_column")
    violation = read_column(frame, table, gold.violation_column, "relabel.gold.violation_column")
    collection = [F.col("collection").cast("string")] if find_column(frame, "collection") else []
    keys = [id_text(id, table).alias("content_id"), *collection]
    values = frame.select(*keys, violation.column.alias("value"), *_rules_and_version(frame, table, gold))
    values = values.where(F.col("value").isNotNull() & F.col("content_id").isNotNull())
    names = [name for name in values.columns if name in CONTENT]
    rows = values.select(*names, _decided(violation, table).alias("decided"), "rules", "version")
    if unread := rows.where("decided IS NULL").count():
        raise SourceError(
            f"{unread:,} decisions in {table} are neither true nor false. Write which value of {violation.name} means "
            f"a violation: {violation.option}=\"{violation.sql} = 'VALUE'\"."
        )
    if gold.version_column is not None:
        newest = Window.partitionBy(*names).orderBy(F.split("version", r"\.").cast("array<int>").desc())
        rows = rows.withColumn("rank", F.rank().over(newest)).where("rank = 1")
    contents = rows.groupBy(*names).agg(
        F.min("decided").alias("decided"),
        F.max("decided").alias("other"),
        F.bool_or(_names_changed_rule(rows, config, policy)).alias("decide_again"),
    )
    if differing := contents.where("decided <> other").count():
        raise SourceError(
            f"{differing:,} contents in {table} have decisions that differ. Name a table or view with one decision per "
            "content, for example the one of most people (relabel.gold.location)."
        )
    return contents.drop("other")


def _rules_and_version(frame: DataFrame, table: str, gold: GoldConfig) -> tuple[Column, Column]:
    rules, version = F.lit(None).cast("array<string>"), F.lit(None).cast("string")
    if gold.rules_column is not None:
        field = read_column(frame, table, gold.rules_column, "relabel.gold.rules_column")
        is_list = isinstance(field.type, T.ArrayType)
        rules = field.column.cast("array<string>") if is_list else F.array(field.column.cast("string"))
    if gold.version_column is not None:
        version = read_column(frame, table, gold.version_column, "relabel.gold.version_column").column.cast("string")
    return rules.alias("rules"), version.alias("version")


def _names_changed_rule(rows: DataFrame, config: RunConfig, policy: Policy) -> Column:
    """Whether a decision names a rule that a policy version changes, in comparison with the version of the decision."""
    gold, again = config.relabel.gold, F.lit(False)
    if gold.rules_column is None or gold.version_column is None:
        return again
    for row in rows.select("version").distinct().collect():
        affected = F.array(*map(F.lit, _affected(config, policy, row["version"]))).cast("array<string>")
        overlaps = F.coalesce(F.arrays_overlap("rules", affected), F.lit(False))
        again = again | (F.col("version").eqNullSafe(F.lit(row["version"])) & overlaps)
    return again


def _affected(config: RunConfig, policy: Policy, version: str | None) -> tuple[str, ...]:
    """The rules whose change since a version may make a decision invalid; none if that version is not known."""
    if version in (None, policy.version):
        return ()
    try:
        return rule_changes(resolve(f"{policy.name}@{version}", config), policy).affected
    except PolicyError:
        return ()


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
