"""The rows of `runs`: for a run that ended, for one whose driver died, and those of past runs."""

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.labelling.verdict import Outcome
from safeguard_spark.relabel.estimate import PastRun
from safeguard_spark.result import RunResult, Status
from safeguard_spark.spark.label.pending import Counts
from safeguard_spark.spark.staging import Manifest
from safeguard_spark.spark.tables import Tables


class Written(NamedTuple):
    """What a run has appended to `labels`, counted there."""

    outcomes: dict[str, int]
    by_policy: dict[str, dict[str, int]]
    tokens: dict[str, int]
    to_retry: int
    given_up: int

    @property
    def rows(self) -> int:
        """All of them."""
        return sum(self.outcomes.values())


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
    to_retry, given_up = (sum(row[name] for row in rows) for name in ("to_retry", "given_up"))
    return Written(outcomes, by_policy, tokens_used, to_retry, given_up)


def append_run(tables: Tables, manifest: Manifest, result: RunResult, engine_forms: Iterable[str] = ()) -> int:
    """Append a run's row to `runs`, once. Returns the version of `labels` after the run, as the row has it.

    `engine_forms`: how the run's requests were written, as JSON.
    """
    forms = [json.loads(form) for form in sorted(engine_forms)]
    version = tables.version(schema.LABELS)
    row = {
        **manifest.model_dump(include={"started_at", "config_hash", "labels_version_in", "plan_id"}),
        "config": json.dumps({**json.loads(manifest.config), "engine_forms": forms}),
        "source": manifest.source.name,
        "source_version": manifest.source.version,
        "policies": [policy.ref for policy in manifest.policies],
        "policy_hashes": [policy.hash for policy in manifest.policies],
        "labeler_hashes": list(manifest.labelers),
        **result.model_dump(mode="json", include=set(schema.RUNS.names)),
        "ended_at": tables.now(),
        "labels_version_out": version,
    }
    if result.status in (Status.failed, Status.died):
        row |= {"engine_starts": None, "seconds": None}  # only the driver knew
    tables.append(schema.RUNS, [row], f"{result.run_id}/end")
    return version


def append_died_run(tables: Tables, run_id: str, manifest: Manifest, plans: Sequence[Counts]) -> None:
    """Append the row of a run that failed or whose driver died; what it wrote is counted in `labels`."""
    written = count_written(tables, run_id, max_attempts=1)
    cause = "The run failed" if manifest.failed else "The driver died"
    result = RunResult(
        run_id=run_id,
        status=Status.failed if manifest.failed else Status.died,
        rows=sum(counts.rows for counts in plans),
        pending=sum(counts.pending for counts in plans),
        calls=tables.read(schema.REASONING).where(F.col("run_id") == run_id).count(),
        written=written.rows,
        outcomes=written.outcomes,
        tokens=written.tokens,
        message=f"{cause}; a later run committed what it had staged.",
    )
    append_run(tables, manifest, result)


def past_runs(tables: Tables, labeler_hash: str) -> list[PastRun]:
    """Runs of exactly this labeler that made calls, the newest first."""
    runs = tables.read(schema.RUNS).where(F.array_distinct("labeler_hashes") == F.array(F.lit(labeler_hash)))
    rows = runs.where("calls > 0 AND seconds IS NOT NULL").orderBy(F.desc("started_at"))
    newest = rows.select("calls", "seconds", "tokens", "engine_starts").limit(200).collect()
    return [PastRun(row[0], row[1].get("label", 0.0), row[2].get("completion", 0), row[3] or 1) for row in newest]
