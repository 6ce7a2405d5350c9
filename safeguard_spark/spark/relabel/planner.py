"""Plan to re-label: what a new version of a policy would cost, counted on the tables as they are."""

from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError
from safeguard_spark.labelling.rows import LabelSpec
from safeguard_spark.policy.document import Policy
from safeguard_spark.relabel.estimate import PastRun, estimate_cost
from safeguard_spark.relabel.plan import PlanReport, RelabelPlan
from safeguard_spark.relabel.rules import RuleChanges, rule_changes
from safeguard_spark.relabel.scope import Scope, ScopeKind
from safeguard_spark.spark.label.dry_run import Cost, cost_of
from safeguard_spark.spark.label.pending import (
    distinct_pending,
    labels_of,
    pending_keys,
    requested_keys,
    reusable_labels,
)
from safeguard_spark.spark.relabel.scoped_source import open_scoped
from safeguard_spark.spark.relabel.strata import TOUCHED, old_labels, plan_strata, select_scope, strata
from safeguard_spark.spark.source import Source, work_key
from safeguard_spark.spark.tables import Tables


@dataclass(frozen=True)
class Question:
    """What a plan is asked: the labels it reads (`old` may be None) and the version to label under."""

    old: Policy | None
    new: Policy
    scope: Scope


def plan_relabel(spark: SparkSession, config: RunConfig, asked: Question) -> PlanReport:
    """Plan, write the plan down, and change nothing else. Raises SafeguardError."""
    tables = Tables.open_existing(spark, config)
    version = tables.version(schema.LABELS)
    labels = tables.read(schema.LABELS, version)
    job = LabelSpec.of(config, asked.new)
    old, changes = asked.old, RuleChanges()
    scope = asked.scope
    if old is not None:
        changes = rule_changes(old, asked.new)
        scope = scope.model_copy(update={"rules": changes.touched, "categories": changes.categories})
    elif scope.kind is ScopeKind.touched:
        raise ConfigError("--scope touched reads the labels of an earlier version: name it with --from VERSION.")
    said = old_labels(labels, asked.new.name, old.version if old else None, old.policy_hash if old else None)
    base = open_scoped(spark, config, scope)
    scope = plan_strata(base, said, scope)
    chosen = select_scope(base, said, scope)
    found = cost_of(config, job, chosen, labels)
    made = _plan_of(asked, scope, base, version, job.labeler.labeler_hash, found)
    narrowed = scope.kind in (ScopeKind.since, ScopeKind.where)
    whole = open_scoped(spark, config, Scope(kind=ScopeKind.all)) if narrowed else base
    unlabelled, others = _others(config, job, whole, said, labels, scope)
    price = config.relabel.price_per_engine_hour
    cost = estimate_cost(made.calls, past_runs(tables, made.labeler_hash), price)
    row = {**made.to_row(cost), "created_at": tables.now()}
    if not tables.read(schema.PLANS).where(F.col("plan_id") == made.plan_id).count():
        tables.append(schema.PLANS, [row], made.plan_id)
    return PlanReport(
        plan=made, changes=changes, cost=cost, unlabelled=unlabelled, others=others, currency=config.relabel.currency
    )


def _plan_of(asked: Question, scope: Scope, base: Source, version: int, labeler_hash: str, found: Cost) -> RelabelPlan:
    old, new = asked.old, asked.new
    return RelabelPlan(
        policy=new.name,
        old_version=old.version if old else None,
        old_hash=old.policy_hash if old else None,
        new_version=new.version,
        new_hash=new.policy_hash,
        labeler_hash=labeler_hash,
        scope=scope,
        source=base.name,
        source_version=base.version,
        labels_version=version,
        rows=found.rows,
        pending=found.pending,
        calls=found.calls,
        prompt_tokens=found.prompt_tokens,
    )


def _others(
    config: RunConfig, job: LabelSpec, whole: Source, said: DataFrame, labels: DataFrame, scope: Scope
) -> tuple[int, dict[str, tuple[int, int]]]:
    """Contents without a label under the new version; contents and distinct ones without a verdict of other scopes."""
    touched = scope.model_copy(update={"kind": ScopeKind.touched})
    # Up to which draw a stratum belongs to `touched`; without an old version nothing does.
    drawn = strata(whole.frame.select("content_id").distinct(), said, touched).select(
        "content_id", ((F.col("stratum") == TOUCHED) | (F.col("draw") < touched.share)).alias("touched")
    )
    known, asked = labels_of(labels, job), requested_keys(whole, config.source.limit)
    keys = distinct_pending(pending_keys(asked, known, job, config.run.max_attempts), known, job).select(
        "content_id", "content_hash"
    )
    spoken = reusable_labels(labels, job).select("work_key").distinct().withColumn("spoken", F.lit(True))
    joined = (
        asked.join(keys.withColumn("open", F.lit(True)), on=["content_id", "content_hash"], how="left")
        .withColumn("work_key", work_key(job.policy.policy_hash, job.labeler.labeler_hash))
        .join(spoken, on="work_key", how="left")
        .join(drawn, on="content_id", how="left")
    )
    new = F.when(F.col("open") & F.col("spoken").isNull(), F.col("work_key"))
    row = joined.agg(
        F.count(F.lit(1)).alias("rows"),
        F.count_if("open").alias("open"),
        F.count_distinct(new).alias("calls"),
        F.count_if("touched").alias("touched_rows"),
        F.count_distinct(F.when(F.col("touched"), new)).alias("touched_calls"),
    ).first()
    assert row is not None  # an aggregate without groups has one row
    found = {"all": (row["rows"], row["calls"])} if scope.kind is not ScopeKind.all else {}
    if scope.kind is not ScopeKind.touched and scope.rules:
        found[str(touched)] = (row["touched_rows"], row["touched_calls"])
    return row["open"], found


def past_runs(tables: Tables, labeler_hash: str) -> list[PastRun]:
    """Runs of exactly this labeler that made calls, the newest first."""
    runs = tables.read(schema.RUNS).where(F.array_distinct("labeler_hashes") == F.array(F.lit(labeler_hash)))
    rows = runs.where("calls > 0 AND seconds IS NOT NULL").orderBy(F.desc("started_at"))
    found = rows.select("calls", "seconds", "tokens", "engine_starts").limit(200).collect()
    return [PastRun(row[0], row[1].get("label", 0.0), row[2].get("completion", 0), row[3] or 1) for row in found]
