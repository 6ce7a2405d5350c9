"""Staging: what a run has planned and what its model has said, until it is committed.

<staging>/<run id>/manifest.json      what the run is; written before anything else
                   alive              touched while the driver lives
                   <policy number>/plan.json     written when the plan is whole
                                   pending/bucket=<n>/    content ids and contents to label, by chunk
                                   reused/bucket=<n>/     verdicts that other ids of the same content have
                                   results/<n>/           what the model said (with _SUCCESS when whole)
"""

import contextlib
import json
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from safeguard_spark.engines.processes import start_time
from safeguard_spark.spark.files import Files

MANIFEST = "manifest.json"
DEAD_BEATS = 30  # heartbeats a driver may miss


@dataclass
class Staging:
    """The staging folder of one output, on any file system Spark knows."""

    spark: SparkSession
    root: str

    def __post_init__(self) -> None:
        self._files = Files(self.spark, self.root)

    def path(self, *parts: str | int) -> str:
        """A path below the staging folder."""
        return "/".join([self.root, *map(str, parts)])

    def exists(self, *parts: str | int) -> bool:
        """Whether something is there."""
        return self._files.exists(self.path(*parts))

    def names(self, *parts: str | int) -> list[str]:
        """Names in a folder, sorted; none if it is not there."""
        return self._files.names(self.path(*parts))

    def write(self, value: dict[str, Any], *parts: str | int) -> None:
        """Write JSON so that it is there whole or not at all."""
        self._files.write(self.path(*parts), json.dumps(value))

    def read(self, *parts: str | int) -> dict[str, Any] | None:
        """JSON written by `write`, or None."""
        text = self._files.read(self.path(*parts))
        return None if text is None else json.loads(text)

    def delete(self, *parts: str | int) -> None:
        """Delete a file or folder, if it is there."""
        self._files.delete(self.path(*parts))

    def clear(self, run_id: str) -> None:
        """Delete a run's folder, its manifest last: a deletion cut short is found and ended by the next run."""
        for name in self.names(run_id):
            if name != MANIFEST:
                self.delete(run_id, name)
        self.delete(run_id, MANIFEST)
        self.delete(run_id)

    def clear_abandoned(self, run_id: str, heartbeat_s: float) -> None:
        """Delete a folder without a manifest if nothing in it was written for as long as makes a driver dead."""
        names = self.names(run_id)
        if not names:
            self._files.delete_empty(self.path(run_id))
            return
        newest = max(self.modified(run_id, name) or 0.0 for name in names)
        if self.now(run_id) - newest > DEAD_BEATS * heartbeat_s:
            self.delete(run_id)

    def now(self, run_id: str) -> float:
        """The time by the file system's own clock."""
        probe = f"{run_id}/probe"
        self.touch(probe)
        now = self.modified(probe)
        self.delete(probe)
        return now or 0.0

    def touch(self, *parts: str | int) -> None:
        """Renew a file's modification time."""
        self._files.touch(self.path(*parts), str(time.time()))

    def modified(self, *parts: str | int) -> float | None:
        """When a file was last written, in seconds by the file system's clock, or None."""
        return self._files.modified(self.path(*parts))


def here() -> dict[str, Any]:
    """This process, so that another driver on the same machine can see whether it still lives."""
    return {"machine": machine(), "pid": os.getpid(), "born": start_time(os.getpid())}


def machine() -> str:
    """Where process ids mean what they mean here: this machine's name, its start and its namespace of processes.

    The name alone is no answer: many machines are called `localhost`, and a container may have its host's name.
    """
    names = [socket.gethostname()]
    with contextlib.suppress(OSError):  # systems other than Linux know neither
        names.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        names.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(names)


def is_alive(staging: Staging, run_id: str, manifest: dict[str, Any], heartbeat_s: float) -> bool:
    """Whether the driver of a staged run still works on it: by its process if it is of this machine, else by its
    heartbeat.

    A process is told by the kernel's own ticks and a heartbeat is compared with a file written now, so that clocks may
    jump.
    """
    driver = manifest.get("driver", {})
    if manifest.get("left"):
        return False
    if driver.get("machine") == machine():
        return bool(start_time(driver["pid"]) == driver["born"])
    last = staging.modified(run_id, "alive")
    return last is not None and staging.now(run_id) - last < DEAD_BEATS * heartbeat_s
