"""Label a table: plan, label chunk by chunk, commit while the next chunk runs, and say what was done."""

import contextlib
import logging
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
from safeguard_spark.spark.failures import FAILED, storage_cause
from safeguard_spark.spark.label.commit import ChunkId, commit_chunk, read_results
from safeguard_spark.spark.label.executor import RESULT_DDL, as_recipe, label_batches
from safeguard_spark.spark.label.pending import StagedPlan, bucket, make_plan
from safeguard_spark.spark.label.progress import Bar, Listener
from safeguard_spark.spark.label.recover import recover
from safeguard_spark.spark.label.run import Run, Selection
from safeguard_spark.spark.label.run_rows import count_written, ended_row
from safeguard_spark.spark.session import task_slots
from safeguard_spark.spark.source import open_source
from safeguard_spark.spark.staging import MANIFEST, Staging
from safeguard_spark.spark.tables import Tables
from safeguard_spark.tracking.runs import Tracker

log = logging.getLogger(__name__)

MIN_PARTITION = 64  # contents; a task that starts for fewer costs more than it helps


class Summary(NamedTuple):
    """What a chunk's results hold. `fatal` rows were never asked; `lost` is why an engine could not go on."""

    asked: int = 0
    answered: int = 0
    fatal: int = 0
    error: str | None = None
    lost: str | None = None
    engines: frozenset[str] = frozenset()
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

    Rows in are rows out: each is labelled, was labelled before, or is still pending and counted as such. A selection
    is a part of the source, and how much may be spent on it.
    """
    selection = selection or Selection()
    jobs = [LabelSpec.of(config, policy) for policy in policies]
    source = selection.source or open_source(spark, config.source)
    tables = Tables.open(spark, config)
    tables.create()
    staging = Staging(spark, config.run.staging or tables.beside("_staging"))
    listener = Listener(spark.conf.get("spark.driver.host", None) or "127.0.0.1")
    run = Run(spark, config, tables, staging, source, jobs, listener, selection)
    with contextlib.closing(listener), ThreadPoolExecutor(1) as aside:
        # Importing MLflow takes seconds: meanwhile the plan is made.
        tracker = aside.submit(Tracker.begin, config, run.run_id) if config.tracking.enabled else None
        with _failing(run, tracker):
            with run.timed("recover"):
                recover(tables, staging, config)
            with run.alive():  # first: a manifest without a heartbeat is a dead driver's
                staging.write(run.manifest, run.run_id, MANIFEST)
                plans = _plan(run)
                if tracker:
                    tracker.result()  # a tracking server that says no must say so before any model work
                _label(run, plans, show)
            return _finish(run, plans, tracker.result() if tracker else None)


@contextlib.contextmanager
def _failing(run: Run, tracker: Future[Tracker] | None) -> Iterator[None]:
    """If the run fails, mark its MLflow run, and take away its staging unless that holds answers to commit."""
    try:
        yield
    except BaseException as error:
        with contextlib.suppress(Exception):  # the first error is the one to tell
            if run.answered or run.committed:
                # This process may live on, in a notebook; the run in it is over.
                run.staging.write({**run.manifest, "left": True}, run.run_id, MANIFEST)
            else:
                run.staging.clear(run.run_id)
            if tracker:
                tracker.result().fail()
        if isinstance(error, FAILED) and (said := storage_cause(error)):
            raise TableError(
                f"A file could not be read or written: {said}. Put that right and issue the same command again."
            ) from error
        raise


def _plan(run: Run) -> list[StagedPlan]:
    plans = []
    with run.timed("plan"):
        for number, job in enumerate(run.jobs):
            most = run.selection.budget.calls
            plan = make_plan(run.config, job, number, run.source, run.tables, run.staging, run.run_id, most)
            if plan.chunks:
                run.staging.write(plan.to_json(), run.run_id, number, "plan.json")
            plans.append(plan)
    return plans


def _label(run: Run, plans: Sequence[StagedPlan], show: bool) -> None:
    """Label and commit every chunk. Two are labelled at once, so that engines do not idle as one ends or commits."""
    work = [(plan, chunk) for plan in plans for chunk in plan.chunks]
    spent = Spent()
    total = sum(plan.counts.distinct for plan in plans)
    bar: contextlib.AbstractContextManager[Any] = (
        Bar(run.listener, total) if show and total else contextlib.nullcontext()
    )
    with bar, ThreadPoolExecutor(2) as labelling, ThreadPoolExecutor(1) as committing:
        ahead: list[tuple[StagedPlan, int, Future[Summary]]] = []
        commits: list[Future[None]] = []
        try:
            for plan, chunk in work:
                if not spent.allows(plan.chunks[chunk], run.selection.budget):
                    run.over_budget = True
                    break
                ahead.append((plan, chunk, labelling.submit(_label_chunk, run, plan, chunk)))
                if len(ahead) == 2:
                    commits.append(_take(run, committing, *ahead.pop(0)))
                    _wait(commits, 1)
                if run.message:
                    break
            while ahead:
                commits.append(_take(run, committing, *ahead.pop(0)))
        except KeyboardInterrupt:
            _cancel(run, ahead)
            run.message = "Stopped by the operator; issue the same command again to go on."
        except BaseException:
            _cancel(run, ahead)
            raise
        _wait(commits, 0)


def _cancel(run: Run, ahead: list[tuple[StagedPlan, int, Future[Summary]]]) -> None:
    """Before the pools are joined: what still runs must end, and chunks not begun must not begin."""
    for _, _, future in ahead:
        future.cancel()
    run.spark.sparkContext.cancelJobsWithTag(run.run_id)


def _take(
    run: Run, committing: ThreadPoolExecutor, plan: StagedPlan, chunk: int, future: Future[Summary]
) -> Future[None]:
    """Wait for a chunk's results, add them up, and send them to be committed."""
    with run.timed("label"):
        summary = future.result()
    run.asked += summary.asked
    run.answered += summary.answered
    run.engines |= summary.engines
    run.tokens += summary.tokens
    if summary.fatal and not run.answered:
        raise EngineError(summary.error or "The engine could not be started.")
    if summary.fatal or summary.lost:
        run.message = summary.lost or summary.error
    return committing.submit(_commit_chunk, run, plan, chunk)


