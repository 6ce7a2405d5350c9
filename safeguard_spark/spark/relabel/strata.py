"""Strata on Spark: the contents of a scope. The same tables and scope always select the same contents."""

from collections.abc import Mapping
from dataclasses import replace

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from safeguard_spark.policy.document import Policy
from safeguard_spark.relabel.plan import PolicyVersion, RelabelPlan
from safeguard_spark.relabel.scope import Scope, ScopeKind, Stratum, allocate
from safeguard_spark.spark.commit_log import labels_at
from safeguard_spark.spark.labels import newest_per_content, of_collection, of_version
from safeguard_spark.spark.sampling import DISTINCT_SCORES, sample_score
from safeguard_spark.spark.screens import find_screen
from safeguard_spark.spark.source import Source
from safeguard_spark.spark.tables import Tables

OLD_COLUMNS = ("outcome", "violation", "category", "rule_ids", "screen", "screened_for")
AFFECTED, REST, NO_LABEL = "touched", "rest", "no label"  # as plans store them


def select_scope(source: Source, old: DataFrame, scope: Scope) -> Source:
    """The contents that a planned scope selects. `old` are labels as `old_labels` returns them."""
    if scope.kind is ScopeKind.screened_by:
        cleared = old.where((F.col("screen") == scope.screen) & F.col("screened_for").isNotNull())
        return replace(source, frame=source.frame.join(cleared.select("content_id"), on="content_id", how="left_semi"))
    if not scope.kind.uses_labels:
        return source
    sample = select_sample(strata(source.frame.select("content_id").distinct(), old, scope), scope)
    return replace(source, frame=source.frame.join(sample.select("content_id"), on="content_id", how="left_semi"))


def select_sample(scores: DataFrame, scope: Scope) -> DataFrame:
    """The rows of `strata` whose sample score is below the threshold of their stratum."""
    thresholds = {stratum.name: stratum.sample_threshold for stratum in scope.strata}
    return scores.where(F.col("sample_score") < _by_stratum(thresholds))


def plan_strata(source: Source, old: DataFrame, scope: Scope) -> Scope:
    """The scope with its strata, counted in these tables."""
    if not scope.kind.uses_labels:
        return scope
    scores = strata(source.frame.select("content_id").distinct(), old, scope).cache()
    try:
        sizes = _count_by_stratum(scores)
        if scope.kind is ScopeKind.touched:
            thresholds = {AFFECTED: 1.0, REST: scope.share}
        else:
            thresholds = _thresholds(scores, sizes, allocate(sizes, scope.size or 0))
        sampled = _count_by_stratum(scores.where(F.col("sample_score") < _by_stratum(thresholds)))
    finally:
        scores.unpersist()
    planned = tuple(
        Stratum(name=name, size=sizes.get(name, 0), sampled=sampled.get(name, 0), sample_threshold=thresholds[name])
        for name in sorted(thresholds)
    )
    return scope.model_copy(update={"strata": planned})


def _count_by_stratum(scores: DataFrame) -> dict[str, int]:
    return {row["stratum"]: int(row["count"]) for row in scores.groupBy("stratum").count().collect()}


def _by_stratum(values: Mapping[str, float | int]) -> Column:
    """The value of a row's stratum, or 0 for another stratum."""
    column = F.lit(0)
    for name, value in values.items():
        column = F.when(F.col("stratum") == name, F.lit(value)).otherwise(column)
    return column


def strata(ids: DataFrame, old: DataFrame, scope: Scope) -> DataFrame:
    """(content_id, stratum, sample_score), one row for each id. The score is from 0 to 1."""
    return strata_of_labels(ids.join(old, on="content_id", how="left"), scope)


def strata_of_labels(old: DataFrame, scope: Scope) -> DataFrame:
    """`strata` of the ids that have a label. `old` are labels as `old_labels` returns them."""
    return old.select("content_id", _stratum(scope).alias("stratum"), sample_score(scope.seed).alias("sample_score"))


def old_labels(
    labels: DataFrame, old: Policy | PolicyVersion | None, labeler_hash: str | None, collection: str
) -> DataFrame:
    """The id of each content with its newest label under a version (`OLD_COLUMNS`); none for None.

    Those of a collection, by a labeler or by any for None.
    """
    rows = labels.limit(0) if old is None else of_version(labels, old, labeler_hash)
    newest = newest_per_content(of_collection(rows, collection), *OLD_COLUMNS)
    return newest.drop("collection")


def planned_labels(tables: Tables, plan: RelabelPlan) -> DataFrame:
    """`old_labels` as they were when the plan was made, less what was erased since. Raises TableError."""
    labels = labels_at(tables, plan.labels_version)
    return old_labels(labels, plan.old, plan.old_labeler_hash, plan.collection or plan.source)


def rejudged(tables: Tables, scope: Scope) -> tuple[str, ...]:
    """The hashes of the screens whose contents a scope selects, to be judged by the labeler. Raises ConfigError."""
    return (find_screen(tables, str(scope.screen)).screen_hash,) if scope.kind is ScopeKind.screened_by else ()


def _stratum(scope: Scope) -> Column:
    if scope.kind is ScopeKind.touched:
        rules = F.array(*(F.lit(rule) for rule in scope.rules)).cast("array<string>")
        without_rule = F.size(F.coalesce("rule_ids", F.array().cast("array<string>"))) == 0
        by_rule = F.arrays_overlap("rule_ids", rules)
        # A label without a rule is affected by a change of its category; one without both, by any change.
        any_category = F.col("category").isNull() & F.lit(bool(scope.rules))
        by_category = F.col("violation") & without_rule & (F.col("category").isin(*scope.categories) | any_category)
        affected = F.coalesce(by_rule, F.lit(False)) | F.coalesce(by_category, F.lit(False))
        return F.when(affected, F.lit(AFFECTED)).otherwise(F.lit(REST))
    verdict = F.when(F.col("violation"), F.coalesce("category", F.lit("violation"))).otherwise(
        F.when(F.col("violation").isNull(), F.col("outcome")).otherwise(F.lit("none"))
    )
    return F.coalesce(verdict, F.lit(NO_LABEL))


def _thresholds(scores: DataFrame, sizes: dict[str, int], counts: dict[str, int]) -> dict[str, float]:
    """The sample threshold at which each stratum yields its count of contents."""
    # Only the lowest scores are sorted: a few more than are needed, as the scores are uniform.
    bounds = {name: (count + 6 * count**0.5 + 10) / sizes[name] for name, count in counts.items()}
    rank = F.row_number().over(Window.partitionBy("stratum").orderBy("sample_score", "content_id"))
    lowest = scores.where(F.col("sample_score") < _by_stratum(bounds)).withColumn("rank", rank)
    last = lowest.where(F.col("rank") == _by_stratum(counts)).collect()
    # Half a step above the last sampled score.
    thresholds = {row["stratum"]: float(row["sample_score"]) + 0.5 / DISTINCT_SCORES for row in last}
    return {name: 1.0 if counts[name] == sizes[name] else thresholds.get(name, 0.0) for name in counts}
