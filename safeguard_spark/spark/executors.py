"""The executors of a session: how many label tasks they run at once, which GPUs they have, and what failed on them.

Read from Spark's status store, which knows them on every cluster manager; `spark.executor.cores` is often not set.
"""

import contextlib
import re
import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from pyspark.resource import ResourceProfile, ResourceProfileBuilder, TaskResourceRequests
from pyspark.sql import SparkSession

MAX_TASKS_PER_GPU = 8  # with more, each holds too few requests to be worth a Python process
MAX_FAILED_TASKS = 100
WATCH_S = 1.0  # between two looks for executors whose engine does not start
EVENTS_MS = 5_000  # for the status store to see the end of a job's tasks
DRIVER = "driver"
# A task whose engine did not start fails with this error, so that Spark runs it again on another executor.
FAILED_START = re.compile(r"\bEngineError: (.*)")


class Executor(NamedTuple):
    """A living executor; locally the driver. `gpus` are the addresses of its GPUs."""

    id: str
    host: str
    cores: int
    gpus: tuple[str, ...]


class Slots(NamedTuple):
    """How many label tasks can run at once: on all executors, and on one of them."""

    total: int
    per_executor: int


def executors(spark: SparkSession) -> list[Executor]:
    """The executors that Spark gives tasks to now."""
    summaries = list(_items(_context(spark).statusStore().executorList(True)))
    running = [summary for summary in summaries if summary.id() != DRIVER] or summaries
    included = [summary for summary in running if _gets_tasks(spark, summary)] or running
    return [
        Executor(str(s.id()), str(s.hostPort()).rpartition(":")[0], int(s.totalCores()), _gpus(s)) for s in included
    ]


