"""Label a table: plan, label chunk by chunk, commit while the next chunk runs, and return a summary."""

import contextlib
import logging
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import EngineError, TableError
from safeguard_spark.labelling.rows import LabelSpec
from safeguard_spark.policy.document import Policy
from safeguard_spark.relabel.budget import Spent
from safeguard_spark.result import RunResult, Status
from safeguard_spark.spark.activations import inactive_message
from safeguard_spark.spark.failures import FAILED, storage_cause
from safeguard_spark.spark.label.commit import ChunkId, commit_chunk, read_results
from safeguard_spark.spark.label.executor import RESULT_DDL, label_batches, recipe_of
from safeguard_spark.spark.label.pending import StagedPlan, make_plan, read_staged_chunk
from safeguard_spark.spark.label.progress import Bar, Listener
from safeguard_spark.spark.label.recover import recover
from safeguard_spark.spark.label.run import Run, Selection
from safeguard_spark.spark.label.run_rows import count_written, ended_row
from safeguard_spark.spark.session import task_slots
from safeguard_spark.spark.source import open_source
from safeguard_spark.spark.staging import Manifest, SourceVersion, Staging
from safeguard_spark.spark.tables import Tables
from safeguard_spark.tracking.runs import Tracker

log = logging.getLogger(__name__)

MIN_PARTITION_ROWS = 64  # starting a task for fewer contents costs more time than it saves


class Summary(NamedTuple):
    """A chunk's results, counted in rows. `engine_error` is why an engine became unavailable while it worked."""

    called: int = 0  # the model was called for these
    answered: int = 0
    engine_unavailable: int = 0  # no engine could be used for these, so the model was not called
    unavailable_cause: str | None = None  # why none could
    engine_error: str | None = None
    server_ids: frozenset[str] = frozenset()
    tokens: Counter[str] = Counter()  # noqa: RUF012  never changed


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
    selection = selection or Selection()
    specs = [LabelSpec.of(config, policy) for policy in policies]
    source = selection.source or open_source(spark, config.source)
    tables = Tables.open_or_create(spark, config.output)
    staging = Staging(spark, config.run.staging or tables.sibling_folder("_staging"))
    listener = Listener(spark.conf.get("spark.driver.host", None) or "127.0.0.1")
    manifest = Manifest.of(
        config,
        SourceVersion(name=source.name, version=source.version),
        policies,
        [spec.labeler.labeler_hash for spec in specs],
        started_at=datetime.now(UTC),
        labels_version=tables.version(schema.LABELS),
        plan_id=selection.plan_id,
    )
    run_id = f"{manifest.started_at:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
    run = Run(spark, config, tables, staging, source, specs, listener, selection, manifest, run_id)
    with contextlib.closing(listener), ThreadPoolExecutor(1) as background:
        # Importing MLflow takes seconds, so it happens while the plan is made.
        tracker = background.submit(Tracker.begin, config, run.run_id) if config.tracking.enabled else None
        with _clean_up_on_failure(run, tracker):
            with run.timed("recover"):
                recover(tables, staging, config)
            with run.heartbeat():  # first: a manifest without a heartbeat means a dead driver
                staging.write(run.manifest, run.run_id)
                plans = _plan(run)
                if tracker:
                    tracker.result()  # if the tracking server refuses the run, fail before any model work
                _label(run, plans, show)
            return _finish(run, plans, tracker.result() if tracker else None)


@contextlib.contextmanager
def _clean_up_on_failure(run: Run, tracker: Future[Tracker] | None) -> Iterator[None]:
    """If the run fails, mark its MLflow run as failed, and delete its staging unless that holds answers to commit."""
    try:
        yield
    except BaseException as error:
        with contextlib.suppress(Exception):  # the first error is the one to report
            if run.answered or run.has_committed:
                # The process may go on, for example in a notebook, but this run is over.
                run.staging.write(run.manifest.model_copy(update={"failed": True}), run.run_id)
            else:
                run.staging.clear(run.run_id)
            if tracker:
                tracker.result().fail()
        if isinstance(error, FAILED) and (cause := storage_cause(error)):
            raise TableError(
                f"A file could not be read or written: {cause}. Fix the cause and issue the same command again."
            ) from error
        raise


