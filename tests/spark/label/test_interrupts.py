"""Ctrl-C and SIGTERM: a real process, a real signal, and what it leaves."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.soak.conserved import assert_conserved, read
from tests.soak.job import MAX_RUN_S, LabelJob

pytestmark = [pytest.mark.spark, pytest.mark.slow]
SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture
def job(tmp_path: Path) -> Iterator[LabelJob]:
    job = LabelJob(tmp_path, policies=["market"], latency_s=0.02)
    yield job
    job.end()


def interrupt(job: LabelJob, number: int, is_due: Callable[[], Any], delay_s: float = 0.0) -> int:
    """Start a run, send it a signal once `is_due`, and return its exit code when it has ended."""
    process, deadline = job.start(), time.monotonic() + MAX_RUN_S
    while not is_due():
        assert process.poll() is None and time.monotonic() < deadline, job.stderr_tail()
        time.sleep(0.02)
    time.sleep(delay_s)
    os.kill(process.pid, number)
    return process.wait(MAX_RUN_S)


def printed(job: LabelJob) -> dict[str, Any]:
    """The JSON object that the run printed last."""
    result: dict[str, Any] = json.loads((job.folder / "out").read_text().splitlines()[-1])
    return result


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interrupt_while_labelling_ends_6_and_what_was_staged_is_committed(job: LabelJob, number: int) -> None:
    job.add(300)
    assert interrupt(job, number, lambda: list(job.staging.glob("*/0/results/*/_SUCCESS"))) == 6, job.stderr_tail()
    result = printed(job)
    assert (result["status"], result["calls"] > 0) == ("partial", True)
    assert "Stopped by the operator.\nSome work is left: issue the same command again.\n" in job.stderr_tail()
    assert "Traceback" not in job.stderr_tail()
    assert result["written"] == len(read(job, "labels")) >= 30  # at least the chunk that was complete
    assert not list(job.staging.glob("*"))
    job.wait()  # until the JVM has ended too
    job.run_until_done()
    assert_conserved(job, 1)
    assert [run["status"] for run in read(job, "runs")].count("partial") == 1


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("delay_s", [0.0, 1.5])
def test_an_interrupt_while_spark_starts_leaves_no_process(job: LabelJob, number: int, delay_s: float) -> None:
    job.add(20)

    def has_jvm() -> bool:
        # The start script, and the JVM that it becomes. Before it there is only `java -version`.
        with contextlib.suppress(psutil.Error):
            words = [" ".join(process.cmdline()) for process in job.processes()]
            return any("spark-submit" in command or "SparkSubmit" in command for command in words)
        return False

    code, left = interrupt(job, number, has_jvm, delay_s), job.processes()
    assert (code, left) == (6, []), job.stderr_tail()
    assert printed(job)["status"] == "partial"
    assert "Interrupted. Issue the same command again to resume." in job.stderr_tail()
    assert "Traceback" not in job.stderr_tail()
    assert not job.tables.exists()
