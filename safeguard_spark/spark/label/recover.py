"""Recovery: commit what earlier runs left staged, and write down those whose driver died."""

import time
from collections.abc import Iterator
from typing import Any

from safeguard_spark import schema
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import SafeguardError, TableError
from safeguard_spark.spark.failures import FAILED, failure_cause
from safeguard_spark.spark.label.commit import ChunkId, commit_chunk, is_staged
from safeguard_spark.spark.label.run_rows import died_row
from safeguard_spark.spark.staging import MANIFEST, Staging, is_alive
from safeguard_spark.spark.tables import Tables

CLEARED_S = 2.0  # another driver may be deleting the run's folder, whose manifest goes last


def recover(tables: Tables, staging: Staging, config: RunConfig) -> None:
    """Commit every staged chunk of other runs whose model work is whole; clear away the runs of dead drivers."""
    for run_id in staging.names():
        try:
            _recover(tables, staging, config, run_id)
        except Exception as error:
            time.sleep(CLEARED_S)
            if not staging.exists(run_id, MANIFEST):
                continue  # another driver was faster, and cleared the run away while this one read it
            if isinstance(error, SafeguardError):
                raise
            why = failure_cause(error) if isinstance(error, FAILED) else type(error).__name__
            raise TableError(
                f"What run {run_id} left staged cannot be committed ({why}). Put that right, or delete "
                f"{staging.path(run_id)}: its contents are then labelled anew."
            ) from error


def _recover(tables: Tables, staging: Staging, config: RunConfig, run_id: str) -> None:
    manifest = staging.read(run_id, MANIFEST)
    if manifest is None:
        staging.clear_abandoned(run_id, config.run.heartbeat_s)
        return
    alive = is_alive(staging, run_id, manifest, config.run.heartbeat_s)
    plans = list(_plans(staging, run_id))
    for number, plan in plans:
        for chunk, calls in plan["chunks"].items():
            place = ChunkId(run_id, number, int(chunk))
            if is_staged(staging, place, calls):
                commit_chunk(tables, staging, place, plan, manifest["source"])
    if not alive:
        row = died_row(tables, run_id, manifest, [plan for _, plan in plans])
        tables.append(schema.RUNS, [row], f"{run_id}/end")
        staging.clear(run_id)


def _plans(staging: Staging, run_id: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for name in staging.names(run_id):
        plan = staging.read(run_id, name, "plan.json") if name.isdigit() else None
        if plan is not None:
            yield int(name), plan
