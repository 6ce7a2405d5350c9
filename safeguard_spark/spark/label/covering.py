"""Covering: what a complete run leaves for the next one, and the result of one that finds nothing changed since."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from safeguard_spark import schema
from safeguard_spark.errors import SafeguardError
from safeguard_spark.labelling.verdict import Outcome
from safeguard_spark.result import RunResult, Status
from safeguard_spark.spark.coverage import CoveredVersion, cover
from safeguard_spark.spark.failures import FAILED
from safeguard_spark.spark.label.candidates import Candidates
from safeguard_spark.spark.label.run import RunContext
from safeguard_spark.spark.table_log import newest_point

log = logging.getLogger(__name__)


def unchanged_result(run: RunContext, nothing: Candidates) -> RunResult:
    """The result of a run that ends at once: that of the run which covered the source, with nothing to do."""
    assert nothing.covered is not None  # that is why there is nothing
    log.info("Run %s ends: %s", run.run_id, nothing.message)
    seconds = (datetime.now(UTC) - run.opened.started_at).total_seconds()
    return RunResult(
        run_id=nothing.covered.run_id,
        status=Status.complete,
        rows=nothing.covered.rows * len(run.specs),
        pending=0,
        calls=0,
        written=0,
        outcomes={},
        tokens=dict.fromkeys(("prompt", "cached", "completion"), 0),
        seconds={"total": round(seconds, 3)},
        tables={table.name: run.tables.path(table) for table in schema.TABLES},
        message=nothing.covered.message,
        candidates=nothing.message,
    )


def cover_run(
    run: RunContext,
    by_policy: Mapping[str, Mapping[str, int]],
    given_up: int,
    message: str,
    recorded: dict[str, bool],
) -> None:
    """Record what a complete run covered, and the part of its message that holds until something changes.

    `by_policy` are the outcomes that it wrote, `recorded` is what `record_policies` returned. It covers nothing if the
    next run tries some of the outcomes again.
    """
    candidates = run.candidates
    if candidates.seen is None or candidates.labels is None or _may_change(run, by_policy):
        return
    version = CoveredVersion(
        run_id=run.run_id,
        selection=candidates.seen.selection.parts,
        source=candidates.seen.point,
        files=candidates.seen.files,
        labels=candidates.labels,
        screens=candidates.screens,
        retired=candidates.retired,
        activations=newest_point(run.spark, run.tables.sql(schema.ACTIVATIONS)),
        full_at=candidates.covered.full_at if candidates.covered else run.manifest.started_at,
        rows=run.num_rows,
        given_up=given_up,
        message=message or None,
        policies=recorded,
    )
    try:
        cover(run.tables, run.config.source.collection(run.table.name), run.specs, version)
    except (SafeguardError, *FAILED) as error:  # the labels are written: the next run reads all rows again
        log.warning("What run %s covered could not be recorded: %s", run.run_id, type(error).__name__)


def _may_change(run: RunContext, by_policy: Mapping[str, Mapping[str, int]]) -> bool:
    """Whether an answer of this run could not be read, and another call may give a better one."""
    return any(
        outcome.is_unreadable and outcome.may_change(spec.labeler.temperature) and outcome in outcomes
        for spec in run.specs
        for outcomes in [by_policy.get(spec.policy.ref, {})]
        for outcome in Outcome
    )
