"""The metrics of a run, written while it runs and when it ended."""

import contextlib
import logging
from collections.abc import Iterator
from datetime import UTC, datetime

from safeguard_spark.errors import ConfigError
from safeguard_spark.prometheus import metrics_text, write_metrics
from safeguard_spark.result import RunResult
from safeguard_spark.spark.label.run import RunContext

log = logging.getLogger(__name__)


@contextlib.contextmanager
def metrics_of(run: RunContext) -> Iterator[list[RunResult]]:
    """Write the run's metrics when the block begins and when it ends, with the result that it adds to the list."""
    file, results = run.config.run.metrics_file, list[RunResult]()
    # A shadow, and a run that measures noise, belong to another run.
    if file is None or (run.selection.source is not None and run.selection.plan_id is None):
        yield results
        return

    def write(status: str, *, has_ended: bool = True) -> None:
        ended_at, result = datetime.now(UTC) if has_ended else None, next(iter(results), None)
        write_metrics(file, metrics_text(run.run_id, status, run.opened.started_at, ended_at, result))

    write("running", has_ended=False)  # before any call: a file that cannot be written is found here
    try:
        yield results
    except BaseException:
        with contextlib.suppress(ConfigError):
            write("failed")
        raise
    try:
        write(results[0].status.value)
    except ConfigError as error:  # the labels are written
        log.warning("The run's metrics could not be written: %s", error)
