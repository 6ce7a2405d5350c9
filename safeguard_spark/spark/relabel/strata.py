"""Scope on Spark: the contents a re-labelling is about, found again whenever it is asked for."""

from dataclasses import replace

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.relabel.scope import Scope, ScopeKind, Stratum, allocate
from safeguard_spark.spark.sampling import DISTINCT_SCORES, sample_score
from safeguard_spark.spark.source import Source
from safeguard_spark.spark.tables import Tables

TOUCHED, REST, NO_LABEL = "touched", "rest", "no label"


def select_scope(source: Source, old: DataFrame, scope: Scope) -> Source:
    """The contents a planned scope draws. `old` are the labels `old_labels` gives."""
    if not scope.kind.by_label:
        return source
    drawn = strata(source.frame.select("content_id").distinct(), old, scope)
    up_to = F.lit(0.0)
    for stratum in scope.strata:
        up_to = F.when(F.col("stratum") == stratum.name, F.lit(stratum.up_to)).otherwise(up_to)
    chosen = drawn.where(F.col("draw") < up_to).select("content_id")
    return replace(source, frame=source.frame.join(chosen, on="content_id", how="left_semi"))


def plan_strata(source: Source, old: DataFrame, scope: Scope) -> Scope:
    """The scope with its strata as they are in these tables."""
    if not scope.kind.by_label:
        return scope
    drawn = strata(source.frame.select("content_id").distinct(), old, scope).cache()
    try:
        sizes = {row["stratum"]: int(row["count"]) for row in drawn.groupBy("stratum").count().collect()}
        if scope.kind is ScopeKind.touched:
            up_to = {TOUCHED: 1.0, REST: scope.share}
        else:
            up_to = _thresholds(drawn, sizes, allocate(sizes, scope.size or 0))
        bound = F.lit(0.0)
        for name, value in up_to.items():
            bound = F.when(F.col("stratum") == name, F.lit(value)).otherwise(bound)
        rows = drawn.where(F.col("draw") < bound).groupBy("stratum").count().collect()
        taken = {row["stratum"]: int(row["count"]) for row in rows}
    finally:
        drawn.unpersist()
    found = [
        Stratum(name=name, size=sizes.get(name, 0), taken=taken.get(name, 0), up_to=up_to[name])
        for name in sorted(up_to)
    ]
    return scope.model_copy(update={"strata": tuple(found)})


def strata(ids: DataFrame, old: DataFrame, scope: Scope) -> DataFrame:
    """(content_id, stratum, draw) of ids; every id has exactly one row."""
    joined = ids.join(old, on="content_id", how="left")
    return joined.select("content_id", _stratum(scope).alias("stratum"), sample_score(scope.seed).alias("draw"))


def old_labels(labels: DataFrame, policy: str, version: str | None, policy_hash: str | None) -> DataFrame:
    """(content_id, outcome, violation, category, rule_ids) of each id's newest label under a version."""
    mine = labels.where(
        (F.col("policy") == policy)
        & (F.col("policy_version") == F.lit(version))
        & (F.col("policy_hash") == F.lit(policy_hash))
        & F.col("salt").isNull()
    )
    names = ["outcome", "violation", "category", "rule_ids"]
    newest = F.max_by(F.struct(*names), F.struct("labelled_at", "attempt", "run_id", "chunk", "work_key"))
    return mine.groupBy("content_id").agg(newest.alias("said")).select("content_id", "said.*")


def labels_at(tables: Tables, version: int) -> DataFrame:
    """The labels a plan was made on; if that version is gone (vacuumed, erased), those of now."""
    try:
        frame = tables.read(schema.LABELS, version)
        frame.limit(1).collect()
    except Exception:  # Delta's own errors come as several kinds
        return tables.read(schema.LABELS)
    return frame


def _stratum(scope: Scope) -> Column:
    if scope.kind is ScopeKind.touched:
        rules = F.array(*(F.lit(rule) for rule in scope.rules)).cast("array<string>")
        unnamed = F.size(F.coalesce("rule_ids", F.array().cast("array<string>"))) == 0
        by_rule = F.arrays_overlap("rule_ids", rules)
        # An answer that names no rule is touched by its category, and one that names nothing by any change.
        any_category = F.col("category").isNull() & F.lit(bool(scope.rules))
        by_category = F.col("violation") & unnamed & (F.col("category").isin(*scope.categories) | any_category)
        touched = F.coalesce(by_rule, F.lit(False)) | F.coalesce(by_category, F.lit(False))
        return F.when(touched, F.lit(TOUCHED)).otherwise(F.lit(REST))
    said = F.when(F.col("violation"), F.coalesce("category", F.lit("violation"))).otherwise(
        F.when(F.col("violation").isNull(), F.col("outcome")).otherwise(F.lit("none"))
    )
    return F.coalesce(said, F.lit(NO_LABEL))


def _thresholds(drawn: DataFrame, sizes: dict[str, int], take: dict[str, int]) -> dict[str, float]:
    """Up to which draw each stratum gives so many contents."""
    # Only the lowest draws are sorted: a few more than are taken, as the draws are even.
    enough = {name: (count + 6 * count**0.5 + 10) / sizes[name] for name, count in take.items()}
    bound = F.lit(0.0)
    wanted = F.lit(0)
    for name, count in take.items():
        bound = F.when(F.col("stratum") == name, F.lit(enough[name])).otherwise(bound)
        wanted = F.when(F.col("stratum") == name, F.lit(count)).otherwise(wanted)
    place = F.row_number().over(Window.partitionBy("stratum").orderBy("draw", "content_id"))
    last = drawn.where(F.col("draw") < bound).withColumn("place", place).where(F.col("place") == wanted)
    found = {row["stratum"]: float(row["draw"]) + 0.5 / DISTINCT_SCORES for row in last.collect()}
    return {name: 1.0 if take[name] == sizes[name] else found.get(name, 0.0) for name in take}
