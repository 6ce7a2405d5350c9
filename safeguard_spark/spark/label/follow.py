"""Follow: label what arrives in a source, run after run, until an interrupt or SIGTERM.

Every run is an ordinary one, so it recovers from whatever `label` recovers from. Between runs only the source's log, or
the list of its files, is read. An engine stays warm for `engine.idle_s` after its last call.
"""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from pyspark.sql import SparkSession

from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError
from safeguard_spark.policy.document import Policy
from safeguard_spark.result import RunResult
from safeguard_spark.spark.label.candidates import Seen, see
from safeguard_spark.spark.label.shadow import label_with_shadows
from safeguard_spark.spark.source import find_source


def follow_table(
    spark: SparkSession,
    config: RunConfig,
    policies: Sequence[Policy],
    *,
    show: bool = True,
    on_result: Callable[[RunResult], None],
) -> RunResult:
    """Label a table, and again each time it has changed. Returns the last result after an interrupt or SIGTERM.

    A run that leaves work, for example rows that failed, is followed by another one. Raises SafeguardError as
    `label_table` does: whatever started this process starts it again.
    """
    with _interrupt_event() as interrupted:
        while True:
            seen = _see(spark, config)
            result = label_with_shadows(spark, config, policies, show=show)
            on_result(result)
            has_work = any(part.exit_code for part in (result, result.shadow) if part)
            try:
                while not interrupted.is_set():
                    time.sleep(config.run.follow_every)
                    if has_work or not _see(spark, config).is_same(seen.point, seen.files):
                        break
            except KeyboardInterrupt:
                return result
            if interrupted.is_set():
                return result


def _see(spark: SparkSession, config: RunConfig) -> Seen:
    """The source as it is now. Raises ConfigError if nothing says whether it has changed."""
    source = find_source(spark, config.source)
    seen = see(source, config)
    if isinstance(seen, str):
        raise ConfigError(
            f"{source.name} cannot be followed: {seen}. Name a Delta table or a folder of Parquet files, or label it "
            "at fixed times without --follow."
        )
    return seen


@contextlib.contextmanager
def _interrupt_event() -> Iterator[threading.Event]:
    """An event that an interrupt or SIGTERM sets before it raises KeyboardInterrupt, which a run that labels catches.

    In a thread other than the main one it is never set.
    """
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def interrupt(number: int, frame: FrameType | None) -> None:
        interrupted.set()
        if callable(handler := handlers[signal.Signals(number)]):
            handler(number, frame)  # PySpark's cancels Spark's jobs
        raise KeyboardInterrupt

    for number in handlers:
        signal.signal(number, interrupt)
    try:
        yield interrupted
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
