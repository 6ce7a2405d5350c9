"""Whether the places of a run can be shared by its machines."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError
from safeguard_spark.spark.executors import executors, is_local, task_slots
from safeguard_spark.spark.failures import retrying
from safeguard_spark.spark.files import Files
from safeguard_spark.spark.session import DATABRICKS
from safeguard_spark.spark.source import is_path

SQLITE = "sqlite:"
TASK_S = 0.2  # so that the probe's tasks are spread over all slots


def refuse_unshared(spark: SparkSession, folders: list[str]) -> None:
    """Raise ConfigError if an executor does not see what the driver writes to one of these folders, or cannot write.

    A path without a scheme names another folder on each machine: its rows would be lost without an error.
    """
    if is_local(spark.sparkContext.master):
        return
    for folder in dict.fromkeys(folders):
        files = Files(spark, folder)
        if files.scheme == "file":
            _probe(spark, folder, files.folder(f"_probe-{secrets.token_hex(4)}"))
            files.delete_empty()


def _probe(spark: SparkSession, folder: str, probe: Files) -> None:
    retrying(lambda: probe.write_text("driver", "driver"), f"{folder} cannot be written")
    try:
        path, count = probe.local_path(), task_slots(spark, executors(spark)).total
        problems = spark.sparkContext.parallelize(range(count), count).mapPartitions(_problems(path)).collect()
    finally:
        probe.delete()
    if problems:
        raise ConfigError(
            f"{folder} is not shared by all machines: {problems[0]}. Name a folder that driver and executors have in "
            "common and may write, or an object store (s3a://…)."
        )


def _problems(path: str) -> Any:
    """The function for the executors: what is wrong with a folder there."""

    def run(_rows: Iterator[int]) -> Iterator[str]:
        import socket
        import time

        time.sleep(TASK_S)
        where, own = f"an executor on {socket.gethostname()} (user {os.getuid()})", Path(path) / secrets.token_hex(8)
        if not (Path(path) / "driver").exists():
            yield f"{where} does not see what the driver writes there"
            return
        try:
            own.write_text("")
        except OSError as error:
            yield f"{where} cannot write there ({error.strerror})"
        else:
            own.unlink()

    return run


def require_volume(config: RunConfig) -> None:
    """Raise ConfigError on Databricks if results would be staged next to the folders of managed tables."""
    if DATABRICKS in os.environ and config.output and not is_path(config.output) and not config.run.staging:
        raise ConfigError(
            "On Databricks nothing can be written next to the tables of a schema. Set run.staging to a folder of a "
            "volume: /Volumes/CATALOG/SCHEMA/VOLUME/staging."
        )


def refuse_driver_local(spark: SparkSession, config: RunConfig) -> None:
    """Raise ConfigError if the run would be logged to a file on a machine that the cluster chose for the driver."""
    is_elsewhere = spark.sparkContext.getConf().get("spark.submit.deployMode") == "cluster"
    uri = config.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI") or SQLITE
    if is_elsewhere and config.tracking.enabled and uri.startswith((SQLITE, "file:")):
        raise ConfigError(
            "In cluster deploy mode the driver's files are lost with its machine, and runs would be logged to one. Set "
            "tracking.uri to an MLflow server, or tracking.enabled=false."
        )
