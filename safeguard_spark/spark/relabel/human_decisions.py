"""Human decisions: how a version's labels agree with them, where a table of decisions is configured."""

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql import types as T

from safeguard_spark import schema
from safeguard_spark.config.model import GoldConfig, RunConfig, SourceConfig
from safeguard_spark.errors import PolicyError, SourceError
from safeguard_spark.evaluation.comparison.report import HumanAgreement
from safeguard_spark.evaluation.intervals import Weighted, rate
from safeguard_spark.policy.document import VERSION, Policy
from safeguard_spark.relabel.plan import DecideAgain
from safeguard_spark.relabel.rules import rule_changes
from safeguard_spark.spark.labels import CONTENT, collection_of, newest_per_content, of_collection, of_version
from safeguard_spark.spark.source import Field, find_column, id_text, read_column, read_snapshot
from safeguard_spark.spark.tables import Tables
from safeguard_spark.tracking.registry import resolve

MAX_LISTED = 100  # content ids of decisions to be made again, in a plan


def human_agreement(
    spark: SparkSession,
    config: RunConfig,
    tables: Tables,
    policy: Policy,
    labeler_hash: str,
    *,
    with_screened: bool = True,
) -> HumanAgreement | None:
    """Precision and recall of a version and labeler; None without decisions, or without a verdict on one of them.

    An answer that could not be read is wrong: a miss, or a false alarm. Decisions that name a rule which was changed
    since are left out: they are to be made again.

    What a screen cleared is among the labels, unless `with_screened` is false: then it is the labeler's own agreement.

    Decisions are on the collection in their column `collection`; without the column, on that of the source.
    Raises SourceError if the table does not have the configured columns.
    """
    gold = config.relabel.gold
    if gold.location is None:
        return None
    labels = of_version(tables.read(schema.LABELS), policy, labeler_hash)
    if not with_screened:
        labels = labels.where("screened_for IS NULL")
    with _decisions(spark, config, policy) as decisions:
        on = [name for name in CONTENT if name in decisions.columns]
        if "collection" not in on:
            labels = of_collection(labels, collection_of(spark, config))
        counted = decisions.where("NOT decide_again")
        decided = labels.join(counted.select(on), on=on, how="left_semi")  # first: they are few, and the labels are not
        joined = counted.join(newest_per_content(decided, "violation"), on=on, how="inner")
        rows = joined.groupBy("decided", "violation").count().collect()
    if all(row["violation"] is None for row in rows):
        return None
    counts = Counter[tuple[bool, bool]]()
    for row in rows:
        labelled = not row["decided"] if row["violation"] is None else row["violation"]
        counts[row["decided"], labelled] += row["count"]
    true_positives, false_positives, false_negatives = counts[True, True], counts[False, True], counts[True, False]
    return HumanAgreement(
        ref=policy.ref,
        contents=counts.total(),
        precision=rate([Weighted(true_positives, 1.0, True), Weighted(false_positives, 1.0, False)]),
        recall=rate([Weighted(true_positives, 1.0, True), Weighted(false_negatives, 1.0, False)]),
    )


def decide_again(spark: SparkSession, config: RunConfig, policy: Policy) -> DecideAgain | None:
    """The decisions that name a rule which a version changes; None if the table does not say rules and versions."""
    gold = config.relabel.gold
    if gold.location is None or gold.rules_column is None or gold.version_column is None:
        return None
    with _decisions(spark, config, policy) as decisions:
        rows = decisions.where("decide_again").select("content_id").distinct()
        listed = rows.orderBy("content_id").limit(MAX_LISTED).collect()
        return DecideAgain(rows.count(), tuple(row["content_id"] for row in listed))


@contextlib.contextmanager
def _decisions(spark: SparkSession, config: RunConfig, policy: Policy) -> Iterator[DataFrame]:
    """(content_id, decided, decide_again), and collection if the table has one, one row per content.

    Of decisions under several versions, those under the newest count. The table is read once. Raises SourceError.
    """
    gold = config.relabel.gold
    location = str(gold.location)
    frame = read_snapshot(spark, SourceConfig(location=location)).frame
    table = f"the table of human decisions {location}"
    if find_column(frame, "policy"):  # as in the table `gold`
        frame = frame.where(F.col("policy") == policy.name)
    id = read_column(frame, table, gold.id_column, "relabel.gold.id_column")
    violation = read_column(frame, table, gold.violation_column, "relabel.gold.violation_column")
    collection = [F.col("collection").cast("string")] if find_column(frame, "collection") else []
    keys = [id_text(id, table).alias("content_id"), *collection]
    values = frame.select(*keys, violation.column.alias("value"), *_rules_and_version(frame, table, gold))
    values = values.where(F.col("value").isNotNull() & F.col("content_id").isNotNull())
    names = [name for name in values.columns if name in CONTENT]
    rows = values.select(*names, _decided(violation, table).alias("decided"), "rules", "version").cache()
    try:
        # What is no version's number names no rules, and there may be as many such values as decisions.
        versions = F.collect_set(F.when(F.col("version").rlike(VERSION), F.col("version"))).alias("versions")
        row = rows.agg(F.count_if(F.col("decided").isNull()).alias("unread"), versions).first()
        assert row is not None  # an aggregate without groups has one row
        if row["unread"]:
            raise SourceError(
                f"Decisions in {table} that are neither true nor false: {row['unread']:,}. Write which value of "
                f"{violation.name} means a violation: {violation.option}=\"{violation.sql} = 'VALUE'\"."
            )
        newest = rows
        if gold.version_column is not None:
            by_version = Window.partitionBy(*names).orderBy(F.split("version", r"\.").try_cast("array<int>").desc())
            newest = rows.withColumn("rank", F.rank().over(by_version)).where("rank = 1")
        contents = newest.groupBy(*names).agg(
            F.min("decided").alias("decided"),
            F.max("decided").alias("other"),
            F.bool_or(_names_changed_rule(row["versions"] if gold.rules_column else (), config, policy)).alias(
                "decide_again"
            ),
        )
        if differing := contents.where("decided <> other").count():
            raise SourceError(
                f"Contents in {table} with decisions that differ: {differing:,}. Name a table or view with one "
                "decision per content, for example the one of most people (relabel.gold.location)."
            )
        yield contents.drop("other")
    finally:
        rows.unpersist()


def _rules_and_version(frame: DataFrame, table: str, gold: GoldConfig) -> tuple[Column, Column]:
    rules, version = F.lit(None).cast("array<string>"), F.lit(None).cast("string")
    if gold.rules_column is not None:
        field = read_column(frame, table, gold.rules_column, "relabel.gold.rules_column")
        is_list = isinstance(field.type, T.ArrayType)
        rules = field.column.cast("array<string>") if is_list else F.array(field.column.cast("string"))
    if gold.version_column is not None:
        version = read_column(frame, table, gold.version_column, "relabel.gold.version_column").column.cast("string")
    return rules.alias("rules"), version.alias("version")


def _names_changed_rule(versions: Iterable[str], config: RunConfig, policy: Policy) -> Column:
    """Whether a decision names a rule that a policy version changes, in comparison with the version of the decision."""
    again = F.lit(False)
    for version in versions:
        if rules := _affected(config, policy, version):
            overlaps = F.coalesce(F.arrays_overlap("rules", F.array(*map(F.lit, rules))), F.lit(False))
            again = again | (F.col("version").eqNullSafe(F.lit(version)) & overlaps)
    return again


def _affected(config: RunConfig, policy: Policy, version: str) -> tuple[str, ...]:
    """The rules whose change since a version may make a decision invalid; none if that version is not known."""
    if version == policy.version:
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