def _plan(run: Run) -> list[StagedPlan]:
    plans, first_chunk = [], 0
    max_calls = run.selection.budget.calls
    with run.timed("plan"):
        for number, spec in enumerate(run.specs):
            plan = make_plan(
                run.config, spec, number, run.source, run.tables, run.staging, run.run_id, max_calls, first_chunk
            )
            if plan.chunks:
                run.staging.write(plan, run.run_id, number)
                first_chunk = max(plan.chunks) + 1
            plans.append(plan)
    return plans


def _label(run: Run, plans: Sequence[StagedPlan], show: bool) -> None:
    """Label and commit every chunk. Two are labelled at once, so that engines do not idle while one ends or commits."""
    chunks = [(plan, chunk) for plan in plans for chunk in plan.chunks]
    spent = Spent()
    total = sum(plan.counts.distinct for plan in plans)
    bar: contextlib.AbstractContextManager[Any] = (
        Bar(run.listener, total) if show and total else contextlib.nullcontext()
    )
    with bar, ThreadPoolExecutor(2) as labelling, ThreadPoolExecutor(1) as committing:
        running: list[tuple[StagedPlan, int, Future[Summary]]] = []
        commits: list[Future[None]] = []
        try:
            for plan, chunk in chunks:
                if not spent.allows(plan.chunks[chunk], run.selection.budget):
                    run.over_budget = True
                    break
                running.append((plan, chunk, labelling.submit(_label_chunk, run, plan, chunk)))
                if len(running) == 2:
                    commits.append(_collect(run, committing, *running.pop(0)))
                    _wait(commits, 1)
                if run.message:
                    break
            while running:
                commits.append(_collect(run, committing, *running.pop(0)))
        except KeyboardInterrupt:
            _cancel(run, running)
            run.message = "Stopped by the operator; issue the same command again to go on."
        except BaseException:
            _cancel(run, running)
            raise
        _wait(commits, 0)


def _cancel(run: Run, running: list[tuple[StagedPlan, int, Future[Summary]]]) -> None:
    """Stop what runs and keep the other chunks from starting. Needed before the pools are joined."""
    for _, _, future in running:
        future.cancel()
    run.spark.sparkContext.cancelJobsWithTag(run.run_id)


def _collect(
    run: Run, committing: ThreadPoolExecutor, plan: StagedPlan, chunk: int, future: Future[Summary]
) -> Future[None]:
    """Wait for a chunk's results, add them to the run's counts, and start their commit."""
    with run.timed("label"):
        summary = future.result()
    run.called += summary.called
    run.answered += summary.answered
    run.server_ids |= summary.server_ids
    run.tokens += summary.tokens
    if summary.engine_unavailable and not run.answered:
        raise EngineError(summary.unavailable_cause or "The engine could not be started.")
    if summary.engine_unavailable or summary.engine_error:
        run.message = summary.engine_error or summary.unavailable_cause
    return committing.submit(_commit_chunk, run, plan, chunk)


def _wait(commits: list[Future[None]], max_unfinished: int) -> None:
    while len(commits) > max_unfinished:
        commits.pop(0).result()


