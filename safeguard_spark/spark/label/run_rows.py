"""The rows of `runs`: for a run that ended, and for one whose driver died."""

from datetime import UTC, datetime
from typing import Any, NamedTuple

from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.labelling.verdict import Outcome
from safeguard_spark.result import RunResult, Status
from safeguard_spark.spark.tables import Tables


class Written(NamedTuple):
    """What a run has appended to `labels`, counted there."""

    outcomes: dict[str, int]
    by_policy: dict[str, dict[str, int]]
    calls: int
    tokens: dict[str, int]
    to_retry: int
    given_up: int


def count_written(tables: Tables, run_id: str, max_attempts: int) -> Written:
    """Count a run's rows in `labels`."""
    labels = tables.read(schema.LABELS).where(F.col("run_id") == run_id)
    tokens = ("prompt", "cached", "completion")
    failed, may_retry = F.col("outcome") == Outcome.engine_failed.value, F.col("attempt") < max_attempts
    rows = (
        labels.groupBy(F.concat_ws("@", "policy", "policy_version").alias("ref"), "outcome")
        .agg(
            F.count(F.lit(1)).alias("rows"),
            F.count_if("violation").alias("violations"),
            F.count_if(failed & may_retry).alias("to_retry"),
            F.count_if(failed & ~may_retry).alias("given_up"),
            F.count_if(F.col("prompt_tokens").isNotNull()).alias("calls"),
            *(F.coalesce(F.sum(f"{name}_tokens"), F.lit(0)).alias(name) for name in tokens),
        )
        .collect()
    )
    outcomes: dict[str, int] = {}
    by_policy: dict[str, dict[str, int]] = {}
    for row in rows:
        outcomes[row["outcome"]] = outcomes.get(row["outcome"], 0) + row["rows"]
        policy = by_policy.setdefault(row["ref"], {"violations": 0})
        policy[row["outcome"]] = row["rows"]
        policy["violations"] += row["violations"]
    tokens_used = {name: sum(row[name] for row in rows) for name in tokens}
    calls, to_retry, given_up = (sum(row[name] for row in rows) for name in ("calls", "to_retry", "given_up"))
    return Written(outcomes, by_policy, calls, tokens_used, to_retry, given_up)


def ended_row(tables: Tables, manifest: dict[str, Any], result: RunResult, ended_at: datetime) -> dict[str, Any]:
    """The row of `runs` for a run that ended by itself."""
    return {
        **_started_fields(manifest),
        "run_id": result.run_id,
        "status": result.status.value,
        "ended_at": ended_at,
        "labels_version_out": tables.version(schema.LABELS),
        "rows": result.rows,
        "pending": result.pending,
        "calls": result.calls,
        "written": result.written,
        "outcomes": result.outcomes,
        "engine_starts": result.engine_starts,
        "tokens": result.tokens,
        "seconds": result.seconds,
        "mlflow_run_id": result.mlflow_run_id,
        "message": result.message,
    }


def died_row(tables: Tables, run_id: str, manifest: dict[str, Any], plans: list[dict[str, Any]]) -> dict[str, Any]:
    """The row of `runs` for a run that failed or whose driver died; what it wrote is counted in `labels`."""
    failed = bool(manifest.get("left"))
    written = count_written(tables, run_id, max_attempts=1)
    return {
        **_started_fields(manifest),
        "run_id": run_id,
        "status": (Status.failed if failed else Status.died).value,
        "ended_at": datetime.now(UTC),
        "labels_version_out": tables.version(schema.LABELS),
        "rows": sum(plan["counts"][0] for plan in plans),
        "pending": sum(plan["counts"][1] for plan in plans),
        "calls": written.calls,
        "written": sum(written.outcomes.values()),
        "outcomes": written.outcomes,
        "engine_starts": None,
        "tokens": written.tokens,
        "seconds": None,
        "mlflow_run_id": None,
        "message": f"{'The run failed' if failed else 'The driver died'}; a later run committed what it had staged.",
    }


def _started_fields(manifest: dict[str, Any]) -> dict[str, Any]:
    """The columns that are known when a run starts."""
    policies, labelers = manifest["policies"], manifest["labelers"]
    return {
        "started_at": datetime.fromisoformat(manifest["started_at"]),
        "source": manifest["source"]["name"],
        "source_version": manifest["source"]["version"],
        "policies": [policy["ref"] for policy in policies],
        "policy_hashes": [policy["hash"] for policy in policies],
        "labeler_hashes": labelers,
        "config_hash": manifest["config_hash"],
        "labels_version_in": manifest["labels_version_in"],
        "config": manifest["config"],
        "plan_id": manifest.get("plan_id"),
    }
