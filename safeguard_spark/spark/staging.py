"""Staging: what a run has planned and the model's results, until they are committed.

<staging>/<run id>/manifest.json      what the run is; written before anything else
                   alive              touched as long as the driver runs
                   <policy number>/plan.json     written when the plan is complete
                                   pending/bucket=<n>/    content ids and contents to label, by chunk
                                   reused/bucket=<n>/     verdicts that other ids of the same content have
                                   results/<n>/           the model's results (with _SUCCESS when complete)
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
DEAD_BEATS = 30  # heartbeats a driver may miss before it counts as dead


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
        """Whether a file or folder exists."""
        return self._files.exists(self.path(*parts))

    def names(self, *parts: str | int) -> list[str]:
        """Names in a folder, sorted; none if the folder does not exist."""
        return self._files.names(self.path(*parts))

    def write(self, value: dict[str, Any], *parts: str | int) -> None:
        """Write JSON so that a reader sees all of it or nothing."""
        self._files.write(self.path(*parts), json.dumps(value))

    def read(self, *parts: str | int) -> dict[str, Any] | None:
        """JSON written by `write`, or None."""
        text = self._files.read(self.path(*parts))
        return None if text is None else json.loads(text)

    def delete(self, *parts: str | int) -> None:
        """Delete a file or folder if it exists."""
        self._files.delete(self.path(*parts))

    def clear(self, run_id: str) -> None:
        """Delete a run's folder, its manifest last: the next run then completes an interrupted deletion."""
        for name in self.names(run_id):
            if name != MANIFEST:
                self.delete(run_id, name)
        self.delete(run_id, MANIFEST)
        self.delete(run_id)

    def clear_abandoned(self, run_id: str, heartbeat_s: float) -> None:
        """Delete a folder without a manifest if its last write is so old that its driver counts as dead."""
        names = self.names(run_id)
        if not names:
            self._files.delete_empty(self.path(run_id))
            return
        newest = max(self.modified(run_id, name) or 0.0 for name in names)
        if self.now(run_id) - newest > DEAD_BEATS * heartbeat_s:
            self.delete(run_id)

    def now(self, run_id: str) -> float:
        """The time on the file system's own clock, in seconds."""
        probe = f"{run_id}/probe"
        self.touch(probe)
        now = self.modified(probe)
        self.delete(probe)
        return now or 0.0

    def touch(self, *parts: str | int) -> None:
        """Set a file's modification time to now; creates the file if needed."""
        self._files.touch(self.path(*parts), str(time.time()))

    def modified(self, *parts: str | int) -> float | None:
        """When a file was last written, in seconds by the file system's clock, or None."""
        return self._files.modified(self.path(*parts))


def this_process() -> dict[str, Any]:
    """Identifies this process, so that another driver on the same machine can see whether it still runs."""
    return {"machine": machine_id(), "pid": os.getpid(), "born": start_time(os.getpid())}


def machine_id() -> str:
    """Where this process's pid is valid: the machine's name, its boot id and the pid namespace.

    The name alone is not enough: many machines are called `localhost`, and a container may have its host's name.
    """
    names = [socket.gethostname()]
    with contextlib.suppress(OSError):  # only Linux has these
        names.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        names.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(names)


def is_alive(staging: Staging, run_id: str, manifest: dict[str, Any], heartbeat_s: float) -> bool:
    """Whether the driver of a staged run still works on it.

    A driver on this machine is checked by its process, any other by its heartbeat. Neither depends on the wall clock: a
    process's start time is in ticks of the kernel, and a heartbeat is compared with a file written now.
    """
    driver = manifest.get("driver", {})
    if manifest.get("left"):
        return False
    if driver.get("machine") == machine_id():
        return bool(start_time(driver["pid"]) == driver["born"])
    last = staging.modified(run_id, "alive")
    return last is not None and staging.now(run_id) - last < DEAD_BEATS * heartbeat_s
