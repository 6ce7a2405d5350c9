"""Count pairs of verdicts of two versions on the same contents. `evaluation.comparison` does the statistics."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from safeguard_spark import schema, views
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import TableError
from safeguard_spark.evaluation.comparison.compare import Comparison, Pair, VerdictKey, compare_pairs
from safeguard_spark.evaluation.comparison.report import ComparisonReport, Example
from safeguard_spark.labelling.content import from_json
from safeguard_spark.labelling.labeler import Labeler, LabelerRef, salted_hash
from safeguard_spark.policy.document import Policy
from safeguard_spark.relabel.coverage import PlanRun, Progress, coverage, progress
from safeguard_spark.relabel.plan import PolicyVersion, RelabelPlan
from safeguard_spark.relabel.rules import rule_changes
from safeguard_spark.relabel.scope import Scope, ScopeKind
from safeguard_spark.result import RunResult
from safeguard_spark.spark.activations import labeler_of, labelers_of
from safeguard_spark.spark.label.job import label_table
from safeguard_spark.spark.label.run import Selection
from safeguard_spark.spark.labels import CONTENT, collection_of, newest_per_content, of_collection, of_version
from safeguard_spark.spark.relabel.human_decisions import human_agreement
from safeguard_spark.spark.relabel.scoped_source import open_scoped
from safeguard_spark.spark.relabel.strata import NO_LABEL, planned_labels, select_sample, strata_of_labels
from safeguard_spark.spark.sampling import sample_score
from safeguard_spark.spark.tables import Tables

NOISE_SALT = "noise"
EXAMPLES = 5  # of each kind and category


def compare_versions(
    spark: SparkSession, config: RunConfig, old: Policy, new: Policy, labeler: str | None = None
) -> ComparisonReport:
    """Compare two versions on the contents labelled under both. Raises TableError if there are none.

    One labeler's labels on each side: of the new version the configured one's, of the old version those that stand for
    it, or those of the `labeler` with this name or start of a hash. So one version may be compared under two labelers.
    """
    tables = Tables.open(spark, config.output)
    with _compared(tables, config, old, new, labeler) as (comparison, compared, sides, plan):
        agreement = (
            human_agreement(spark, config, tables, policy, side.hash)
            for policy, side in zip((old, new), sides.labelers, strict=True)
        )
        unfinished = None if plan is None else _progress(tables, plan)
        return ComparisonReport(
            comparison=comparison,
            plan_id=plan.plan_id if plan else None,
            coverage=coverage(plan, weighted=comparison.weighted, unfinished=unfinished),
            unfinished=unfinished,
            examples=_examples(compared),
            agreement=tuple(measured for measured in agreement if measured is not None),
        )


def compare_verdicts(tables: Tables, config: RunConfig, old: Policy, new: Policy) -> Comparison:
    """The comparison of `compare_versions`, without what else is in its report."""
    with _compared(tables, config, old, new, None) as compared:
        return compared.comparison


class _Side(NamedTuple):
    """A version as one labeler labelled it."""

    policy: PolicyVersion
    labeler: LabelerRef


class _Sides(NamedTuple):
    old: _Side
    new: _Side

    @property
    def labelers(self) -> tuple[LabelerRef, LabelerRef]:
        return self.old.labeler, self.new.labeler


class _Compared(NamedTuple):
    comparison: Comparison
    pairs: DataFrame  # as `_paired` returns them, with `stratum`; cached
    sides: _Sides
    plan: RelabelPlan | None


@contextlib.contextmanager
def _compared(tables: Tables, config: RunConfig, old: Policy, new: Policy, labeler: str | None) -> Iterator[_Compared]:
    collection = collection_of(tables.spark, config)
    labels = of_collection(tables.read(schema.LABELS), collection)
    sides = _sides(tables, config, old, new, labeler)
    plan = _newest_plan(tables, sides, collection)
    sampled = None if plan is None else _sampled(tables, plan)
    if sides.old == sides.new:
        compared, noise = _halves(labels, sides.new)
    else:
        compared = _paired(_verdicts(labels, sides.old), _verdicts(labels, sides.new))
        noise = _labelled_twice(labels, sides.old).unionByName(_labelled_twice(labels, sides.new))
    compared, noise = _with_strata(compared, sampled).cache(), _with_strata(noise, sampled)
    try:
        pairs = _count(compared)
        if not pairs:
            raise TableError(
                f"No content has a label under both {old.ref} (labeler {sides.labelers[0]}) and {new.ref} (labeler "
                f"{sides.labelers[1]}): plan and apply first."
            )
        sizes = None
        if plan is not None and sampled is not None:  # contents without an old label cannot be compared
            sizes = {stratum.name: stratum.size for stratum in plan.scope.strata if stratum.name != NO_LABEL}
        comparison = compare_pairs((old.ref, new.ref), pairs, _count(noise), sizes, rule_changes(old, new))
        comparison = replace(comparison, labelers=(str(sides.labelers[0]), str(sides.labelers[1])))
        yield _Compared(comparison, compared, sides, plan)
    finally:
        compared.unpersist()


def _sides(tables: Tables, config: RunConfig, old: Policy, new: Policy, labeler: str | None) -> _Sides:
    """Whose labels are compared. Raises ConfigError, and TableError if the new side has none."""
    configured = Labeler.of(config, new).ref
    old_labeler = labeler_of(tables, old, Labeler.of(config, old).ref, labeler)
    existing = labelers_of(tables, new)
    if configured not in existing and (existing or old_labeler is None):
        by = f": its labels are by {', '.join(map(str, existing))}, whose configuration shows them" if existing else ""
        raise TableError(
            f"{new.ref} has no labels by the configured labeler {configured}{by}. Otherwise plan and apply first."
        )
    versions = (PolicyVersion(policy.name, policy.version, policy.policy_hash) for policy in (old, new))
    return _Sides(*map(_Side, versions, (old_labeler or configured, configured)))


def _newest_plan(tables: Tables, sides: _Sides, collection: str | None) -> RelabelPlan | None:
    """The newest applied plan from one side to the other: it tells how the compared contents were selected."""
    (old, old_labeler), (new, new_labeler) = sides
    plans = tables.read(schema.PLANS)
    rows = plans if collection is None else plans.where(F.expr(views.COLLECTION) == collection)
    rows = rows.where(
        (F.col("policy") == new.name)
        & (F.col("new_hash") == new.policy_hash)
        & (F.col("labeler_hash") == new_labeler.hash)
        & (F.col("old_hash") == old.policy_hash)
        & (F.coalesce("old_labeler_hash", F.lit(old_labeler.hash)) == old_labeler.hash)
    )
    applied = tables.read(schema.RUNS).select("plan_id").distinct()
    row = rows.join(applied, on="plan_id", how="left_semi").orderBy(F.desc("created_at")).first()
    return None if row is None else RelabelPlan.from_row(row.asDict(recursive=True))


def _sampled(tables: Tables, plan: RelabelPlan) -> DataFrame | None:
    """(collection, content_id, stratum) of the contents a plan sampled, or None if it does not sample."""
    if not plan.scope.kind.uses_labels:
        return None
    scores = strata_of_labels(planned_labels(tables, plan), plan.scope)
    collection = F.lit(plan.collection or plan.source).alias("collection")
    return select_sample(scores, plan.scope).select(collection, "content_id", "stratum")


def _verdicts(labels: DataFrame, side: _Side, salt: str | None = None) -> DataFrame:
    """Each content's newest verdict on a side: (collection, content_id, content_hash, verdict)."""
    rules = F.sort_array(F.coalesce("rule_ids", F.array().cast("array<string>")))
    labeler_hash = salted_hash(side.labeler.hash, salt) if salt else side.labeler.hash
    judged = of_version(labels, side.policy, labeler_hash, salt=salt).where(
        "carried_from IS NULL AND screened_for IS NULL"
    )
    with_verdict = judged.withColumn("verdict", F.struct("violation", "category", rules.alias("rules")))
    return newest_per_content(with_verdict, "content_hash", "verdict")


