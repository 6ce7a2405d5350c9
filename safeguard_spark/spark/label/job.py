"""Label a table: plan, label chunk by chunk, commit while the next chunk runs, and return a summary."""

import contextlib
import logging
import time
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import SparkSession

from safeguard_spark import run_context, schema
from safeguard_spark.config.engine import VllmConfig
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import TableError
from safeguard_spark.extras import require
from safeguard_spark.labelling.rows import MIN_SECOND_LOOKS, SECOND_LOOK_SHARE, LabelSpec
from safeguard_spark.labelling.unjudged import num_judged, unjudged_message
from safeguard_spark.policy.document import Policy
from safeguard_spark.relabel.budget import Spent
from safeguard_spark.result import RunResult, Status
from safeguard_spark.spark import executors
from safeguard_spark.spark.activations import activate_if_first, inactive_message
from safeguard_spark.spark.failures import FAILED, storage_cause
from safeguard_spark.spark.label.audit import audit_of_run
from safeguard_spark.spark.label.chunk_summary import error_of, summary_of
from safeguard_spark.spark.label.commit import Chunk, chunks_of, commit_chunk
from safeguard_spark.spark.label.covering import cover_run, unchanged_result
from safeguard_spark.spark.label.executor import RESULT_TYPE, Recipe, label_batches
from safeguard_spark.spark.label.pending import StagedPlan, make_plan
from safeguard_spark.spark.label.progress import Bar
from safeguard_spark.spark.label.recover import recover
from safeguard_spark.spark.label.run import RunContext, Selection, Summary, Tally, by_work
from safeguard_spark.spark.label.run_metrics import metrics_of
from safeguard_spark.spark.label.run_rows import Written, append_run, count_written
from safeguard_spark.spark.policies import is_recorded, record_policies
from safeguard_spark.terminal import counted
from safeguard_spark.tracking.runs import Tracker

log = logging.getLogger(__name__)

MIN_PARTITION_ROWS = 64  # starting a task for fewer contents costs more time than it saves
# With more, a lost task loses less. But each task's slot waits at its end for its longest answers, so the engine runs
# empty more often.
PARTITIONS_PER_SLOT = 1


def label_table(
    spark: SparkSession,
    config: RunConfig,
    policies: Sequence[Policy],
    *,
    show: bool = True,
    selection: Selection | None = None,
) -> RunResult:
    """Give every content of the source one label per policy. Raises SafeguardError if nothing could be done.

    No row is lost: each is labelled, was labelled before, or is still pending and counted as such. `selection` is a
    part of the source and a budget for it; `show` shows a progress bar.
    """
    if config.tracking.enabled:
        require("mlflow")
    run, tally = RunContext.begin(spark, config, policies, selection), Tally()
    with contextlib.closing(run.listener), run_context.working_on_run(run.run_id), metrics_of(run) as results:
        results.append(_label_all(run, tally, policies, show=show))
        return results[0]


