"""Count what two versions said of the same contents. The rest is `safeguard_spark.evaluation.comparison`."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import TableError
from safeguard_spark.evaluation.comparison.compare import Comparison, Pair, VerdictKey, compare_pairs
from safeguard_spark.labelling.labeler import Labeler
from safeguard_spark.policy.document import Policy
from safeguard_spark.relabel.coverage import PlanRun, Progress, coverage, progress
from safeguard_spark.relabel.plan import RelabelPlan
from safeguard_spark.relabel.rules import rule_changes
from safeguard_spark.relabel.scope import Scope, ScopeKind
from safeguard_spark.result import RunResult
from safeguard_spark.spark.filters import open_scoped
from safeguard_spark.spark.label.job import label_table
from safeguard_spark.spark.label.run import Selection
from safeguard_spark.spark.relabel.gold import GoldMeasures, gold_measures
from safeguard_spark.spark.relabel.strata import NO_LABEL, labels_at, old_labels, strata
from safeguard_spark.spark.sampling import draw
from safeguard_spark.spark.source import Source
from safeguard_spark.spark.tables import Tables

SAID = ("violation", "category", "rules")
NOISE_SALT = "noise"
EXAMPLES = 5  # of each kind and category


class Example(NamedTuple):
    """A content both versions judged, and how."""

    content_id: str
    old: str
    new: str


class Compared(NamedTuple):
    """A comparison with examples of its flips."""

    comparison: Comparison
    plan_id: str | None
    coverage: str
    unfinished: Progress | None
    examples: tuple[Example, ...]
    gold: tuple[GoldMeasures, ...] = ()  # of the old version, then of the new one, where people decided


def compare_versions(spark: SparkSession, config: RunConfig, old: Policy, new: Policy) -> Compared:
    """Compare two versions on the contents labelled under both. Raises TableError if there are none."""
    tables = Tables.open_existing(spark, config)
    labels = tables.read(schema.LABELS)
    plan = _newest_plan(tables, old, new)
    by_id = None if plan is None else _drawn(tables, plan)
    if old.policy_hash == new.policy_hash and old.version == new.version:
        real, again = _halves(labels, new)
    else:
        real = _joined(_verdicts(labels, old), _verdicts(labels, new))
        again = _twice(labels, old).unionByName(_twice(labels, new))
    real, again = _in_strata(real, by_id).cache(), _in_strata(again, by_id)
    try:
        pairs = _count(real)
        if not pairs:
            raise TableError(f"No content has a label under both {old.ref} and {new.ref}: plan and apply first.")
        sizes = None if plan is None or by_id is None else _sizes(plan)
        found = compare_pairs((old.ref, new.ref), pairs, _count(again), sizes, rule_changes(old, new))
        measured = tuple(m for policy in (old, new) if (m := gold_measures(spark, config, tables, policy)) is not None)
        unfinished = None if plan is None else _progress(tables, plan)
        said = coverage(plan, weighted=found.weighted, unfinished=unfinished)
        return Compared(found, plan.plan_id if plan else None, said, unfinished, _examples(real), measured)
    finally:
        real.unpersist()


def _newest_plan(tables: Tables, old: Policy, new: Policy) -> RelabelPlan | None:
    """The newest plan from one version to the other that was applied: it says how the contents compared were chosen."""
    rows = tables.read(schema.PLANS).where(
        (F.col("policy") == new.name) & (F.col("new_hash") == new.policy_hash) & (F.col("old_hash") == old.policy_hash)
    )
    applied = tables.read(schema.RUNS).select("plan_id").distinct()
    row = rows.join(applied, on="plan_id", how="left_semi").orderBy(F.desc("created_at")).first()
    return None if row is None else RelabelPlan.from_row(row.asDict(recursive=True))


def _drawn(tables: Tables, plan: RelabelPlan) -> DataFrame | None:
    """(content_id, stratum) of what a plan drew, or None if it drew nothing by chance."""
    if not plan.scope.kind.by_label:
        return None
    said = old_labels(labels_at(tables, plan.labels_version), plan.policy, plan.old_version, plan.old_hash)
    ids = said.select("content_id")
    up_to = F.lit(0.0)
    for stratum in plan.scope.strata:
        up_to = F.when(F.col("stratum") == stratum.name, F.lit(stratum.up_to)).otherwise(up_to)
    return strata(ids, said, plan.scope).where(F.col("draw") < up_to).select("content_id", "stratum")


def _sizes(plan: RelabelPlan) -> dict[str, int]:
    """Contents the strata stand for; those without an old label cannot be compared."""
    return {stratum.name: stratum.size for stratum in plan.scope.strata if stratum.name != NO_LABEL}


def _verdicts(labels: DataFrame, policy: Policy, *, salted: bool = False) -> DataFrame:
    """Each content's newest verdict under a version: (content_id, content_hash, labeler, said)."""
    mine = labels.where(
        (F.col("policy") == policy.name)
        & (F.col("policy_version") == policy.version)
        & (F.col("policy_hash") == policy.policy_hash)
        & (F.col("salt").isNotNull() if salted else F.col("salt").isNull())
        & F.col("carried_from").isNull()
    )
    rules = F.sort_array(F.coalesce("rule_ids", F.array().cast("array<string>")))
    said = F.struct("content_hash", "labeler", "violation", "category", rules.alias("rules"))
    newest = F.max_by(said, F.struct("labelled_at", "attempt", "run_id", "chunk", "work_key"))
    keys = ["content_id", "salt"] if salted else ["content_id"]
    found = mine.groupBy(*keys).agg(newest.alias("said"))
    return found.select(
        "content_id", "said.content_hash", "said.labeler", F.struct(*(F.col(f"said.{n}") for n in SAID)).alias("said")
    )