def task_slots(spark: SparkSession, running: Sequence[Executor]) -> Slots:
    """Task slots, limited by cores and, if tasks need GPUs, by GPUs. With dynamic allocation, those it may ask for."""
    conf = spark.sparkContext.getConf()
    cores = max((executor.cores for executor in running), default=0) or int(conf.get("spark.executor.cores") or 1)
    gpus = max((len(executor.gpus) for executor in running), default=0)
    per_executor = max(1, cores // int(conf.get("spark.task.cpus") or 1))
    if gpus and (amount := conf.get("spark.task.resource.gpu.amount")):
        per_executor = min(per_executor, _tasks_on(gpus, float(amount)))
    elif gpus and may_have_profile(spark):
        per_executor = min(per_executor, gpus * MAX_TASKS_PER_GPU)
    count = len(running)
    if conf.get("spark.dynamicAllocation.enabled") == "true":
        count = max(count, int(conf.get("spark.dynamicAllocation.maxExecutors") or 0))
    return Slots(count * per_executor, per_executor)


def label_profile(spark: SparkSession, running: Sequence[Executor], slots: Slots) -> ResourceProfile | None:
    """What a label task needs where tasks do not ask for GPUs by themselves: its share of an executor's GPUs.

    So that only the label stage is limited by GPUs, and planning uses every core. None where nothing is to be asked
    for, or where Spark cannot.
    """
    conf = spark.sparkContext.getConf()
    gpus = max((len(executor.gpus) for executor in running), default=0)
    if not gpus or conf.get("spark.task.resource.gpu.amount") or not may_have_profile(spark):
        return None
    share = gpus / slots.per_executor
    requests = TaskResourceRequests().cpus(int(conf.get("spark.task.cpus") or 1))
    return ResourceProfileBuilder().require(requests.resource("gpu", share if share <= 1 else int(share))).build


def may_have_profile(spark: SparkSession) -> bool:
    """Whether one stage may ask for GPUs: not locally, and under dynamic allocation only with new executors."""
    is_dynamic = spark.sparkContext.getConf().get("spark.dynamicAllocation.enabled") == "true"
    return not is_local(spark.sparkContext.master) and not is_dynamic


def task_attempts(spark: SparkSession) -> int:
    """How often a task whose engine does not start is tried: once if no other executor can do it."""
    if is_local(spark.sparkContext.master) or len(executors(spark)) == 1:
        return 1
    return int(spark.sparkContext.getConf().get("spark.task.maxFailures") or 4)


def is_local(master: str | None) -> bool:
    """Whether the driver is the only executor."""
    return re.match(r"local(\[|$)", master or "") is not None


@contextlib.contextmanager
def without_failed(spark: SparkSession, tag: str) -> Iterator[dict[str, str]]:
    """While a block runs Spark jobs with a tag: take executors out of use whose engine does not start, but one.

    Yields why, by `executor 1 on HOST`; complete when the block ends. Their tasks fail, and Spark runs them again where
    an engine may start. (Its own `spark.excludeOnFailure` would also count tasks that fail for other reasons, end idle
    executors, and with them lose what a shuffle has written.)
    """
    causes, ended = dict[str, str](), threading.Event()

    def watch() -> None:
        while not ended.wait(WATCH_S):
            with contextlib.suppress(Exception):  # the tasks then run out of attempts, and their rows stay pending
                _take_out_failed(spark, tag, causes)

    watcher = threading.Thread(target=watch, name="executors", daemon=True)
    watcher.start()
    try:
        yield causes
    finally:
        ended.set()
        watcher.join()
        with contextlib.suppress(Exception):
            _context(spark).listenerBus().waitUntilEmpty(EVENTS_MS)
            _take_out_failed(spark, tag, causes)


def _take_out_failed(spark: SparkSession, tag: str, causes: dict[str, str]) -> None:
    context = _context(spark)
    jvm: Any = spark._jvm
    store, backend = context.statusStore(), context.schedulerBackend()
    for job in context.statusTracker().getJobIdsForTag(tag):
        for stage in _items(store.job(job).stageIds()):
            for task in _failed_tasks(spark, store.lastStageAttempt(stage)):
                executor = f"executor {task.executorId()} on {task.host()}"
                match = FAILED_START.search(str(task.errorMessage().getOrElse(None) or ""))
                if match is None or executor in causes:
                    continue
                causes[executor] = match[1].strip()
                if any(other.id != task.executorId() for other in executors(spark)):
                    info = jvm.org.apache.spark.scheduler.ExecutorDecommissionInfo(match[1], jvm.scala.Option.empty())
                    backend.decommissionExecutor(task.executorId(), info, False, False)


def _failed_tasks(spark: SparkSession, stage: Any) -> Iterator[Any]:
    jvm: Any = spark._jvm
    if not stage.numFailedTasks():
        return
    status = jvm.java.util.ArrayList()
    status.add(jvm.org.apache.spark.status.api.v1.TaskStatus.FAILED)
    store, unsorted = _context(spark).statusStore(), jvm.scala.Option.empty()
    yield from _items(store.taskList(stage.stageId(), stage.attemptId(), 0, MAX_FAILED_TASKS, unsorted, True, status))


def _tasks_on(gpus: int, amount: float) -> int:
    """Tasks at once on so many GPUs, each of which needs `amount`, as Spark assigns them."""
    return max(1, gpus // int(amount) if amount >= 1 else gpus * int(1 / amount + 1e-9))


def _gets_tasks(spark: SparkSession, summary: Any) -> bool:
    with contextlib.suppress(Exception):  # only a cluster's back end knows this
        return bool(_context(spark).schedulerBackend().isExecutorActive(summary.id()))
    return True


def _gpus(summary: Any) -> tuple[str, ...]:
    gpu = summary.resources().get("gpu")
    return tuple(str(address) for address in gpu.get().addresses()) if gpu.isDefined() else ()


def _context(spark: SparkSession) -> Any:
    return spark.sparkContext._jsc.sc()


def _items(seq: Any) -> Iterator[Any]:
    """The items of a Scala sequence."""
    return (seq.apply(number) for number in range(seq.size()))
