"""Calibration items: contents of a golden set, whose answer is known, hidden among what people judge."""

import contextlib

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import PolicyError
from safeguard_spark.evaluation.sets import GoldenSet
from safeguard_spark.policy.document import Policy
from safeguard_spark.relabel.rules import RuleChanges, rule_changes
from safeguard_spark.spark.evaluation.gold import Gold, open_gold
from safeguard_spark.spark.sampling import sample_score
from safeguard_spark.tracking.registry import resolve


def open_known(spark: SparkSession, config: RunConfig, golden_set: GoldenSet, policy: Policy) -> Gold:
    """A golden set with its answers for a policy. Raises ConfigError if it has none for it, SourceError.

    An answer that names a rule which the policy has changed since people decided is unknown.
    """
    golden_set.manifest.answers_for([policy.name])
    changes, version = dict[str, RuleChanges](), golden_set.manifest.decided_under.get(policy.name)
    if version not in (None, policy.version):
        with contextlib.suppress(PolicyError):  # as in an evaluation: what changed since then is unknown
            changes[policy.name] = rule_changes(resolve(f"{policy.name}@{version}", config), policy)
    return open_gold(spark, golden_set, [policy], changes=changes)


def known_contents(gold: Gold, seed: str) -> DataFrame:
    """(collection, content_id, content_hash, known_violation, known_rule_ids, position) of the known answers.

    By `position` violations and safe contents take turns: reviewers' recall needs violations, which are rare.
    """
    expected, rules = F.col("p0.expected").alias("known_violation"), F.col("p0.rules").alias("known_rule_ids")
    answers = gold.answers.select("content_id", expected, rules).where("known_violation IS NOT NULL")
    contents = gold.contents.frame.select(F.lit(gold.config.name).alias("collection"), "content_id", "content_hash")
    alike = Window.partitionBy("known_violation").orderBy(sample_score(seed), "content_id")
    known = contents.join(answers, on="content_id", how="inner")
    return known.withColumn("position", F.row_number().over(alike))
