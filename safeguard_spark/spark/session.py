"""The Spark session: the one that is there (spark-submit, a notebook), or a local one with Delta."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pyspark.sql import SparkSession

from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError

DELTA = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}
DEFAULTS = {
    "spark.app.name": "safeguard-spark",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.execution.arrow.pyspark.validateSchema.enabled": "true",
    "spark.scheduler.mode": "FAIR",  # so that a commit does not queue behind the label tasks of the next chunk
}
LOCAL = {
    # 50 tasks to read a Delta log and 200 to shuffle cost seconds each on a laptop.
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.shuffle.partitions": "8",
    "spark.driver.memory": "2g",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
}
JAVA = 17


def session(config: RunConfig) -> SparkSession:
    """The session of a run. Raises ConfigError when Java, Delta or a setting Spark fixes at start is wrong."""
    spark = SparkSession.getActiveSession() or _build(config)
    check(spark)
    return spark


def check(spark: SparkSession) -> None:
    """Raise ConfigError for a session that would give wrong or doubled work."""
    conf = spark.conf
    for key, value in DELTA.items():
        if value not in (conf.get(key, "") or ""):
            raise ConfigError(
                f"Spark runs without Delta Lake: start it with --conf {key}={value} and the delta-spark package."
            )
    if conf.get("spark.speculation", "false") == "true":
        raise ConfigError("spark.speculation is on: every slow call would be paid twice. Start Spark with it off.")
    if conf.get("spark.executor.pyspark.memory", None):
        raise ConfigError(
            "spark.executor.pyspark.memory limits the address space of the engine as well. Start Spark without it."
        )
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    # Output of mapInArrow is matched by position; a wrong type must be an error, not a wrong value.
    spark.conf.set("spark.sql.execution.arrow.pyspark.validateSchema.enabled", "true")


class Slots(NamedTuple):
    """Label tasks that can run at once: on all executors known now, and on one of them."""

    total: int
    per_executor: int


def task_slots(spark: SparkSession) -> Slots:
    """Task slots by cores and, where tasks ask for GPUs, by GPUs."""
    context = spark.sparkContext
    conf = context.getConf()
    cores = max(1, context.defaultParallelism)
    master = str(context.master)
    local_cluster = re.match(r"local-cluster\[\s*\d+\s*,\s*(\d+)", master)
    each = int(conf.get("spark.executor.cores", local_cluster[1] if local_cluster else str(cores)) or cores)
    if master.startswith("local["):
        each = cores
    per_executor = max(1, each // int(conf.get("spark.task.cpus", "1") or 1))
    executors = max(1, cores // each)
    have, need = conf.get("spark.executor.resource.gpu.amount"), conf.get("spark.task.resource.gpu.amount")
    if have and need:
        per_executor = min(per_executor, max(1, int(float(have) / float(need))))
    return Slots(executors * per_executor, per_executor)


def _build(config: RunConfig) -> SparkSession:
    from delta import configure_spark_with_delta_pip

    _check_java()
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    master = config.spark.master or (None if submitted else f"local[{os.cpu_count() or 1}]")
    settings = {**DEFAULTS, **DELTA}
    local = bool(master and master.startswith("local"))
    if local:
        settings |= LOCAL | {"spark.jars.ivySettings": str(_ivy_settings())}
    settings |= config.spark.conf
    builder = SparkSession.builder
    if master:
        builder = builder.master(_retrying(master))
    for key, value in settings.items():
        builder = builder.config(key, value)
    spark: SparkSession
    if submitted:
        spark = builder.getOrCreate()
        return spark
    # Workers run what the driver runs; PySpark looks only at the environment for that.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = configure_spark_with_delta_pip(builder)
    log = Path(tempfile.gettempdir()) / f"safeguard-spark-{os.getuid()}-{os.getpid()}.log"
    try:
        with _noise_to(log):
            spark = builder.getOrCreate()
            return spark
    except Exception as error:
        raise ConfigError(f"Spark did not start: {_cause(log) or error}. Its whole log is {log}.") from error


def _retrying(master: str) -> str:
    """A local master that tries a task again when its Python worker was killed, as a cluster does.

    `spark.task.maxFailures` does not count there; the number of tries is part of the master's name.
    """
    return re.sub(r"^local\[(\d+|\*)\]$", r"local[\1,4]", "local[1]" if master == "local" else master)


def _ivy_settings() -> Path:
    """Where to resolve Delta's jar: Maven's central repository and the local cache only.

    Spark's own chain also asks a second repository, which fills the screen where it cannot be reached.
    """
    return Path(__file__).with_name("ivysettings.xml")


@contextlib.contextmanager
def _noise_to(log: Path) -> Iterator[None]:
    """Send what the JVM writes (package resolution, its own log) to a file instead of the user's screen."""
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    try:
        os.dup2(file, 1)
        os.dup2(file, 2)
        yield
    finally:
        for number, saved in enumerate(kept, 1):
            os.dup2(saved, number)
            os.close(saved)
        os.close(file)


def _cause(log: Path) -> str | None:
    """The line of a JVM log that says why it ended."""
    with contextlib.suppress(OSError):
        lines = log.read_text(errors="replace").splitlines()
        telling = [line.strip() for line in lines if re.search(r"Exception|Error:|not found", line)]
        return telling[-1][:300] if telling else None
    return None


def _check_java() -> None:
    """Raise ConfigError in one sentence if Java is missing or too old."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if java is None or not Path(java).exists():
        raise ConfigError(f"Java {JAVA} or newer is needed and none was found: install a JDK and set JAVA_HOME.")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', said)
    if found is None or int(found[1]) < JAVA:
        version = found[1] if found else "an unknown version"
        raise ConfigError(f"Java {JAVA} or newer is needed and {java} is {version}: set JAVA_HOME to a newer one.")