def _paired(old: DataFrame, new: DataFrame) -> DataFrame:
    """Verdicts on the same content, side by side: (collection, content_id, content_hash, old, new)."""
    columns = [*CONTENT, "content_hash"]
    left = old.withColumnRenamed("verdict", "old").select(*columns, "old")
    return left.join(new.withColumnRenamed("verdict", "new").select(*columns, "new"), on=columns, how="inner")


def _labelled_twice(labels: DataFrame, side: _Side) -> DataFrame:
    """Contents that the same labeler labelled twice under one version."""
    return _paired(_verdicts(labels, side), _verdicts(labels, side, NOISE_SALT))


def _halves(labels: DataFrame, side: _Side) -> tuple[DataFrame, DataFrame]:
    """A version against itself: half of the contents labelled twice to compare, the other half as noise."""
    twice = _labelled_twice(labels, side)
    first_half = sample_score("half") < 0.5
    return twice.where(first_half), twice.where(~first_half)


def _with_strata(pairs: DataFrame, sampled: DataFrame | None) -> DataFrame:
    if sampled is None:
        return pairs.withColumn("stratum", F.lit(""))
    return pairs.join(sampled, on=list(CONTENT), how="inner")


def _count(pairs: DataFrame) -> list[Pair]:
    rows = pairs.groupBy("stratum", "old", "new").count().collect()
    return [Pair(_key(row["old"]), _key(row["new"]), int(row["count"]), row["stratum"]) for row in rows]


