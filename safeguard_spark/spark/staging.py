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

from safeguard_spark.spark.tables import write_text


@dataclass
class Staging:
    """The staging folder of one output, on any file system Spark knows."""

    spark: SparkSession
    root: str

    def __post_init__(self) -> None:
        self._hadoop = self.spark._jvm.org.apache.hadoop.fs
        conf = self.spark._jsparkSession.sessionState().newHadoopConf()
        self._files = self._hadoop.Path(self.root).getFileSystem(conf)

    def path(self, *parts: str | int) -> str:
        """A path below the staging folder."""
        return "/".join([self.root, *map(str, parts)])

    def exists(self, *parts: str | int) -> bool:
        """Whether something is there."""
        return bool(self._files.exists(self._hadoop.Path(self.path(*parts))))

    def names(self, *parts: str | int) -> list[str]:
        """Names in a folder, sorted; none if it is not there."""
        path = self._hadoop.Path(self.path(*parts))
        if not self._files.exists(path):
            return []
        return sorted(str(status.getPath().getName()) for status in self._files.listStatus(path))

    def write(self, value: dict[str, Any], *parts: str | int) -> None:
        """Write JSON so that it is there whole or not at all."""
        target, draft = self.path(*parts), self.path(*parts) + ".draft"
        write_text(self.spark, draft, json.dumps(value))
        self._files.delete(self._hadoop.Path(target), False)
        self._files.rename(self._hadoop.Path(draft), self._hadoop.Path(target))

    def read(self, *parts: str | int) -> dict[str, Any] | None:
        """JSON written by `write`, or None."""
        path = self._hadoop.Path(self.path(*parts))
        if not self._files.exists(path):
            return None
        stream = self._files.open(path)
        try:
            raw = self.spark._jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8")
        finally:
            stream.close()
        value: dict[str, Any] = json.loads(raw)
        return value

    def delete(self, *parts: str | int) -> None:
        """Delete a file or folder, if it is there."""
        self._files.delete(self._hadoop.Path(self.path(*parts)), True)

    def touch(self, *parts: str | int) -> None:
        """Renew a file's modification time."""
        write_text(self.spark, self.path(*parts), str(time.time()))

    def modified(self, *parts: str | int) -> float | None:
        """When a file was last written, in seconds by the file system's clock, or None."""
        path = self._hadoop.Path(self.path(*parts))
        if not self._files.exists(path):
            return None
        return float(self._files.getFileStatus(path).getModificationTime()) / 1000


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


