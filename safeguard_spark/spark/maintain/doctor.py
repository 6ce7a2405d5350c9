"""Doctor: what a deployment lacks, from the driver and from every executor, before a run finds it out."""

import secrets
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from pyspark.sql import SparkSession

from safeguard_spark import __version__
from safeguard_spark.config.engine import HttpConfig
from safeguard_spark.config.model import RunConfig
from safeguard_spark.engines.machine import Check, check, installed, package_version
from safeguard_spark.errors import PolicyError, SafeguardError, TableError
from safeguard_spark.extras import require
from safeguard_spark.spark.executors import executors, task_slots
from safeguard_spark.spark.failures import FAILED, failure_cause
from safeguard_spark.spark.files import Files
from safeguard_spark.spark.label.machine_checks import UNKNOWN, machine_checks
from safeguard_spark.spark.log_store import refuse_no_log_store
from safeguard_spark.spark.session import session
from safeguard_spark.spark.shared import refuse_driver_local, refuse_unshared, require_volume
from safeguard_spark.spark.source import find_source, refuse_overlap
from safeguard_spark.spark.tables import Tables
from safeguard_spark.terminal import counted
from safeguard_spark.tracking.registry import Registry
from safeguard_spark.tracking.store import try_tracking


class Finding(NamedTuple):
    """A check and where it was made."""

    where: str
    check: Check


def examine(config: RunConfig) -> Iterator[Finding]:
    """Every check, as it is made. What needs a Spark session is left out if Spark does not start."""
    yield Finding("driver", check("python", installed, __version__))
    yield Finding("driver", check("policy registry", _registry, config))
    try:
        spark = session(config)
    except SafeguardError as error:
        yield Finding("driver", Check("java and spark", False, str(error)))
        return
    yield Finding("driver", Check("java and spark", True, _spark(spark)))
    yield _on_driver("tracking", _tracking, spark, config)
    if config.output:
        yield _on_driver("output", _output, spark, config)
    if config.source.location:
        yield _on_driver("source", _source, spark, config)
    yield from _on_executors(spark, config)


def _on_driver(name: str, probe: Callable[..., str], *args: Any) -> Finding:
    try:
        return Finding("driver", check(name, probe, *args))
    except FAILED as error:
        return Finding("driver", Check(name, False, f"{failure_cause(error)}. Correct the location, or the access."))


def _registry(config: RunConfig) -> str:
    registry = Registry.of(config)
    if registry.exists:
        return f"{counted(len(registry.names()), 'policy', 'policies')} in {registry.display_name}"
    if not config.policies.is_dir():
        raise PolicyError(
            f"No policy is published in {registry.display_name}, and there is no folder {config.policies}. Correct "
            "tracking.uri or policies."
        )
    return f"nothing published in {registry.display_name}; policies are read from {config.policies}"


def _spark(spark: SparkSession) -> str:
    jvm: Any = spark._jvm
    running = executors(spark)
    return (
        f"Java {jvm.System.getProperty('java.version')}, Spark {spark.version}, {package_version('delta-spark')}, "
        f"{spark.sparkContext.master}, executors: {len(running)}, tasks at once: {task_slots(spark, running).total}"
    )


def _tracking(spark: SparkSession, config: RunConfig) -> str:
    if not config.tracking.enabled:
        return "off (tracking.enabled)"
    require("mlflow")
    refuse_driver_local(spark, config)
    address = try_tracking(config)
    return ", ".join(filter(None, [package_version("mlflow", "mlflow-skinny"), address]))


def _output(spark: SparkSession, config: RunConfig) -> str:
    require_volume(config)
    tables = Tables(spark, str(config.output))
    folders = [tables.output] if tables.in_folder else []
    folders += [config.run.staging] if config.run.staging else []
    for folder in folders:
        refuse_no_log_store(spark, folder)
        _write(spark, folder)
    refuse_unshared(spark, folders)
    return f"{tables.output}, {'with' if tables.exists() else 'without'} label tables"


def _write(spark: SparkSession, folder: str) -> None:
    """Write a file there and delete it, with the folder if that is new. Raises TableError."""
    files, name = Files(spark, folder), f"_probe-{secrets.token_hex(4)}"
    try:
        files.write_text("driver", name)
        files.delete(name)
    except FAILED as error:
        raise TableError(
            f"{folder} cannot be written: {failure_cause(error)}. Name a folder that this user may write."
        ) from error
    files.delete_empty()


def _source(spark: SparkSession, config: RunConfig) -> str:
    table = find_source(spark, config.source)
    refuse_overlap(spark, config, table)
    return table.name


def _on_executors(spark: SparkSession, config: RunConfig) -> Iterator[Finding]:
    running = executors(spark)
    count = 2 * task_slots(spark, running).total
    engine = config.engine if isinstance(config.engine, HttpConfig) else None
    gpus = {executor.id: executor.gpus for executor in running}
    function = machine_checks(engine, gpus, __version__)
    try:
        rows = spark.sparkContext.parallelize(range(count), count).mapPartitions(function).collect()
    except FAILED as error:
        lacking = (
            f"A task of an executor failed ({failure_cause(error)}). Install safeguard-spark[cluster] there, in the "
            "driver's Python version, and say where in PYSPARK_PYTHON."
        )
        yield Finding("executors", Check("python", False, lacking))
        return
    by_executor = {(id, host): checks for id, host, checks in rows}
    for (id, host), checks in sorted(by_executor.items()):
        yield from (Finding(f"executor {id} on {host}", check) for check in checks)
    ids = {id for id, _ in by_executor}
    for executor in running if UNKNOWN not in ids else []:
        if executor.id not in ids:
            lacking = "It ran none of the checks. Issue the command again when it is idle, or look at its log."
            yield Finding(f"executor {executor.id} on {executor.host}", Check("python", False, lacking))