def _key(cell: Any) -> VerdictKey:
    return VerdictKey(cell["violation"], cell["category"], tuple(cell["rules"]))


def _progress(tables: Tables, plan: RelabelPlan) -> Progress | None:
    """How far a plan has been applied, according to the runs under its version and labeler."""
    runs = tables.read(schema.RUNS).where(F.col("source") == plan.source)
    same = {"policies": plan.new_ref, "policy_hashes": plan.new_hash, "labeler_hashes": plan.labeler_hash}
    for name, value in same.items():
        runs = runs.where(F.col(name) == F.array(F.lit(value)))
    rows = runs.orderBy("started_at").select(*PlanRun._fields).collect()
    return progress(plan.plan_id, (PlanRun(*row) for row in rows))


def _examples(pairs: DataFrame) -> tuple[Example, ...]:
    """A few flips of each kind and category, the same ones every time."""
    flips = pairs.where(_differs("old", "new")).select(
        "content_id", _verdict_text("old").alias("old"), _verdict_text("new").alias("new")
    )
    rank = F.row_number().over(Window.partitionBy("old", "new").orderBy(sample_score("example"), "content_id"))
    rows = flips.withColumn("rank", rank).where(F.col("rank") <= EXAMPLES).orderBy("old", "new", "rank").collect()
    return tuple(Example(row["content_id"], row["old"], row["new"]) for row in rows)


def _differs(old: str, new: str) -> Column:
    both_safe = F.coalesce(~F.col(f"{old}.violation") & ~F.col(f"{new}.violation"), F.lit(False))
    return ~F.col(old).eqNullSafe(F.col(new)) & ~both_safe


def _verdict_text(side: str) -> Column:
    rules = F.concat(F.lit(" ("), F.array_join(F.col(f"{side}.rules"), ", "), F.lit(")"))
    violation = F.concat(
        F.coalesce(F.col(f"{side}.category"), F.lit("violation")),
        F.when(F.size(F.col(f"{side}.rules")) > 0, rules).otherwise(F.lit("")),
    )
    judged = F.when(F.col(f"{side}.violation"), violation).otherwise(F.lit("none"))
    return F.when(
        F.col(f"{side}.violation").isNull(), F.coalesce(F.col(f"{side}.category"), F.lit("no verdict"))
    ).otherwise(judged)


def with_texts(spark: SparkSession, config: RunConfig, report: ComparisonReport) -> ComparisonReport:
    """The report with the texts of its examples; of a conversation, the last turn."""
    source = open_scoped(spark, config, Scope(kind=ScopeKind.all))
    contents = source.frame.where(F.col("content_id").isin([example.content_id for example in report.examples]))
    text = F.element_at("turns", -1)["text"] if source.payload == "turns" else F.col(source.payload)
    rows = contents.select("content_id", text.cast("string").alias("text")).collect()
    texts = {
        row["content_id"]: (from_json(row["text"]).judged_text if source.payload == "json" else row["text"]) or ""
        for row in rows
    }
    examples = tuple(example._replace(text=texts.get(example.content_id)) for example in report.examples)
    return replace(report, examples=examples)


def label_again(
    spark: SparkSession, config: RunConfig, policy: Policy, share: float, *, show: bool = True
) -> RunResult:
    """Label a share of the contents labelled under a version a second time, to measure how often the labeler disagrees.

    These labels have a salt, and never count.
    """
    tables = Tables.open(spark, config.output)
    labeler = Labeler.of(config, policy)
    labelled = of_version(tables.read(schema.LABELS), policy, labeler.labeler_hash).where(
        "carried_from IS NULL AND screened_for IS NULL"
    )
    source = open_scoped(spark, config, Scope(kind=ScopeKind.all))
    labelled = of_collection(labelled, config.source.collection(source.name))
    selected = labelled.select("content_id", "content_hash").distinct().where(sample_score("again") < share)
    frame = source.frame.join(selected, on=["content_id", "content_hash"], how="left_semi")
    sample = replace(source, frame=frame)
    return label_table(spark, config, [policy], show=show, selection=Selection(sample, salt=NOISE_SALT))
