"""Plan to re-label: what a new version of a policy would cost, counted on the tables as they are."""

from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from safeguard_spark import relabel_estimate, schema
from safeguard_spark.config import RunConfig
from safeguard_spark.errors import ConfigError, TableError
from safeguard_spark.labeler import Labeler
from safeguard_spark.labelling import Job
from safeguard_spark.policy import Policy
from safeguard_spark.relabel_estimate import PastRun
from safeguard_spark.relabel_plan import Planned, RelabelPlan
from safeguard_spark.relabel_rules import RuleChanges, rule_changes
from safeguard_spark.relabel_scope import Scope, ScopeKind
from safeguard_spark.spark.dry_run import cost_of
from safeguard_spark.spark.label import open_tables
from safeguard_spark.spark.narrow import open_scoped
from safeguard_spark.spark.plan import labels_of, once, pending, said_of, wanted
from safeguard_spark.spark.scope import old_labels, plan_strata, select
from safeguard_spark.spark.source import Source, work_key
from safeguard_spark.spark.tables import Tables


def existing(spark: SparkSession, config: RunConfig) -> Tables:
    """The label tables, which must be there. Raises TableError."""
    tables = open_tables(spark, config)
    if not tables.exists():
        raise TableError(f"There are no label tables in {config.output}: label something first (safeguard label …).")
    tables.create()
    return tables


def active(tables: Tables, policy: str) -> dict[str, Any] | None:
    """The activation in force of a policy: its newest one."""
    rows = tables.read(schema.ACTIVATIONS).where(F.col("policy") == policy)
    row = rows.orderBy(F.desc("activated_at"), F.desc("run_id")).first()
    return None if row is None else row.asDict()


@dataclass(frozen=True)
class Question:
    """What a plan is asked: the labels it reads (`old` may be None) and the version to label under."""

    old: Policy | None
    new: Policy
    scope: Scope


def plan(spark: SparkSession, config: RunConfig, asked: Question) -> Planned:
    """Plan, write the plan down, and change nothing else. Raises SafeguardError."""
    tables = existing(spark, config)
    version = tables.version(schema.LABELS)
    labels = tables.read(schema.LABELS, version)
    job = Job(asked.new, Labeler.of(config, asked.new))
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
    chosen = select(base, said, scope)
    found = cost_of(config, job, chosen, labels)
    made = RelabelPlan(
        policy=asked.new.name,
        old_version=old.version if old else None,
        old_hash=old.policy_hash if old else None,
        new_version=asked.new.version,
        new_hash=asked.new.policy_hash,
        labeler_hash=job.labeler.labeler_hash,
        scope=scope,
        source=base.name,
        source_version=base.version,
        labels_version=version,
        rows=found.rows,
        pending=found.pending,
        calls=found.calls,
        prompt_tokens=found.prompt_tokens,
    )
    others = _others(spark, config, job, said, labels, scope)
    price = config.relabel.price_per_engine_hour
    cost = relabel_estimate.estimate(made.calls, past_runs(tables, made.labeler_hash), price)
    row = {**made.to_row(cost), "created_at": tables.now()}
    if not tables.read(schema.PLANS).where(F.col("plan_id") == made.plan_id).count():
        tables.append(schema.PLANS, [row], made.plan_id)
    unlabelled = others.pop("")
    return Planned(
        plan=made, changes=changes, cost=cost, unlabelled=unlabelled[0], others=others, currency=config.relabel.currency
    )


def _others(
    spark: SparkSession, config: RunConfig, job: Job, said: DataFrame, labels: DataFrame, scope: Scope
) -> dict[str, tuple[int, int]]:
    """Contents and distinct contents without a verdict of the scopes not asked for; under "" what has no label."""
    everything = Scope(kind=ScopeKind.all)
    whole = open_scoped(spark, config, everything)
    rows, open_rows, calls = _size(config, job, whole, labels)
    found = {"": (open_rows, calls)}
    if scope.kind is not ScopeKind.all:
        found["all"] = (rows, calls)
    if scope.kind is not ScopeKind.touched and scope.rules:
        touched = plan_strata(whole, said, scope.model_copy(update={"kind": ScopeKind.touched}))
        rows, _, calls = _size(config, job, select(whole, said, touched), labels)
        found[str(touched)] = (rows, calls)
    return found


def _size(config: RunConfig, job: Job, source: Source, labels: DataFrame) -> tuple[int, int, int]:
    """Contents, those without a final label, and distinct ones without a verdict."""
    known, asked = labels_of(labels, job), wanted(source, config.source.limit)
    keys = once(pending(asked, known, job, config.run.max_attempts), known, job).cache()
    try:
        keyed = keys.withColumn("work_key", work_key(job.policy.policy_hash, job.labeler.labeler_hash))
        new = keyed.select("work_key").distinct()
        calls = new.join(said_of(labels, job).select("work_key"), on="work_key", how="left_anti").count()
        return asked.count(), keys.count(), calls
    finally:
        keys.unpersist()


def past_runs(tables: Tables, labeler_hash: str) -> list[PastRun]:
    """Runs of exactly this labeler that made calls, the newest first."""
    runs = tables.read(schema.RUNS).where(F.array_distinct("labeler_hashes") == F.array(F.lit(labeler_hash)))
    rows = runs.where("calls > 0 AND seconds IS NOT NULL").orderBy(F.desc("started_at"))
    found = rows.select("calls", "seconds", "tokens", "engine_starts").limit(200).collect()
    return [
        PastRun(row[0], row[1].get("label", 0.0), row[2].get("completion", 0), row[3] or 1) for row in found
    ]
