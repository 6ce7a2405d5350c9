"""Kills something of a running job at a random moment. The same seed makes the same choice."""

import os
import random
import signal
import time
from collections.abc import Callable
from typing import NamedTuple

import psutil

from tests.soak.job import ENDS_S, LabelJob

MOMENTS = ("start", "plan", "label", "stage", "commit", "end")
VICTIMS = ("driver", "machine", "jvm", "worker", "daemon")  # and on a cluster: executor


class Kill(NamedTuple):
    """What to kill, and when: `delay_s` after a moment of the run is reached."""

    victim: str
    moment: str
    delay_s: float

    @classmethod
    def drawn(cls, chance: random.Random, victims: tuple[str, ...] = VICTIMS) -> "Kill":
        """One by chance."""
        return cls(chance.choice(victims), chance.choice(MOMENTS), round(chance.uniform(0.0, 0.8), 3))

    def __str__(self) -> str:
        return f"{self.victim} {self.delay_s:g} s after {self.moment}"


def kill(job: LabelJob, what: Kill) -> str | None:
    """Start a run, wait for the moment, and kill; what was killed, or None if the run had ended before.

    A victim that is not there (no worker while planning) is waited for as long as the run lasts.
    """
    reached = _moment(job, what.moment)
    process = job.start()
    ends = time.monotonic() + ENDS_S
    armed = False
    while process.poll() is None:
        assert time.monotonic() < ends, f"the moment {what.moment} never came"
        if not armed and reached():
            armed = True
            time.sleep(what.delay_s)
        if armed and (killed := strike(job, what.victim)):
            return killed
        time.sleep(0.01)
    return None


def _moment(job: LabelJob, moment: str) -> Callable[[], bool]:
    """Whether a moment of the run that starts now is reached."""
    before = {path.name for path in job.staging.glob("*")}
    known = {table: _commits(job, table) for table in ("labels", "runs")}

    def staged(pattern: str) -> bool:
        return any(path.relative_to(job.staging).parts[0] not in before for path in job.staging.glob(pattern))

    return {
        "start": lambda: True,
        "plan": lambda: staged("*/manifest.json"),
        "label": lambda: staged("*/*/results/*"),
        "stage": lambda: staged("*/*/results/*/_SUCCESS"),
        "commit": lambda: staged("*/manifest.json") and _commits(job, "labels") > known["labels"],
        "end": lambda: staged("*/manifest.json") and _commits(job, "runs") > known["runs"],
    }[moment]


def _commits(job: LabelJob, table: str) -> int:
    return len(list((job.tables / table / "_delta_log").glob("*.json")))


def strike(job: LabelJob, victim: str) -> str | None:
    """SIGKILL a victim; what was killed, or None if it is not there."""
    assert job.process is not None
    if victim == "machine":
        found = job.processes()
    elif victim == "driver":
        found = [psutil.Process(job.process.pid)]
    else:
        found = [process for process in job.processes() if _is(process, victim, job.process.pid)][:1]
    for process in found:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return victim if found else None


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
