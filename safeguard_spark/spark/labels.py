"""Rows of `labels`: those of one policy version, and the newest of each content."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.policy.document import Policy
from safeguard_spark.relabel.plan import PolicyVersion


def of_version(labels: DataFrame, policy: Policy | PolicyVersion, salt: str | None = None) -> DataFrame:
    """The labels of exactly this policy text under this version: those that count, or those with a salt."""
    return labels.where(
        (F.col("policy") == policy.name)
        & (F.col("policy_version") == policy.version)
        & (F.col("policy_hash") == policy.policy_hash)
        & F.col("salt").eqNullSafe(F.lit(salt))
    )


def newest_per_content(labels: DataFrame, *columns: str) -> DataFrame:
    """(content_id, *columns) of each content's newest label, by the order that `labels_current` uses."""
    newest = F.max_by(F.struct(*columns), F.struct(*schema.NEWEST)).alias("newest")
    return labels.groupBy("content_id").agg(newest).select("content_id", "newest.*")