def _wait(commits: list[Future[None]], leave: int) -> None:
    while len(commits) > leave:
        commits.pop(0).result()


def _label_chunk(run: Run, plan: StagedPlan, chunk: int) -> Summary:
    """Run the model over a chunk's contents, once, into staging."""
    spark, staging = run.spark, run.staging
    spark.sparkContext.addJobTag(run.run_id)
    spark.sparkContext.setLocalProperty("spark.scheduler.pool", "label")
    place, calls = ChunkId(run.run_id, plan.number, chunk), plan.chunks[chunk]
    pending = bucket(staging, place.at, "pending", chunk)
    if not calls or pending is None:
        return Summary()
    contents = pending.where("is_first")
    reused = bucket(staging, place.at, "reused", chunk) if plan.has_reused else None
    if reused is not None:
        contents = contents.join(reused, on="work_key", how="left_anti")
    slots = task_slots(spark)
    parts = max(1, min(slots.total * run.config.run.partitions_per_slot, calls // MIN_PARTITION))
    window = -(-run.config.engine.requests_in_flight // min(parts, slots.per_executor))
    recipe = as_recipe(run.config, plan.job, run.run_id, window, run.listener.address)
    asked = contents.select("work_key", run.source.payload).repartition(parts, "work_key")
    answered = asked.mapInArrow(label_batches(recipe), RESULT_DDL)
    answered.write.mode("overwrite").parquet(staging.path(*place.at, "results", chunk))
    try:
        return _summary(run, place)
    except FAILED:
        if staging.exists(*place.at, "results", chunk, "_SUCCESS"):
            raise
        return Summary()  # another driver has committed the chunk already


def _summary(run: Run, place: ChunkId) -> Summary:
    results = read_results(run.staging, place)
    tokens = ("prompt_tokens", "cached_tokens", "completion_tokens")
    row = results.agg(
        F.count_if("asked").alias("asked"),
        F.count_if(F.col("asked") & F.col("finish_reason").isNotNull()).alias("answered"),
        F.count_if("fatal").alias("fatal"),
        F.max(F.when(F.col("fatal"), F.col("error"))).alias("error"),
        F.max("lost").alias("lost"),
        F.array_distinct(F.flatten(F.collect_list("engines"))).alias("engines"),
        *(F.coalesce(F.sum(name), F.lit(0)).alias(name) for name in tokens),
    ).first()
    assert row is not None  # an aggregate without groups has one row
    spent = Counter({name.removesuffix("_tokens"): int(row[name]) for name in tokens})
    counts = (int(row["asked"]), int(row["answered"]), int(row["fatal"]))
    return Summary(*counts, row["error"], row["lost"], frozenset(row["engines"]), spent)


def _commit_chunk(run: Run, plan: StagedPlan, chunk: int) -> None:
    run.spark.sparkContext.setLocalProperty("spark.scheduler.pool", "commit")
    with run.timed("commit"):
        place = ChunkId(run.run_id, plan.number, chunk)
        commit_chunk(run.tables, run.staging, place, plan.to_json(), run.source_json)
        run.committed = True


def _finish(run: Run, plans: Sequence[StagedPlan], tracker: Tracker | None) -> RunResult:
    """Count what was written, say so in `runs` and MLflow, and clear the staging folder."""
    found = count_written(run.tables, run.run_id, run.config.run.max_attempts)
    pending, written = sum(plan.counts.pending for plan in plans), sum(found.outcomes.values())
    if not run.message and (run.over_budget or any(plan.left for plan in plans)):
        run.message = f"Stopped at the budget of {run.selection.budget}: {pending - written:,} contents are pending."
    message = run.message
    if found.given_up and not message:
        message = f"{found.given_up} rows failed run.max_attempts times and are not tried again."
    run.seconds["total"] = (datetime.now(UTC) - run.began).total_seconds()
    result = RunResult(
        run_id=run.run_id,
        status=Status.partial if run.message or found.to_retry else Status.complete,
        rows=sum(plan.counts.rows for plan in plans),
        pending=pending,
        calls=run.asked,
        written=written,
        outcomes=found.outcomes,
        engine_starts=len(run.engines),
        tokens={name: run.tokens[name] for name in ("prompt", "cached", "completion")},
        seconds={name: round(seconds, 3) for name, seconds in run.seconds.items()},
        tables={table.name: run.tables.path(table) for table in schema.TABLES},
        message=message,
        mlflow_run_id=tracker.mlflow_run_id if tracker else None,
        by_policy=found.by_policy,
    )
    row = ended_row(run.tables, run.manifest, result, datetime.now(UTC))
    run.tables.append(schema.RUNS, [row], f"{run.run_id}/end")
    run.staging.clear(run.run_id)
    if tracker:
        versions = (run.labels_version_in, row["labels_version_out"])
        try:
            tracker.end(run.jobs, run.source_json, versions, result)
        except Exception as error:  # the labels are written; a tracking server that went away must not fail the run
            log.warning("MLflow did not take the run's figures: %s", type(error).__name__)
    return result
