"""How long a run with nothing to do takes: `python -m tests.bench.no_op --rows 10000000`. Prints one JSON object.

The content table and the labels are made by Spark itself, as an earlier run would have left them; then the label job
is timed as a process of its own, with its peak memory. `--folder` keeps the tables for the next time.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import yaml
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.config.load import build_config
from safeguard_spark.config.model import RunConfig
from safeguard_spark.labelling.labeler import Labeler
from safeguard_spark.policy.document import Policy, parse_policy
from safeguard_spark.spark.session import session
from safeguard_spark.spark.source import open_source, work_key
from safeguard_spark.spark.tables import Tables
from tests.build import policy_text

EVERY_S = 0.25


def main(argv: Sequence[str]) -> int:
    """Make the tables if they are not there, run the job, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--new", type=int, default=0, help="contents without a label")
    parser.add_argument("--master", default="local[2]")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args(argv)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="no-op-"))
    if not (folder / "made").exists():
        subprocess.run([sys.executable, "-c", _MAKE, str(folder), str(options.rows), str(options.new)], check=True)
        (folder / "made").touch()
    print(json.dumps(timed(folder, options.master)))
    if options.folder is None:
        shutil.rmtree(folder)
    return 0


_MAKE = "import sys; from tests.bench.no_op import make; make(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))"


def make(name: str, rows: int, new: int) -> None:
    """A content table of `rows` contents, all but `new` of them labelled."""
    folder = Path(name)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policy.md").write_text(policy_text(text="No replicas."))
    settings = {
        "engine": {"kind": "vllm", "model": "none"},
        "source": {"location": str(folder / "posts"), "text_column": "body"},
        "output": str(folder / "tables"),
        "tracking": {"enabled": False},
    }
    (folder / "conf.yaml").write_text(yaml.safe_dump(settings))
    run = build_config({**settings, "spark": {"master": "local[2]"}})
    spark = session(run)
    if not (folder / "posts" / "_delta_log").exists():  # an earlier call may have come this far
        _posts(spark, rows).write.format("delta").save(str(folder / "posts"))
    _label(spark, run, parse_policy((folder / "policy.md").read_text()), rows - new)
    spark.stop()


def _posts(spark: SparkSession, rows: int) -> DataFrame:
    return spark.range(rows, numPartitions=16).select(
        F.concat(F.lit("post-"), F.lpad(F.col("id").cast("string"), 12, "0")).alias("id"),
        F.concat(F.lit("A used table of oak, with chairs, number "), F.col("id"), F.lit(", to fetch.")).alias("body"),
    )


def _label(spark: SparkSession, run: RunConfig, policy: Policy, count: int) -> None:
    """Labels of the first `count` contents, as a run would have written them."""
    tables, labeler = Tables(spark, str(run.output)), Labeler.of(run, policy)
    tables.create()
    if tables.version(schema.LABELS):
        return
    source = open_source(spark, run.source)
    values: dict[str, Any] = {
        "policy": policy.name, "policy_version": policy.version, "policy_hash": policy.policy_hash,
        "labeler": labeler.name, "labeler_hash": labeler.labeler_hash, "outcome": "labelled", "violation": False,
        "confidence": "high", "model": labeler.model, "effort": labeler.effort.value,
        "prompt_tokens": 400, "cached_tokens": 380, "completion_tokens": 60, "attempt": 1, "run_id": "made", "chunk": 0,
        "source": source.name, "source_version": source.version, "rationale": "Nothing forbidden.",
    }  # fmt: skip
    rows = source.frame.where(F.col("content_id") < f"post-{count:012}")
    rows = rows.withColumn("work_key", work_key(policy.policy_hash, labeler.labeler_hash))
    fixed = ("content_id", "content_hash", "work_key", "rule_ids", "labelled_at")
    columns = [
        F.lit(values.get(column.name)).cast(column.type).alias(column.name)
        for column in schema.LABELS.columns
        if column.name not in fixed
    ]
    labels = rows.select("content_id", "content_hash", "work_key", *columns)
    labels = labels.withColumn("rule_ids", F.array().cast("array<string>")).withColumn(
        "labelled_at", F.current_timestamp()
    )
    labels.select(*schema.LABELS.names).write.format("delta").mode("append").save(tables.path(schema.LABELS))


def timed(folder: Path, master: str, *more: str) -> dict[str, Any]:
    """The label job over tables made before: wall seconds, its own result, and peak memory in MiB."""
    command = [
        sys.executable, "jobs/label.py", "--config", str(folder / "conf.yaml"), "--policy", str(folder / "policy.md"),
        "--set", f"spark.master={master}", "--json", *more,
    ]  # fmt: skip
    start = time.monotonic()
    job = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    watch = Watch(job.pid)
    watch.start()
    out, _ = job.communicate()
    wall = time.monotonic() - start
    watch.join()
    result = json.loads(out.splitlines()[-1])
    counts = {name: result.get(name) for name in ("status", "rows", "pending", "calls", "written", "engine_starts")}
    times = {"wall_s": round(wall, 1), "cpu_s": round(watch.cpu_s, 1), "seconds": result.get("seconds")}
    machine = {"cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    return {**counts, **times, "peak_mib": watch.peaks, **machine}


class Watch(threading.Thread):
    """What a process and its children use until it ends.

    `peaks` is resident memory in MiB: of the driver, of all JVMs together, of the largest Python worker. `cpu_s` are
    processor seconds of them all, which say more than wall seconds where the machine is shared.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._driver = psutil.Process(pid)
        self._spent: dict[int, float] = {}
        self.peaks = {"driver": 0.0, "jvm": 0.0, "worker": 0.0}

    @property
    def cpu_s(self) -> float:
        """User and system seconds so far."""
        return sum(self._spent.values())

    def run(self) -> None:
        """Measure until the process has ended."""
        while self._driver.is_running() and self._driver.status() != psutil.STATUS_ZOMBIE:
            sizes: dict[str, list[float]] = {"driver": [], "jvm": [], "worker": []}
            with contextlib.suppress(psutil.Error):
                for process in (self._driver, *self._driver.children(recursive=True)):
                    name = process.name()
                    if "java" not in name and "python" not in name:
                        continue  # a command the JVM is starting shows the JVM's own memory
                    kind = "driver" if process == self._driver else "jvm" if "java" in name else "worker"
                    sizes[kind].append(process.memory_info().rss / 2**20)
                    times = process.cpu_times()
                    self._spent[process.pid] = times.user + times.system
            now = {kind: max(mib, default=0.0) if kind == "worker" else sum(mib) for kind, mib in sizes.items()}
            self.peaks = {kind: max(peak, round(now[kind], 1)) for kind, peak in self.peaks.items()}
            time.sleep(EVERY_S)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
