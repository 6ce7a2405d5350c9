"""Checks on Spark: a part of a set labelled by another text, and compared with the verdicts of the policy itself."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from safeguard_spark.evaluation.checks import MAX_CONTENTS, Check, checked_policy
from safeguard_spark.evaluation.intervals import wilson
from safeguard_spark.evaluation.result import CheckResult
from safeguard_spark.policy.document import Policy
from safeguard_spark.spark.evaluation.gold import Gold
from safeguard_spark.spark.source import open_source


def part_of(gold: Gold) -> Gold:
    """At most `MAX_CONTENTS` contents of a set, the same ones every time, in no order that means anything."""
    frame = gold.contents.frame.orderBy(F.xxhash64("content_id"), "content_id").limit(MAX_CONTENTS)
    return replace(gold, contents=replace(gold.contents, frame=frame))


def compared(gold: Gold, policy: Policy, check: Check, own: DataFrame, other: DataFrame) -> CheckResult:
    """What a check shows, from the verdicts by the policy itself and by the check's text.

    Both frames have content_id and violation. Contents with an unreadable answer are left out.
    """
    second = other.select("content_id", F.col("violation").alias("second"))
    both = own.join(second, on="content_id", how="inner").where("violation IS NOT NULL AND second IS NOT NULL")
    is_hit = F.col("second") if check is Check.off_topic else F.col("second") != F.col("violation")
    row = both.agg(F.count_if(is_hit).alias("hits"), F.count(F.lit(1)).alias("n")).first()
    assert row is not None  # an aggregate without groups has one row
    words = {
        Check.off_topic: "are flagged by a policy about something else (nearly none should be)",
        Check.steerability: "flip when the policy is turned round (nearly all should)",
        Check.rule_order: "flip when the rules are in the opposite order (nearly none should)",
    }
    return _result(gold, policy, check, row["hits"], row["n"], words[check])


def changed_contents(spark: SparkSession, gold: Gold) -> tuple[int, int]:
    """How many contents change when every column that holds answers is emptied, and of how many.

    That is of the set, whatever the policy. No model is called.
    """
    manifest = gold.golden_set.manifest
    expressions = [*manifest.mapping.values(), *manifest.rules.values(), *manifest.categories.values()]

    def without_answers(frame: DataFrame) -> DataFrame:
        rows = gold.filtered(frame)
        names = {name for name in frame.columns for text in expressions if re.search(rf"\b{re.escape(name)}\b", text)}
        kinds = {field.name: field.dataType for field in frame.schema if field.name in names - {manifest.id_column}}
        return rows.withColumns({name: F.lit(None).cast(kind) for name, kind in kinds.items()}) if kinds else rows

    blind = open_source(spark, gold.config, version=gold.contents.version, row_filter=without_answers).frame
    blind = blind.select("content_id", F.col("content_hash").alias("blind"))
    joined = gold.contents.frame.select("content_id", "content_hash").join(blind, on="content_id", how="inner")
    row = joined.agg(F.count_if(F.expr("blind <> content_hash")), F.count(F.lit(1))).first()
    assert row is not None  # an aggregate without groups has one row
    return row[0], row[1]


def _result(gold: Gold, policy: Policy, check: Check, hits: int, n: int, words: str) -> CheckResult:
    low, high = wilson(hits / n, n) if n else (None, None)
    share = f", {hits / n:.1%} ({low:.1%} to {high:.1%})" if n else ""
    return CheckResult(
        set=gold.golden_set.manifest.ref,
        policy=policy.name,
        check=check.value,
        value=hits / n if n else None,
        low=low,
        high=high,
        n=n,
        sentence=f"{hits:,} of {n:,} contents{share} {words}",
    )


def run_check(
    spark: SparkSession,
    gold: Gold,
    check: Check,
    verdicts: Sequence[DataFrame],
    label: Callable[[Gold, Policy], DataFrame],
) -> list[CheckResult]:
    """One check of each of the set's policies, which gave `verdicts`. `label` labels a set by a text and reads that."""
    if check is Check.label_blindness:
        hits, n = changed_contents(spark, gold)
        words = "have another prompt when people's answers are taken away (none may)"
        return [_result(gold, policy, check, hits, n, words) for policy in gold.policies]
    part = part_of(gold)
    return [
        compared(gold, policy, check, own, label(part, checked_policy(policy, check)))
        for policy, own in zip(gold.policies, verdicts, strict=True)
    ]
