"""Staging: what a run has planned and what its model has said, until it is committed.

<staging>/<run id>/manifest.json      what the run is; written before anything else
                   alive              touched while the driver lives
                   <policy number>/plan.json     written when the plan is whole
                                   pending/bucket=<n>/    content ids and contents to label, by chunk
                                   reused/bucket=<n>/     verdicts that other ids of the same content have
                                   results/<n>/           what the model said (with _SUCCESS when whole)
"""

import json
import os
import socket
import time
from dataclasses import dataclass
from typing import Any

import psutil
from pyspark.sql import SparkSession

from safeguard_spark.spark.files import Files


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

    def touch(self, *parts: str | int) -> None:
        """Renew a file's modification time."""
        self._files.write(self.path(*parts), str(time.time()))

    def modified(self, *parts: str | int) -> float | None:
        """When a file was last written, in seconds by the file system's clock, or None."""
        return self._files.modified(self.path(*parts))


def here() -> dict[str, Any]:
    """This process, so that another driver on the same machine can see whether it still lives."""
    return {
        "host": socket.gethostname(),
        "boot": psutil.boot_time(),
        "pid": os.getpid(),
        "pid_started": psutil.Process().create_time(),
    }


def is_alive(staging: Staging, run_id: str, manifest: dict[str, Any], heartbeat_s: float) -> bool:
    """Whether the driver of a staged run still lives: by its process if it is of this machine, else by its heartbeat.

    A heartbeat is compared with a file written now, so that only the file system's clock counts.
    """
    driver = manifest.get("driver", {})
    if driver.get("host") == socket.gethostname():
        try:
            return bool(psutil.Process(driver["pid"]).create_time() == driver["pid_started"])
        except psutil.Error:
            return False
    probe = f"{run_id}/probe"
    staging.touch(probe)
    now, last = staging.modified(probe), staging.modified(run_id, "alive")
    staging.delete(probe)
    return bool(now and last and now - last < 30 * heartbeat_s)
