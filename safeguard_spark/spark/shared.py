"""Whether the places of a run can be shared by its machines: by executors and driver, and by two drivers at once."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError
from safeguard_spark.spark.executors import executors, is_local, task_slots
from safeguard_spark.spark.files import Files
from safeguard_spark.spark.session import DATABRICKS
from safeguard_spark.spark.source import is_path

S3 = ("s3a", "s3", "s3n")
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
    probe.write_text("driver", "driver")
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


def refuse_no_log_store(spark: SparkSession, folder: str) -> None:
    """Raise ConfigError for a table on S3 unless a log store is configured, which decides how writers are kept apart.

    Delta's own log store looks whether a commit's file exists and then writes it, so two drivers at once could both
    write the same commit. hadoop-aws has conditional writes from 3.4.2 on, but not in the call that Delta makes.
    """
    files = Files(spark, folder)
    is_configured = DATABRICKS in os.environ or _log_store(spark, files.scheme)  # Databricks commits through a service
    if files.scheme in S3 and not is_configured:
        key, package = f"spark.delta.logStore.{files.scheme}.impl", "io.delta.storage"
        raise ConfigError(
            f"Of two programs that write to {folder} at once, one could lose its commits. Set {key}={package}."
            f"S3SingleDriverLogStore if you start one at a time, or {key}={package}.S3DynamoDBLogStore, which keeps "
            "them apart."
        )


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


def _log_store(spark: SparkSession, scheme: str) -> bool:
    names = (f"spark.delta.logStore.{scheme}.impl", "spark.delta.logStore.class")
    return any(spark.conf.get(name, None) or spark.sparkContext.getConf().get(name) for name in names)