def _label_chunk(run: Run, plan: StagedPlan, chunk: int) -> Summary:
    """Run the model over a chunk's contents, once, into staging."""
    spark, staging = run.spark, run.staging
    spark.sparkContext.addJobTag(run.run_id)
    spark.sparkContext.setLocalProperty("spark.scheduler.pool", "label")
    chunk_id, calls = ChunkId(run.run_id, plan.policy_number, chunk), plan.chunks[chunk]
    folder = chunk_id.policy_folder
    pending = read_staged_chunk(staging, folder, "pending", chunk)
    if not calls or pending is None:
        return Summary()
    contents = pending.where("is_first")
    reused = read_staged_chunk(staging, folder, "reused", chunk) if plan.has_reused else None
    if reused is not None:
        contents = contents.join(reused, on="work_key", how="left_anti")
    slots = task_slots(spark)
    num_partitions = max(1, min(slots.total * run.config.run.partitions_per_slot, calls // MIN_PARTITION_ROWS))
    window = -(-run.config.engine.requests_in_flight // min(num_partitions, slots.per_executor))
    recipe = recipe_of(run.config, plan.spec, run.run_id, window, run.listener.address)
    inputs = contents.select("work_key", run.source.payload).repartition(num_partitions, "work_key")
    results = inputs.mapInArrow(label_batches(recipe), RESULT_DDL)
    results.write.mode("overwrite").parquet(staging.path(*folder, "results", chunk))
    try:
        return _summary(run, chunk_id)
    except FAILED:
        if staging.exists(*folder, "results", chunk, "_SUCCESS"):
            raise
        return Summary()  # another driver has committed the chunk already


def _summary(run: Run, chunk_id: ChunkId) -> Summary:
    results = read_results(run.staging, chunk_id)
    tokens = ("prompt_tokens", "cached_tokens", "completion_tokens")
    row = results.agg(
        F.count_if("called").alias("called"),
        F.count_if(F.col("called") & F.col("finish_reason").isNotNull()).alias("answered"),
        F.count_if("engine_unavailable").alias("engine_unavailable"),
        F.max(F.when(F.col("engine_unavailable"), F.col("error"))).alias("unavailable_cause"),
        F.max("engine_error").alias("engine_error"),
        F.array_distinct(F.flatten(F.collect_list("server_ids"))).alias("server_ids"),
        *(F.coalesce(F.sum(name), F.lit(0)).alias(name) for name in tokens),
    ).first()
    assert row is not None  # an aggregate without groups has one row
    return Summary(
        called=int(row["called"]),
        answered=int(row["answered"]),
        engine_unavailable=int(row["engine_unavailable"]),
        unavailable_cause=row["unavailable_cause"],
        engine_error=row["engine_error"],
        server_ids=frozenset(row["server_ids"]),
        tokens=Counter({name.removesuffix("_tokens"): int(row[name]) for name in tokens}),
    )


def _commit_chunk(run: Run, plan: StagedPlan, chunk: int) -> None:
    run.spark.sparkContext.setLocalProperty("spark.scheduler.pool", "commit")
    with run.timed("commit"):
        chunk_id = ChunkId(run.run_id, plan.policy_number, chunk)
        commit_chunk(run.tables, run.staging, chunk_id, plan, run.manifest.source)
        run.has_committed = True


def _finish(run: Run, plans: Sequence[StagedPlan], tracker: Tracker | None) -> RunResult:
    """Count what was written, record it in `runs` and MLflow, and delete the run's staging folder."""
    written = count_written(run.tables, run.run_id, run.config.run.max_attempts)
    pending, num_written = sum(plan.counts.pending for plan in plans), sum(written.outcomes.values())
    if not run.message and (run.over_budget or any(plan.remaining for plan in plans)):
        remaining = pending - num_written
        run.message = f"Stopped at the budget of {run.selection.budget}: {remaining:,} contents are pending."
    message = run.message
    if written.given_up and not message:
        message = f"{written.given_up} rows failed run.max_attempts times and are not tried again."
    if run.selection == Selection():  # a plan, a sample or a shadow labels another version on purpose
        inactive = inactive_message(run.tables, [spec.policy for spec in run.specs])
        message = " ".join(sentence for sentence in (message, inactive) if sentence) or None
    run.seconds["total"] = (datetime.now(UTC) - run.manifest.started_at).total_seconds()
    result = RunResult(
        run_id=run.run_id,
        status=Status.partial if run.message or written.to_retry else Status.complete,
        rows=sum(plan.counts.rows for plan in plans),
        pending=pending,
        calls=run.called,
        written=num_written,
        outcomes=written.outcomes,
        engine_starts=len(run.server_ids),
        tokens={name: run.tokens[name] for name in ("prompt", "cached", "completion")},
        seconds={name: round(seconds, 3) for name, seconds in run.seconds.items()},
        tables={table.name: run.tables.path(table) for table in schema.TABLES},
        message=message,
        mlflow_run_id=tracker.mlflow_run_id if tracker else None,
        by_policy=written.by_policy,
    )
    row = ended_row(run.tables, run.manifest, result, datetime.now(UTC))
    run.tables.append(schema.RUNS, [row], f"{run.run_id}/end")
    run.staging.clear(run.run_id)
    if tracker:
        versions = (run.manifest.labels_version_in, row["labels_version_out"])
        try:
            tracker.end(run.specs, run.manifest.source.model_dump(), versions, result)
        except Exception as error:  # the labels are written: an unreachable tracking server must not fail the run
            log.warning("The run's metrics could not be written to MLflow: %s", type(error).__name__)
    return result
