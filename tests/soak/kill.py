"""Kill a process of a running job at a random moment. The same seed gives the same choice."""

import os
import random
import signal
import time
from collections.abc import Callable
from typing import NamedTuple

import psutil

from tests.soak.job import MAX_RUN_S, LabelJob

MOMENTS = ("start", "plan", "label", "stage", "commit", "end")
VICTIMS = ("driver", "machine", "jvm", "worker", "daemon")  # and on a cluster: executor


class Kill(NamedTuple):
    """What to kill and when: `delay_s` seconds after the run reaches a moment."""

    victim: str
    moment: str
    delay_s: float

    @classmethod
    def at_random(cls, rng: random.Random, victims: tuple[str, ...] = VICTIMS) -> "Kill":
        """A random choice."""
        return cls(rng.choice(victims), rng.choice(MOMENTS), round(rng.uniform(0.0, 0.8), 3))

    def __str__(self) -> str:
        return f"{self.victim} {self.delay_s:g} s after {self.moment}"


def kill(job: LabelJob, planned: Kill) -> str | None:
    """Start a run, wait for the moment, and kill. Returns the victim, or None if the run ended before.

    If the victim does not exist yet (no worker while planning), it is waited for until the run ends.
    """
    is_reached = _moment_check(job, planned.moment)
    process = job.start()
    deadline = time.monotonic() + MAX_RUN_S
    is_due = False
    while process.poll() is None:
        assert time.monotonic() < deadline, f"the moment {planned.moment} never came"
        if not is_due and is_reached():
            is_due = True
            time.sleep(planned.delay_s)
        if is_due and (killed := kill_process(job, planned.victim)):
            return killed
        time.sleep(0.01)
    return None


def _moment_check(job: LabelJob, moment: str) -> Callable[[], bool]:
    """A function that tells whether the run that starts now has reached a moment."""
    before = {path.name for path in job.staging.glob("*")}
    commits_before = {table: _num_commits(job, table) for table in ("labels", "runs")}

    def staged(pattern: str) -> bool:
        return any(path.relative_to(job.staging).parts[0] not in before for path in job.staging.glob(pattern))

    return {
        "start": lambda: True,
        "plan": lambda: staged("*/manifest.json"),
        "label": lambda: staged("*/*/results/*"),
        "stage": lambda: staged("*/*/results/*/_SUCCESS"),
        "commit": lambda: staged("*/manifest.json") and _num_commits(job, "labels") > commits_before["labels"],
        "end": lambda: staged("*/manifest.json") and _num_commits(job, "runs") > commits_before["runs"],
    }[moment]


def _num_commits(job: LabelJob, table: str) -> int:
    return len(list((job.tables / table / "_delta_log").glob("*.json")))


def kill_process(job: LabelJob, victim: str) -> str | None:
    """SIGKILL a victim. Returns it, or None if there is no such process."""
    assert job.process is not None
    if victim == "machine":
        processes = job.processes()
    elif victim == "driver":
        processes = [psutil.Process(job.process.pid)]
    else:
        processes = [process for process in job.processes() if _is(process, victim, job.process.pid)][:1]
    for process in processes:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return victim if processes else None


def _is(process: psutil.Process, victim: str, driver: int) -> bool:
    try:
        words, parent = " ".join(process.cmdline()), process.ppid()
        is_daemon = "pyspark.daemon" in words
        if victim == "jvm":
            return parent == driver and "java" in words
        if victim == "executor":
            return "CoarseGrainedExecutorBackend" in words
        is_child = is_daemon and "pyspark.daemon" in " ".join(psutil.Process(parent).cmdline())
        return is_child if victim == "worker" else is_daemon and not is_child
    except psutil.Error:
        return False