def _label_all(run: RunContext, tally: Tally, policies: Sequence[Policy], *, show: bool) -> RunResult:
    config = run.config
    refs = ", ".join(spec.policy.ref for spec in run.specs)
    log.info("Run %s begins: %s under %s.", run.run_id, run.table.name, refs)
    with ThreadPoolExecutor(1) as background:
        tracker: Future[Tracker] | None = None
        try:
            if nothing := run.nothing:
                return unchanged_result(run, nothing)
            recovering = background.submit(recover, run.tables, run.staging, config)
            with tally.timed("recover"):
                if run.staging.names():  # what they hold is committed before anything is looked for
                    recovering.result()
            with tally.timed("plan"):
                log.info("Run %s: %s", run.run_id, run.candidates.message or "All rows are read.")
            with tally.timed("recover"):
                recovering.result()
            recording = background.submit(_record_policies, run, policies)
            if config.tracking.enabled and not run.candidates.is_nothing:
                # Importing MLflow takes seconds, so it happens while the plan is made.
                tracker = background.submit(Tracker.begin, config, run.run_id)
            with run.staging.heartbeat(run.run_id, config.run.heartbeat_s):  # first: without it a driver counts as dead
                run.staging.write(run.manifest, run.run_id)
                plans = list[StagedPlan]()
                for specs in by_work(run.specs):
                    with tally.timed("plan"):
                        new_plans = _plan(run, specs, plans)
                    if tracker:
                        tracker.result()  # if the tracking server refuses the run, fail before any model work
                    _label(run, tally, new_plans, show=show)
                    plans += new_plans
                    if tally.message:
                        break
                return _finish(run, tally, plans, recording.result(), tracker.result() if tracker else None)
        except BaseException as error:
            with contextlib.suppress(Exception):  # the first error is the one to report
                # Not in this thread: if it was interrupted in a call to the JVM, its next call gets the wrong answer.
                background.submit(_clean_up, run, tally, tracker).result()
            if isinstance(error, FAILED) and (cause := storage_cause(error)):
                raise TableError(
                    f"A file could not be read or written: {cause}. Fix the cause and issue the same command again."
                ) from error
            raise


def _record_policies(run: RunContext, policies: Sequence[Policy]) -> dict[str, bool]:
    """Record the policies, unless the run that covered the source did; whose publication is recorded."""
    covered = run.candidates.covered
    if covered and all(is_recorded(policy, run.config, covered.policies) for policy in policies):
        return covered.policies
    try:
        return record_policies(run.tables, policies, run.config, run.run_id)
    except TableError:  # Ctrl-C cancels all of Spark's jobs, this one too
        return record_policies(run.tables, policies, run.config, run.run_id)


def _clean_up(run: RunContext, tally: Tally, tracker: Future[Tracker] | None) -> None:
    """After a failure: delete the run's staging unless that holds answers to commit, and mark its MLflow run."""
    if tally.counts["answered"] or tally.may_have_committed:
        run.staging.write(run.manifest.model_copy(update={"failed": True}), run.run_id)
    else:
        run.staging.clear(run.run_id)
    log.info("Run %s failed; %d contents were answered.", run.run_id, tally.counts["answered"])
    if tracker:
        tracker.result().fail()


def _plan(run: RunContext, specs: Sequence[LabelSpec], earlier: Sequence[StagedPlan]) -> list[StagedPlan]:
    """Stage what is pending under some of the run's specs. Chunks are numbered on from those of earlier plans."""
    plans, first_chunk = list[StagedPlan](), 1 + max((max(plan.chunks) for plan in earlier if plan.chunks), default=-1)
    for number, spec in enumerate(specs, start=len(earlier)):
        plan = make_plan(run, spec, number, first_chunk)
        if plan.chunks:
            run.staging.write(plan, run.run_id, number)
            first_chunk = max(plan.chunks) + 1
        counts, chunks = plan.counts, len(plan.chunks)
        log.info(
            "Run %s, %s: %d rows, %d pending, at most %d calls and their second looks, %d chunks.",
            run.run_id, spec.policy.ref, counts.rows, counts.pending, counts.distinct, chunks,
        )  # fmt: skip
        plans.append(plan)
    return plans


