"""Delta's log store on S3: what keeps several programs apart that commit to one table at once."""

import os
import secrets
from typing import Any

from py4j.java_gateway import is_instance_of  # type: ignore[import-untyped]
from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]
from pyspark.sql import SparkSession

from safeguard_spark.errors import ConfigError, TableError
from safeguard_spark.spark.failures import failure_cause
from safeguard_spark.spark.files import Files
from safeguard_spark.spark.jars import LOG_STORES_JAR, S3_LOG_STORE, has_class
from safeguard_spark.spark.session import DATABRICKS

S3 = ("s3a", "s3", "s3n")
CONDITION = "fs.option.create.conditional.overwrite"
EXISTS = "java.nio.file.FileAlreadyExistsException"
DELTA = "io.delta.storage."
ONE_DRIVER = f"{DELTA}S3SingleDriverLogStore"


def refuse_no_log_store(spark: SparkSession, folder: str) -> None:
    """Raise ConfigError for a table on S3 unless a log store is configured that keeps its writers apart.

    Delta's own default looks whether a commit's file exists and then writes it, so two drivers at once could both write
    the same commit.
    """
    files = Files(spark, folder)
    if files.scheme not in S3 or DATABRICKS in os.environ:  # Databricks commits through a service
        return
    key = f"spark.delta.logStore.{files.scheme}.impl"
    advice = f"Set {key}={S3_LOG_STORE}, which keeps them apart, or {key}={ONE_DRIVER} if you start one at a time."
    store = _log_store(spark, key)
    if store is None:
        raise ConfigError(f"Of two programs that write to {folder} at once, one could lose its commits. {advice}")
    if store.startswith(DELTA) and not store.startswith(f"{DELTA}S3"):
        raise ConfigError(f"{store} does not keep two programs apart that write to {folder} at once. {advice}")
    if not has_class(spark._jvm, store):
        jar = f"--jars {LOG_STORES_JAR}" if store == S3_LOG_STORE else "the package that has it"
        raise ConfigError(f"Spark lacks the class {store}, which {key} names. Start it with {jar}.")
    if store == S3_LOG_STORE:
        _refuse_unconditional(spark, files, f"Otherwise set {key}={ONE_DRIVER}, and start one program at a time.")


def _refuse_unconditional(spark: SparkSession, files: Files, otherwise: str) -> None:
    """Raise ConfigError if there are no conditional writes or the server ignores conditions; TableError if all fail."""
    jvm: Any = spark._jvm
    name, conf = f"_probe-{secrets.token_hex(8)}", spark._jsparkSession.sessionState().newHadoopConf()
    path = jvm.org.apache.hadoop.fs.Path(files.path(name))
    if not path.getFileSystem(conf).hasPathCapability(path, CONDITION):
        raise ConfigError(
            f"{S3_LOG_STORE} needs conditional writes, which hadoop-aws has from 3.4.2 on (Spark 4.1) unless "
            f"fs.s3a.create.conditional.enabled is false. {otherwise}"
        )
    store = jvm.safeguard.S3LogStore(conf)

    def write(text: str) -> None:
        lines = jvm.java.util.ArrayList()
        lines.add(text)
        store.write(path, lines.iterator(), False, conf)

    try:
        write("one program")
    except Py4JJavaError as error:
        raise TableError(
            f"{files.root} cannot be written: {failure_cause(error)}. Correct the location, or the access."
        ) from error
    try:
        write("another program")
    except Py4JJavaError as error:
        if is_instance_of(spark.sparkContext._gateway, error.java_exception, EXISTS):
            return
        raise
    finally:
        files.delete(name)
        files.delete_empty()
    raise ConfigError(
        f"The server of {files.root} ignores the condition of a write (If-None-Match): of two programs at once, one "
        f"could lose its commits. {otherwise}"
    )


def _log_store(spark: SparkSession, key: str) -> str | None:
    """The class that is configured."""
    for name in (key, "spark.delta.logStore.class"):
        if value := spark.conf.get(name, None) or spark.sparkContext.getConf().get(name):
            return value
    return None
