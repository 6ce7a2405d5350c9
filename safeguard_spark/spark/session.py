"""The Spark session: the existing one (spark-submit, a notebook), or a new local one with Delta."""

import atexit
import contextlib
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast
from urllib.parse import unquote

import psutil
from pyspark import SparkConf, SparkContext
from pyspark.logger import PySparkLogger
from pyspark.sql import SparkSession

from safeguard_spark.config.model import RunConfig
from safeguard_spark.engines.processes import descendants
from safeguard_spark.errors import ConfigError
from safeguard_spark.spark.executors import is_local
from safeguard_spark.spark.jars import (
    JARS,
    LOCAL_LOG_STORE,
    LOG_STORES_JAR,
    PACKAGES,
    S3_LOG_STORE,
    ResolvedJars,
    has_class,
    with_jars,
)

DATABRICKS = "DATABRICKS_RUNTIME_VERSION"  # in the environment of every process there
EXTENSIONS = "spark.sql.extensions"
DELTA = {
    EXTENSIONS: "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}
SUBMIT_ARGUMENTS = "PYSPARK_SUBMIT_ARGS"  # what PySpark adds to the command that starts the JVM
DELTA_LOG_STORE = "io.delta.storage.HDFSLogStore"  # which ours extends
SNAPSHOT_PARTITIONS = "spark.databricks.delta.snapshotPartitions"
MAX_LISTED = 500  # values in a condition
DEFAULTS = {
    "spark.app.name": "safeguard-spark",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.execution.arrow.pyspark.validateSchema.enabled": "true",
    # Delta reads its log with 50 tasks by default, which cost more than the log of a table of fewer than 100,000 files.
    SNAPSHOT_PARTITIONS: "4",
    # Parquet's reader takes a longer list for a range, which Bloom filters cannot rule out.
    "spark.sql.parquet.pushdown.inFilterThreshold": str(MAX_LISTED),
    "spark.scheduler.mode": "FAIR",  # so that a commit does not queue behind the label tasks of the next chunk
}
# A command makes many plans and uses each a few times. Java's optimizing compiler takes nearly half of the processor
# time of a small run, and over half a million rows more than it gives back (docs/benchmarks.md).
JVM_OPTIONS = "-XX:TieredStopAtLevel=1 -XX:+UseParallelGC"
LOCAL = {
    # Spark's default, 200 tasks for a shuffle, costs seconds on a laptop.
    SNAPSHOT_PARTITIONS: "2",
    "spark.sql.shuffle.partitions": "8",
    "spark.driver.memory": "2g",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.extraJavaOptions": JVM_OPTIONS,
}
MIN_JAVA = 17


def session(config: RunConfig) -> SparkSession:
    """The session of a run. Raises ConfigError if Java, Delta or a setting that is fixed at Spark's start is wrong."""
    spark = SparkSession.getActiveSession() or _build(config)
    # PySpark logs Spark's errors on stderr, with the values they quote: what a failing cast quotes is content.
    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        PySparkLogger.getLogger(name).setLevel(logging.CRITICAL + 1)
    check(spark)
    return spark


def check(spark: SparkSession) -> None:
    """Raise ConfigError for a session in which results would be wrong or calls would be made twice."""
    jvm = getattr(spark, "_jvm", None)  # a client of Spark Connect raises an AttributeError
    if jvm is None:
        raise ConfigError(
            "This session is a Spark Connect client, which cannot run the label job. Use a classic session: on "
            "Databricks, a cluster in dedicated access mode."
        )
    conf = spark.conf
    # Databricks has Delta under names of its own, and its configuration lists none of these.
    is_databricks = DATABRICKS in os.environ
    for key, value in DELTA.items():
        setting = conf.get(key, "") or ""
        # Another catalog may stand in front of Delta's.
        if not is_databricks and not (value in setting or (setting and key != EXTENSIONS)):
            raise ConfigError(
                f"Spark runs without Delta Lake. Start it with --conf {key}={value} and the delta-spark package."
            )
    if not is_databricks and not has_class(jvm, DELTA[EXTENSIONS]):
        raise ConfigError("Spark runs without Delta Lake. Start it with --packages, as jobs/label.py does.")
    if conf.get("spark.speculation", "false") == "true":
        raise ConfigError("spark.speculation is on: every slow call would be paid for twice. Start Spark with it off.")
    if conf.get("spark.executor.pyspark.memory", None):
        raise ConfigError(
            "spark.executor.pyspark.memory also limits the address space of the engine. Start Spark without it."
        )
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    if not is_databricks and conf.get(SNAPSHOT_PARTITIONS, None) is None:  # another program's session
        conf.set(SNAPSHOT_PARTITIONS, DEFAULTS[SNAPSHOT_PARTITIONS])
    for reader in ("parquet", "orc"):
        # Rows that a reader holds in memory, for each task: with Spark's 4096, long documents do not fit.
        if conf.get(f"spark.sql.{reader}.columnarReaderBatchSize") == "4096":
            conf.set(f"spark.sql.{reader}.columnarReaderBatchSize", "128")
    # Output of mapInArrow is matched by position: a wrong type must be an error, not a wrong value.
    spark.conf.set("spark.sql.execution.arrow.pyspark.validateSchema.enabled", "true")


def _build(config: RunConfig) -> SparkSession:
    from delta import configure_spark_with_delta_pip

    _check_java()
    is_submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    master = None if is_submitted else config.spark.master or f"local[{os.cpu_count() or 1}]"
    settings = {**DEFAULTS, **DELTA}
    if master and master.startswith("local"):
        # Delta's jar comes from Maven's central repository or the local cache: Spark's own chain also tries a second
        # repository, which fills the screen with errors if it cannot be reached.
        settings |= LOCAL | {"spark.jars.ivySettings": str(Path(__file__).with_name("ivysettings.xml"))}
    submitted = _submitted() if is_submitted else {}
    extensions = [settings[EXTENSIONS], config.spark.conf.get(EXTENSIONS, "")]
    settings |= config.spark.conf
    own_jars = settings.get(JARS)
    if not is_submitted or all(has_class(SparkContext._jvm, name) for name in (DELTA_LOG_STORE, LOCAL_LOG_STORE)):
        settings = _local_log_store(settings | submitted) | settings
    if not is_submitted and {S3_LOG_STORE, LOCAL_LOG_STORE} & {*settings.values()}:
        settings[JARS] = ",".join(filter(None, [own_jars, LOG_STORES_JAR.as_uri()]))
    packages = [] if is_submitted else [name for name in settings.pop(PACKAGES, "").split(",") if name]
    settings = {key: value for key, value in settings.items() if key not in submitted}  # spark-submit's own win
    extensions.append(submitted.get(EXTENSIONS, ""))
    settings[EXTENSIONS] = ",".join(dict.fromkeys(",".join(filter(None, extensions)).split(",")))
    jars = settings.pop(JARS, None) if master else None
    builder = SparkSession.builder
    if master:
        builder = builder.master(_retrying(master))
    for key, value in settings.items():
        builder = builder.config(key, value)
    if is_submitted:
        return builder.getOrCreate()
    # Workers must run the driver's Python; PySpark reads that only from the environment.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = configure_spark_with_delta_pip(builder, extra_packages=packages)
    has_own = not is_local(master) or packages or own_jars or SUBMIT_ARGUMENTS in os.environ
    resolved = None if has_own else ResolvedJars(str(builder._options[PACKAGES]))
    log = _jvm_log()
    others = descendants(os.getpid())
    try:
        on_class_path = resolved.on_class_path(builder) if resolved and resolved.files() else None
        with _output_to(log), on_class_path or _submitting(jars):
            spark = cast(SparkSession, builder.getOrCreate())
        if resolved and has_class(spark._jvm, DELTA[EXTENSIONS]):
            resolved.remember(spark)
        if is_local(master):
            _remove_at_exit(str(spark.conf.get("spark.sql.warehouse.dir")).removeprefix("file:"))
        return spark
    except BaseException as error:
        _end_jvm(others)
        if not isinstance(error, Exception):
            raise
        raise ConfigError(f"Spark did not start: {_cause(log) or error}. The whole log is {log}.") from error


@contextlib.contextmanager
def _submitting(jars: str | None) -> Iterator[None]:
    """Within the block, Spark starts with these jars beside those of its packages, and those that are named already.

    As a setting, `spark.jars`, they would be all that PySpark lets a cluster's executors have.
    """
    before = os.environ.get(SUBMIT_ARGUMENTS)
    if jars:
        os.environ[SUBMIT_ARGUMENTS] = with_jars(before, jars)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(SUBMIT_ARGUMENTS, None)
        else:
            os.environ[SUBMIT_ARGUMENTS] = before


def _local_log_store(settings: Mapping[str, str]) -> dict[str, str]:
    """Our log store for folders, of which Delta's own can lose a commit if two programs commit at once.

    Not where a class for all file systems is set: Delta refuses a session with both. Nor where Spark's list of jars
    cannot hold the path of ours.
    """
    has_other = any(key.endswith("delta.logStore.class") for key in settings)
    if has_other or DATABRICKS in os.environ or {*",[]{}*?"} & {*str(LOG_STORES_JAR)}:
        return {}
    return {"spark.delta.logStore.file.impl": LOCAL_LOG_STORE}


def _remove_at_exit(warehouse: str) -> None:
    """Remove the folder that Spark makes for managed tables, if this session made it and has none.

    Where the path has a blank, Spark also makes the folders of its encoded name.
    """
    folders = [folder for path in {warehouse, unquote(warehouse)} for folder in (Path(path), *Path(path).parents)]
    new = [folder for folder in folders if not folder.exists()]

    def remove() -> None:
        for folder in new:
            with contextlib.suppress(OSError):  # it has tables, or is in another file system
                folder.rmdir()

    atexit.register(remove)


def _submitted() -> dict[str, str]:
    """What spark-submit was given, its defaults file included."""
    SparkContext._ensure_initialized()
    return dict(SparkConf().getAll())


def _jvm_log() -> Path:
    """Where the JVM that this process started writes what it prints."""
    return Path(tempfile.gettempdir()) / f"safeguard-spark-{os.getuid()}-{os.getpid()}.log"


def jvm_output() -> str:
    """What the JVM that this process started has printed; empty if another program started it."""
    with contextlib.suppress(OSError):
        return _jvm_log().read_text(errors="replace")
    return ""


def _end_jvm(others: list[psutil.Process]) -> None:
    """End the JVM of a Spark that did not start, which may not notice that its driver ended, and the script around it.

    `others` are the processes that this one had started before.
    """
    stopped = set[psutil.Process]()
    try:
        while new := set(descendants(os.getpid())) - stopped - {*others}:
            for process in new:  # suspended first, so that it starts no other in the meantime
                with contextlib.suppress(psutil.Error):
                    process.suspend()
            stopped |= new
    finally:  # also if a second interrupt comes
        for process in stopped:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(stopped, timeout=5)
        # PySpark keeps the connection for the process's next session, which needs a new JVM.
        SparkContext._gateway = SparkContext._jvm = None


def _retrying(master: str) -> str:
    """A local master that runs a task again when its Python worker was killed, as a cluster does.

    `spark.task.maxFailures` has no effect there: the number of attempts is part of the master's name.
    """
    return re.sub(r"^local\[(\d+|\*)\]$", r"local[\1,4]", "local[1]" if master == "local" else master)


@contextlib.contextmanager
def _output_to(log: Path) -> Iterator[None]:
    """Send the JVM's output (package resolution, its log) to a file instead of the user's screen."""
    sys.stderr.flush()
    originals = [os.dup(1), os.dup(2)]
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    try:
        os.dup2(file, 1)
        os.dup2(file, 2)
        yield
    finally:
        for number, original in enumerate(originals, 1):
            os.dup2(original, number)
            os.close(original)
        os.close(file)


def _cause(log: Path) -> str | None:
    """The line of a JVM log that says why it ended, or None."""
    with contextlib.suppress(OSError):
        lines = log.read_text(errors="replace").splitlines()
        errors = [line.strip() for line in lines if re.search(r"Exception|Error:|not found", line)]
        return errors[-1][:300] if errors else None
    return None


def _check_java() -> None:
    """Raise ConfigError in one sentence if Java is missing or too old."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if java is None or not Path(java).exists():
        raise ConfigError(f"Java {MIN_JAVA} or newer is needed and none was found. Install a JDK and set JAVA_HOME.")
    match = re.search(r'(?:\bJAVA_VERSION=|version )"(\d+)', _java_version(java))
    if match is None or int(match[1]) < MIN_JAVA:
        version = match[1] if match else "an unknown version"
        raise ConfigError(f"Java {MIN_JAVA} or newer is needed and {java} is {version}. Set JAVA_HOME to a newer one.")


def _java_version(java: str) -> str:
    """What a JDK says of its version: in the file of that name, else by starting it, which takes half a second."""
    with contextlib.suppress(OSError):
        return (Path(java).resolve().parents[1] / "release").read_text(encoding="utf-8", errors="replace")
    return subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
