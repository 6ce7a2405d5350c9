"""Rows of `labels`: those of a collection, of a policy version and a labeler, and the newest of each content."""

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from safeguard_spark import views
from safeguard_spark.config.model import RunConfig
from safeguard_spark.policy.document import Policy
from safeguard_spark.relabel.plan import PolicyVersion
from safeguard_spark.spark.files import Files
from safeguard_spark.spark.source import is_path

CONTENT = ("collection", "content_id")  # what a content is known by


def collection_of(spark: SparkSession, config: RunConfig) -> str | None:
    """The collection of the configured source, which is not read; None if no source is configured."""
    location = config.source.location
    if location is None:
        return config.source.name
    return config.source.collection(Files(spark, location).qualified() if is_path(location) else location)


def stands_for() -> Column:
    """The hash of the labeler that a label is by, or whose call a screen spared."""
    return F.coalesce("screened_for", "labeler_hash")


def of_collection(labels: DataFrame, collection: str | None) -> DataFrame:
    """The labels of a collection, or of all for None."""
    return labels if collection is None else labels.where(F.col("collection") == collection)


def golden_collections(evaluations: DataFrame, collection: str | None) -> DataFrame:
    """The collections of golden sets, which evaluations label: (collection), by the rows of `evaluations`.

    `collection` is the configured source's: it is a platform's, though a set may have the same name.
    """
    sets = evaluations.select(F.substring_index("golden_set", "@", 1).alias("collection")).distinct()
    return sets if collection is None else sets.where(F.col("collection") != collection)


def of_version(
    labels: DataFrame, policy: Policy | PolicyVersion, labeler_hash: str | None = None, salt: str | None = None
) -> DataFrame:
    """The labels of exactly this policy text under this version by a labeler, or by any for None.

    Those that count, or those with a salt. What a screen cleared in a labeler's place is among that labeler's.
    """
    rows = labels if labeler_hash is None else labels.where(stands_for() == labeler_hash)
    return rows.where(
        (F.col("policy") == policy.name)
        & (F.col("policy_version") == policy.version)
        & (F.col("policy_hash") == policy.policy_hash)
        & F.col("salt").eqNullSafe(F.lit(salt))
    )


def newest_per_content(labels: DataFrame, *columns: str) -> DataFrame:
    """(collection, content_id, *columns) of each content's newest label, by the order that `labels_current` uses."""
    newest = F.max_by(F.struct(*columns), F.struct(*views.NEWEST)).alias("newest")
    return labels.groupBy(*CONTENT).agg(newest).select(*CONTENT, "newest.*")