def _label(run: RunContext, tally: Tally, plans: Sequence[StagedPlan], *, show: bool) -> None:
    """Label and commit every chunk. Two are labelled at once, so that engines do not idle while one ends or commits."""
    waiting = deque(chunk for plan in plans for chunk in chunks_of(run.staging, run.run_id, plan))
    started = list[tuple[Chunk, Future[Summary]]]()
    spent, total = Spent(), sum(plan.counts.distinct for plan in plans)
    bar: contextlib.AbstractContextManager[Any] = (
        Bar(run.listener, total) if show and total else contextlib.nullcontext()
    )

    def start_next() -> None:
        if not waiting or tally.is_stopped:
            return
        chunk = waiting.popleft()
        if spent.allows(chunk.max_calls, run.selection.budget):
            started.append((chunk, pool.submit(_label_chunk, run, chunk)))
        else:
            tally.over_budget = True
            waiting.clear()

    # Two label, one commits and one cancels. This thread only waits: an interrupt must not end a call to the JVM.
    with bar, ThreadPoolExecutor(4) as pool:
        commit: Future[float] | None = None
        try:
            start_next()
            start_next()
            unanswered = list[Chunk]()  # not committed before an engine has answered something in this run
            for chunk, future in started:  # grows until nothing is left to start
                with tally.timed("label"):
                    summary = future.result()
                with run_context.working_on_chunk(chunk.number):
                    _add(run, tally, chunk, summary)
                spent.calls += summary.counts["second_looks"]
                start_next()
                unanswered.append(chunk)
                if tally.counts["unavailable"] and not tally.counts["answered"]:
                    continue
                for complete in unanswered:
                    _end_commit(tally, commit)
                    tally.may_have_committed = True
                    commit = pool.submit(_commit_chunk, run, complete)
                unanswered.clear()
            _end_commit(tally, commit)
            if unanswered:
                raise error_of(summary)(tally.message or "The engine could not be started.")
        except BaseException as error:
            for _, future in started:
                future.cancel()
            while unfinished := [future for _, future in started if not future.done()]:
                pool.submit(run.spark.sparkContext.cancelJobsWithTag, run.run_id).result()
                wait(unfinished, timeout=1)  # and again: a chunk may have been between two Spark jobs
            if not isinstance(error, KeyboardInterrupt):
                for chunk, future in started:  # what another chunk has paid for is kept for the next run
                    if not (future.cancelled() or future.exception()):
                        tally.add(chunk.number, future.result())
                raise
            tally.message = "Stopped by the operator."
            wait([commit] if commit else [])  # PySpark cancels its jobs too, if the interrupt is Ctrl-C
            for chunk, _ in started:
                tally.may_have_committed = True
                if late := pool.submit(_commit_if_complete, run, chunk).result():
                    tally.add(chunk.number, late)


def _end_commit(tally: Tally, commit: Future[float] | None) -> None:
    if commit:
        tally.seconds["commit"] = tally.seconds.get("commit", 0.0) + commit.result()


def _add(run: RunContext, tally: Tally, chunk: Chunk, summary: Summary) -> None:
    """Add a chunk's results to the run's, and note why the run must end if the engine became unavailable."""
    for executor in sorted(summary.failed_starts.keys() - tally.failed_starts.keys()):
        log.warning("Run %s: the engine of %s did not start: %s", run.run_id, executor, summary.failed_starts[executor])
    for server_id in sorted(summary.server_ids - tally.server_ids):
        log.info("Run %s: engine %s was started for chunk %d.", run.run_id, server_id, chunk.number)
    tally.add(chunk.number, summary)
    run.listener.add_chunk(summary.counts + Counter(rows=chunk.max_calls))
    log.info(
        "Run %s, %s: chunk %d is labelled, %d calls, %d answers.",
        run.run_id, chunk.plan.policy.ref, chunk.number, summary.counts["called"], summary.counts["answered"],
    )  # fmt: skip
    if summary.counts["unavailable"] or summary.engine_error:
        tally.message = tally.message or summary.engine_error or summary.unavailable_cause
        # Other executors go on; an endpoint is the same for all.
        tally.is_stopped |= not summary.counts["answered"] or task_attempts(run) == 1


