"""Carry: verdicts that a policy's change did not touch become labels of the new version, without a call.

So a version can rule over the whole table although only what it touched was judged again. Such a label says where its
verdict is from, and is left out when versions are compared.
"""

import json
import secrets
from datetime import UTC, datetime

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError
from safeguard_spark.labelling.verdict import Outcome
from safeguard_spark.policy.document import Policy
from safeguard_spark.redact import redacted
from safeguard_spark.relabel.plan import RelabelPlan
from safeguard_spark.relabel.scope import ScopeKind
from safeguard_spark.result import RunResult, Status
from safeguard_spark.spark.commit_log import append_labels
from safeguard_spark.spark.label.run_rows import count_written, ended_row
from safeguard_spark.spark.relabel.strata import TOUCHED, labels_at, old_labels, strata
from safeguard_spark.spark.source import open_source, work_key
from safeguard_spark.spark.tables import Tables


def carry_verdicts(spark: SparkSession, config: RunConfig, plan: RelabelPlan, policy: Policy) -> int:
    """Give every content the plan does not touch its old verdict under the new version; rows written.

    Only contents that are still what was judged, and have no label under the new version. Safe to repeat. Raises
    ConfigError unless the plan's scope is `touched`.
    """
    if plan.scope.kind is not ScopeKind.touched or plan.old_version is None:
        raise ConfigError(f"Plan {plan.plan_id} has scope {plan.scope}: verdicts are carried beside `touched` alone.")
    tables = Tables.open_existing(spark, config)
    began, version = datetime.now(UTC), tables.version(schema.LABELS)
    source = open_source(spark, config.source)
    rows = _rows(tables, plan, policy, source.frame.select("content_id", "content_hash").distinct(), version).cache()
    try:
        count = rows.count()
        if count:
            run_id = f"carry-{began:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
            append_labels(tables, rows.withColumn("run_id", F.lit(run_id)), run_id, 0, version)
            _note(tables, config, plan, policy, run_id, began, version)
    finally:
        rows.unpersist()
    return count


def _rows(tables: Tables, plan: RelabelPlan, policy: Policy, current: DataFrame, version: int) -> DataFrame:
    """The labels to append, `labelled_at` and `run_id` aside."""
    labels = tables.read(schema.LABELS, version).where((F.col("policy") == policy.name) & F.col("salt").isNull())
    old = labels.where((F.col("policy_version") == F.lit(plan.old_version)) & (F.col("policy_hash") == plan.old_hash))
    new = labels.where((F.col("policy_version") == policy.version) & (F.col("policy_hash") == policy.policy_hash))
    latest = [F.desc(name) for name in ("labelled_at", "attempt", "run_id", "chunk", "work_key")]
    place = F.row_number().over(Window.partitionBy("content_id").orderBy(*latest))
    newest = old.withColumn("place", place).where(F.col("place") == 1).drop("place")
    said = old_labels(labels_at(tables, plan.labels_version), plan.policy, plan.old_version, plan.old_hash)
    touched = strata(said.select("content_id"), said, plan.scope).where(F.col("stratum") == TOUCHED)
    kept = (
        newest.where(F.col("outcome") != Outcome.engine_failed.value)
        .join(current, on=["content_id", "content_hash"], how="left_semi")
        .join(touched, on="content_id", how="left_anti")
        .join(new.select("content_id", "content_hash"), on=["content_id", "content_hash"], how="left_anti")
    )
    # Whose verdict it is stays: the labeler's columns are the old label's own.
    none = {name: F.lit(None).cast("bigint") for name in ("prompt_tokens", "cached_tokens", "completion_tokens")}
    return kept.withColumns({
        "carried_from": F.coalesce("carried_from", "policy_version"),
        "policy_version": F.lit(policy.version),
        "policy_hash": F.lit(policy.policy_hash),
        "work_key": work_key(policy.policy_hash, F.col("labeler_hash")),
        "chunk": F.lit(0),
        **none,
    }).drop("run_id")  # fmt: skip


def _note(
    tables: Tables, config: RunConfig, plan: RelabelPlan, policy: Policy, run_id: str, began: datetime, version: int
) -> None:
    """The row of `runs`: whoever finds such a label can see what wrote it."""
    found = count_written(tables, run_id, config.run.max_attempts)
    written = sum(found.outcomes.values())
    seconds = {"total": (datetime.now(UTC) - began).total_seconds()}
    result = RunResult(
        run_id=run_id,
        status=Status.complete,
        rows=written,
        pending=written,
        calls=0,
        written=written,
        outcomes=found.outcomes,
        engine_starts=0,
        tokens=found.tokens,
        seconds=seconds,
        tables={},
        message=f"Verdicts of {plan.policy}@{plan.old_version} that the change does not touch, carried over.",
    )
    manifest = {
        "started_at": began.isoformat(),
        "source": {"name": plan.source, "version": plan.source_version},
        "policies": [{"ref": policy.ref, "hash": policy.policy_hash}],
        "labelers": [plan.labeler_hash],
        "config_hash": config.config_hash,
        "config": json.dumps(redacted(config.model_dump(mode="json"))),
        "labels_version_in": version,
        "plan_id": plan.plan_id,
    }
    tables.append(schema.RUNS, [ended_row(tables, manifest, result, datetime.now(UTC))], f"{run_id}/end")
