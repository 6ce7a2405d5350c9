"""Recovery: commit what earlier runs left staged, and record the runs whose driver died."""

import logging
import time
from collections.abc import Iterator

from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import SafeguardError, TableError
from safeguard_spark.spark.activations import name_labelers
from safeguard_spark.spark.failures import FAILED, failure_cause
from safeguard_spark.spark.label.commit import chunks_of, commit_chunk
from safeguard_spark.spark.label.pending import StagedPlan
from safeguard_spark.spark.label.run_rows import append_died_run
from safeguard_spark.spark.screens import audit_run, find_screen
from safeguard_spark.spark.staging import Manifest, Staging, is_alive
from safeguard_spark.spark.tables import Tables

log = logging.getLogger(__name__)

CLEAR_WAIT_S = 2.0  # another driver may be deleting the run's folder, with its manifest last


def recover(tables: Tables, staging: Staging, config: RunConfig) -> None:
    """Commit the staged chunks of other runs whose model work is complete; delete the folders of dead drivers' runs."""
    name_labelers(tables)  # before anything is committed: afterwards the newest label may be another labeler's
    for run_id in staging.names():
        try:
            _recover(tables, staging, config, run_id)
        except Exception as error:
            time.sleep(CLEAR_WAIT_S)
            if not staging.exists(run_id, Manifest.file_name):
                continue  # another driver was faster, and deleted the run's folder while this one read it
            if isinstance(error, SafeguardError):
                raise
            cause = failure_cause(error) if isinstance(error, FAILED) else type(error).__name__
            raise TableError(
                f"The staged results of run {run_id} cannot be committed ({cause}). Fix the cause, or delete "
                f"{staging.path(run_id)}; its contents are then labelled again."
            ) from error


def _recover(tables: Tables, staging: Staging, config: RunConfig, run_id: str) -> None:
    manifest = staging.read(Manifest, run_id)
    if manifest is None:
        staging.clear_abandoned(run_id, config.run.heartbeat_s)
        return
    has_driver = is_alive(staging, run_id, manifest, config.run.heartbeat_s)
    plans, committed = list(_plans(staging, run_id)), 0
    for plan in plans:
        for chunk in chunks_of(staging, run_id, plan):
            if chunk.is_complete:
                commit_chunk(tables, chunk, manifest.source)
                committed += 1
    driver = "is alive" if has_driver else "failed" if manifest.failed else "died"
    log.info("Recovery of run %s, whose driver %s: %d chunks committed.", run_id, driver, committed)
    if not has_driver:
        append_died_run(tables, run_id, manifest, [plan.counts for plan in plans])
        for screen_id in {plan.screened.screen_id for plan in plans if plan.screened}:
            audit_run(tables, find_screen(tables, screen_id), run_id)
        staging.clear(run_id)


def _plans(staging: Staging, run_id: str) -> Iterator[StagedPlan]:
    """The staged plans of a run."""
    for name in staging.names(run_id):
        plan = staging.read(StagedPlan, run_id, name) if name.isdigit() else None
        if plan is not None:
            yield plan