def _joined(one: DataFrame, other: DataFrame, *keys: str) -> DataFrame:
    left = one.withColumnRenamed("said", "old")
    right = other.withColumnRenamed("said", "new")
    named = ["content_id", "content_hash", *keys]
    return left.select(*named, "old").join(right.select(*named, "new"), on=named, how="inner")


def _twice(labels: DataFrame, policy: Policy) -> DataFrame:
    """Contents one labeler labelled twice under one version."""
    first, second = _verdicts(labels, policy), _verdicts(labels, policy, salted=True)
    return _joined(first, second, "labeler").drop("labeler")


def _halves(labels: DataFrame, policy: Policy) -> tuple[DataFrame, DataFrame]:
    """A version against itself: half of what was labelled twice as flips, the other half as noise."""
    both = _twice(labels, policy)
    half = draw("half") < 0.5
    return both.where(half), both.where(~half)


def _in_strata(pairs: DataFrame, by_id: DataFrame | None) -> DataFrame:
    if by_id is None:
        return pairs.withColumn("stratum", F.lit(""))
    return pairs.join(by_id, on="content_id", how="inner")


def _count(pairs: DataFrame) -> list[Pair]:
    rows = pairs.groupBy("stratum", "old", "new").count().collect()
    return [Pair(_said(row["old"]), _said(row["new"]), int(row["count"]), row["stratum"]) for row in rows]


def _said(cell: Any) -> VerdictKey:
    return VerdictKey(cell["violation"], cell["category"], tuple(cell["rules"]))


def _progress(tables: Tables, plan: RelabelPlan) -> Progress | None:
    """How far a plan has been applied, as the runs say that labelled as it does."""
    asked = (F.col("policy_hashes") == F.array(F.lit(plan.new_hash))) & (
        F.col("labeler_hashes") == F.array(F.lit(plan.labeler_hash))
    )
    rows = tables.read(schema.RUNS).where(asked).orderBy("started_at").select(*PlanRun._fields).collect()
    return progress(plan.plan_id, (PlanRun(*row) for row in rows))


def _examples(pairs: DataFrame) -> tuple[Example, ...]:
    """A few flips of each kind and category, the same ones every time."""
    flips = pairs.where(_differs("old", "new"))
    shown = flips.withColumn("was", _word("old")).withColumn("is", _word("new"))
    place = F.row_number().over(Window.partitionBy("was", "is").orderBy(draw("example"), "content_id"))
    rows = shown.withColumn("place", place).where(F.col("place") <= EXAMPLES).orderBy("was", "is", "place").collect()
    return tuple(Example(row["content_id"], row["was"], row["is"]) for row in rows)


def _differs(old: str, new: str) -> Column:
    both_safe = F.coalesce(~F.col(f"{old}.violation") & ~F.col(f"{new}.violation"), F.lit(False))
    return ~F.col(old).eqNullSafe(F.col(new)) & ~both_safe


def _word(side: str) -> Column:
    rules = F.concat(F.lit(" ("), F.array_join(F.col(f"{side}.rules"), ", "), F.lit(")"))
    named = F.concat(
        F.coalesce(F.col(f"{side}.category"), F.lit("violation")),
        F.when(F.size(F.col(f"{side}.rules")) > 0, rules).otherwise(F.lit("")),
    )
    judged = F.when(F.col(f"{side}.violation"), named).otherwise(F.lit("none"))
    return F.when(F.col(f"{side}.violation").isNull(), F.lit("no verdict")).otherwise(judged)


def texts(spark: SparkSession, config: RunConfig, examples: Sequence[Example]) -> dict[str, str]:
    """The contents of examples, by id, for whoever asked to see them."""
    source = open_scoped(spark, config, Scope(kind=ScopeKind.all))
    wanted = source.frame.where(F.col("content_id").isin([example.content_id for example in examples]))
    cell = F.col(source.payload) if source.payload == "text" else F.element_at(source.payload, -1)["text"]
    rows = wanted.select("content_id", cell.cast("string").alias("text")).collect()
    return {row["content_id"]: row["text"] or "" for row in rows}


def label_again(
    spark: SparkSession, config: RunConfig, policy: Policy, share: float, *, show: bool = True
) -> RunResult:
    """Label a share of what a version has labelled once more, apart, to see how often the labeler disagrees."""
    tables = Tables.open_existing(spark, config)
    labeler = Labeler.of(config, policy)
    known = tables.read(schema.LABELS).where(
        (F.col("policy_version") == policy.version)
        & (F.col("policy_hash") == policy.policy_hash)
        & (F.col("labeler_hash") == labeler.labeler_hash)
        & F.col("carried_from").isNull()
    )
    chosen = known.select("content_id", "content_hash").distinct().where(draw("again") < share)
    source = open_scoped(spark, config, Scope(kind=ScopeKind.all))
    frame = source.frame.join(chosen, on=["content_id", "content_hash"], how="left_semi")
    narrowed = Source(source.name, source.version, source.payload, frame)
    salted = config.model_copy(update={"labeler": config.labeler.model_copy(update={"salt": NOISE_SALT})})
    return label_table(spark, salted, [policy], show=show, selection=Selection(narrowed))