def _label_chunk(run: RunContext, chunk: Chunk) -> Summary:
    """Run the model over a chunk's contents, once, into staging."""
    spark, calls, pending = run.spark, chunk.max_calls, chunk.pending
    chunk_tag = f"{run.run_id}-{chunk.number}"
    spark.sparkContext.clearJobTags()  # this thread may have labelled another chunk
    for tag in (run.run_id, chunk_tag):  # what is cancelled if the run stops, and whose failures are looked for
        spark.sparkContext.addJobTag(tag)
    spark.sparkContext.setLocalProperty("spark.scheduler.pool", "label")
    if not calls or pending is None:
        return Summary()
    contents = pending.where("is_first")
    if (reused := chunk.reused) is not None:
        contents = contents.join(reused, on="work_key", how="left_anti")
    if (cleared := chunk.cleared) is not None:
        contents = contents.join(cleared.where("NOT is_audited"), on="work_key", how="left_anti")
    running = executors.executors(spark)  # once: each is several calls to the JVM
    slots = executors.task_slots(spark, running)
    num_partitions = max(1, min(slots.total * PARTITIONS_PER_SLOT, calls // MIN_PARTITION_ROWS))
    window = -(-run.config.engine.requests_in_flight // min(num_partitions, slots.per_executor))
    gpus = {executor.id: executor.gpus for executor in running}
    recipe = Recipe(
        run.config, chunk.plan.spec, run.run_id, window, run.listener.address, gpus=gpus, attempts=task_attempts(run)
    )
    columns = ["work_key", run.source.payload]
    if (close := chunk.close) is not None:
        contents, columns = contents.join(close, on="work_key", how="left"), [*columns, "is_close"]
    inputs = contents.select(columns).repartition(num_partitions, "work_key")
    profile = executors.label_profile(spark, running, slots)
    results = inputs.mapInArrow(label_batches(recipe), RESULT_TYPE, profile=profile)
    watch: contextlib.AbstractContextManager[dict[str, str]] = contextlib.nullcontext({})
    if recipe.attempts > 1:
        watch = executors.without_failed(spark, chunk_tag)
    with watch as failed:
        results.write.mode("overwrite").parquet(chunk.folder.path("results", chunk.number))
    chunk.mark_labelled()
    try:
        return summary_of(chunk)._replace(failed_starts=failed)
    except FAILED:
        if chunk.is_uncommitted:
            raise
        return Summary()  # another driver has committed the chunk already


def task_attempts(run: RunContext) -> int:
    """How often a task is tried whose engine does not start: an endpoint is the same for all."""
    return executors.task_attempts(run.spark) if isinstance(run.config.engine, VllmConfig) else 1


def _commit_chunk(run: RunContext, chunk: Chunk) -> float:
    """Commit a chunk; returns the seconds it took."""
    start = time.monotonic()
    run.spark.sparkContext.clearJobTags()  # this thread may have labelled a chunk before
    run.spark.sparkContext.setLocalProperty("spark.scheduler.pool", "commit")
    with run_context.working_on_chunk(chunk.number):
        commit_chunk(run.tables, chunk, run.manifest.source)
        seconds = time.monotonic() - start
        log.info("Run %s, %s: chunk %d is committed, %.1f s.", run.run_id, chunk.plan.policy.ref, chunk.number, seconds)
    return seconds


def _commit_if_complete(run: RunContext, chunk: Chunk) -> Summary | None:
    """Commit a chunk and return its results if they are complete and not yet committed."""
    if not chunk.is_complete:
        return None
    summary = summary_of(chunk)
    _commit_chunk(run, chunk)
    return summary


def _finish(
    run: RunContext, tally: Tally, plans: Sequence[StagedPlan], recorded: dict[str, bool], tracker: Tracker | None
) -> RunResult:
    """Count what was written, record it in `runs` and MLflow, and delete the run's staging folder."""
    for plan in plans:
        if plan.activates and plan.counts.rows and not plan.counts.pending:
            activate_if_first(run.tables, plan.spec, run.run_id)  # as a commit does: a draft's text was changed back
    pending = sum(plan.counts.pending for plan in plans)
    written = Written({}, {}, {}, 0, 0)
    if pending:
        written = count_written(run.tables, run.run_id, run.config.run.max_attempts)
    if not tally.message and (tally.over_budget or any(plan.remaining for plan in plans)):
        remaining = counted(pending - written.rows, "content is", "contents are")
        tally.message = f"Stopped at the budget of {run.selection.budget}: {remaining} pending."
    candidates, unfinished = run.candidates, pending - written.rows
    given_up = written.given_up + sum(plan.given_up for plan in plans)
    given_up += candidates.covered.given_up if candidates.covered else 0
    sentences = [tally.message] if tally.message else []
    if tally.message and tally.counts["unavailable"]:
        stays = counted(unfinished, "content stays", "contents stay")
        sentences.append(f"{stays} pending.")
    if unfinished > 0 and not tally.message:
        sentences.append(f"Number of pending contents that another run labelled meanwhile: {unfinished:,}.")
    if failed := tally.failed_starts:
        first = next(iter(failed))
        others = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
        sentences.append(
            f"The engine of {first}{others} did not start, and other executors did its work: {failed[first]}"
        )
    if over_share := tally.counts["over_share"]:
        looks = counted(over_share, "unreadable answer had no second look", "unreadable answers had no second look")
        sentences.append(
            f"{looks}: labeler.second_look is for {SECOND_LOOK_SHARE:.0%} "
            f"of each task's calls, or {MIN_SECOND_LOOKS} if that is more."
        )
    if written.to_retry and not tally.message:
        sentences.append(f"{counted(written.to_retry, 'row', 'rows')} failed and may be tried again.")
    lasting = list[str]()  # what is so until something changes
    if given_up:
        contents, attempts = counted(given_up, "content is", "contents are"), run.config.run.max_attempts
        lasting.append(
            f"{contents} not tried again after {counted(attempts, 'failure', 'failures')} (run.max_attempts). When the "
            f"cause is fixed, try again with --set run.max_attempts={2 * attempts}."
        )
    audit = audit_of_run(run)
    sentences += audit.sentences
    by_outcome = {
        ref: {name: count for name, count in counts.items() if name != "violations"}
        for ref, counts in written.by_policy.items()
    }
    sentences += [unjudged] if (unjudged := unjudged_message(by_outcome)) else []
    for_later = lasting  # what the next run says if nothing has changed
    if run.selection.share is None and (inactive := inactive_message(run.tables, run.specs)):
        for_later = [*lasting, inactive]
        if run.selection.is_whole:  # a plan labels another version on purpose
            lasting = for_later
    tally.seconds["total"] = (datetime.now(UTC) - run.manifest.started_at).total_seconds()
    result = RunResult(
        run_id=run.run_id,
        status=Status.partial if tally.message or written.to_retry or audit.retires else Status.complete,
        rows=sum(plan.counts.rows for plan in plans),
        pending=pending,
        calls=tally.counts["called"],
        written=written.rows,
        outcomes=written.outcomes,
        judged=num_judged(written.outcomes),
        engine_starts=len(tally.server_ids),
        tokens={name: tally.counts[name] for name in ("prompt", "cached", "completion")},
        seconds={name: round(seconds, 3) for name, seconds in tally.seconds.items()},
        tables={table.name: run.tables.path(table) for table in schema.TABLES},
        message=" ".join([*sentences, *lasting]) or None,
        candidates=candidates.message,
        mlflow_run_id=tracker.mlflow_run_id if tracker else None,
        screen_id=audit.screen_id,
        spared=sum(plan.screened.spared for plan in plans if plan.screened),
        screen_recall_low=audit.recall_low,
        by_policy=written.by_policy,
    )
    labels_version_out = append_run(run.tables, run.manifest, result, tally.engine_forms)
    run.staging.clear(run.run_id)
    if run.selection.is_covering and result.status is Status.complete and not unfinished:
        cover_run(run, written.by_policy, given_up, " ".join(for_later), recorded)
    if tracker:
        versions = (run.manifest.labels_version_in, labels_version_out)
        try:
            tracker.end(run.specs, run.manifest.source.model_dump(), versions, result)
        except Exception as error:  # the labels are written: an unreachable tracking server must not fail the run
            log.warning("The run's metrics could not be written to MLflow: %s", type(error).__name__)
    log.info("Run %s ends: %s, %d labels written.", run.run_id, result.status.value, result.written)
    return result
