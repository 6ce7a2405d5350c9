"""Nightly: what the whole command costs, process and JVM included, when little or nothing in its source changed.

For each size: a table that is labelled, with results made by a projection instead of a model; then the command over all
rows (`--full`), unchanged, with ten new rows in new files, with ten edited and ten new rows that the change feed shows,
and with one row in a hundred that is new. And the bytes that a session reads to find and plan ten new rows.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
from pyspark.sql import SparkSession

from safeguard_spark.config.model import RunConfig
from safeguard_spark.spark.label.pending import make_plan
from safeguard_spark.spark.label.run import RunContext
from safeguard_spark.spark.maintain.files import optimize_tables
from safeguard_spark.spark.session import session
from tests.bench import scale, speed, workload

FEED = "delta.enableChangeDataFeed"
POLL_S = 0.1
Line = dict[str, Any]


def measure(sizes: Sequence[int], folder: Path, results: Path, locks: Sequence[Path] = ()) -> None:
    """Measure each size; one JSON line each is added to `results`. `locks` are held in three turns."""
    minutes, gigabytes = (round(3 * len(sizes) + 3 * sum(sizes) / 1e6), 1 + max(sizes) / 1e6)
    print(f"About {minutes} minutes, {gigabytes:.0f} GB of disk in {folder} and 6 GB of memory.", flush=True)
    for size in sizes:
        size_folder = folder / f"nightly-{size}"
        with speed.turn(locks):
            prepare(size_folder, size)
        line = measure_commands(size_folder, size, locks)
        print(line, flush=True)
        speed.add(results, line)
        shutil.rmtree(size_folder)


def prepare(folder: Path, size: int) -> None:
    """Make the table of that many rows, and its labels."""
    config = scale.config_of(folder, size)
    _in_session(config, lambda spark: _label(spark, config, size))


def measure_commands(folder: Path, size: int, locks: Sequence[Path] = ()) -> Line:
    """The figures of the commands over a prepared table."""
    config, line = scale.config_of(folder, size), Line(nightly=size, load=[])
    with speed.turn(locks):
        _time(line, "full", folder, config, "--full")
        _time(line, "unchanged", folder, config)
        _in_session(config, lambda spark: scale.write(spark, config, size, scale.NEW))
        _time(line, "ten", folder, config)
    with speed.turn(locks):
        _in_session(config, lambda spark: _enable_feed(spark, config))
        _time(line, "properties", folder, config)  # the feed is read from the run after it on
        _in_session(config, lambda spark: _edit(spark, config))
        _time(line, "feed", folder, config)
        _in_session(config, lambda spark: scale.write(spark, config, size + scale.NEW, scale.NEW))
        _time(line, "feed_new", folder, config)
        _in_session(config, lambda spark: scale.write(spark, config, size + 2 * scale.NEW, scale.NEW))
        _in_session(config, lambda spark: line.update(_bytes(spark, config)))
        print(line, flush=True)
        _in_session(config, lambda spark: scale.write(spark, config, size + 3 * scale.NEW, size // 100))
        _time(line, "percent", folder, config)
    return line


def _label(spark: SparkSession, config: RunConfig, size: int) -> None:
    scale.write(spark, config, 0, size)
    run = RunContext.begin(spark, config, [workload.policy()])
    plan = make_plan(run, run.specs[0], 0)
    for chunk in plan.chunks:
        scale.commit(run, plan, chunk)
    run.staging.delete(run.run_id)
    run.listener.close()
    optimize_tables(spark, config)


def _enable_feed(spark: SparkSession, config: RunConfig) -> None:
    spark.sql(f"ALTER TABLE delta.`{config.source.location}` SET TBLPROPERTIES ({FEED} = true)")


def _edit(spark: SparkSession, config: RunConfig) -> None:
    ids = ", ".join(f"'c{n}'" for n in range(scale.NEW))
    spark.sql(f"UPDATE delta.`{config.source.location}` SET body = concat(body, '!') WHERE id IN ({ids})")


def _bytes(spark: SparkSession, config: RunConfig) -> Line:
    """Bytes that Spark's stages read to find ten new rows and to plan them, and those of the source and of `labels`."""
    start = _read(spark)
    run = RunContext.begin(spark, config, [workload.policy()])
    assert run.source.frame.count() == scale.NEW, run.candidates.message
    found = _read(spark)
    plan = make_plan(run, run.specs[0], 0)
    assert plan.counts.pending == scale.NEW, plan.counts
    run.staging.delete(run.run_id)
    run.listener.close()
    source, labels = Path(str(config.source.location)), Path(str(config.output)) / "labels"
    return {
        "found_bytes": found - start,
        "planned_bytes": _read(spark) - found,
        "source_bytes": scale.file_sizes(source)["bytes"],
        "labels_bytes": scale.file_sizes(labels)["bytes"],
    }


def _read(spark: SparkSession) -> int:
    """Bytes that the session's stages have read so far."""
    context: Any = spark.sparkContext
    stages = context._jsc.sc().statusStore().stageList(
        None, False, False, context._gateway.new_array(context._jvm.double, 0), None
    )  # fmt: skip
    return sum(int(stages.apply(number).inputBytes()) for number in range(stages.size()))


def _in_session(config: RunConfig, action: Callable[[SparkSession], object]) -> None:
    """Run an action in a session of its own."""
    spark = session(config)
    action(spark)
    spark.stop()


def _time(line: Line, name: str, folder: Path, config: RunConfig, *options: str) -> None:
    """Run `safeguard label` in a process of its own.

    Notes its wall seconds, the processor seconds of all its processes, which depend less on other work, and the load.
    """
    file = folder / "conf.json"
    file.write_text(config.model_dump_json(exclude_unset=True), encoding="utf-8")
    command = [sys.executable, "-m", "safeguard_spark", "label", "--config", str(file)]
    command += ["--policy", str(workload.POLICY), "--json", *options]
    line["load"].append(round(os.getloadavg()[0], 1))
    start, used = time.monotonic(), dict[int, float]()
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err)
        try:
            while process.poll() is None:
                with contextlib.suppress(psutil.Error):
                    for one in [driver := psutil.Process(process.pid), *driver.children(recursive=True)]:
                        times = one.cpu_times()
                        used[one.pid] = times.user + times.system
                time.sleep(POLL_S)
        finally:
            process.terminate()
    line[name] = {"s": time.monotonic() - start, "processor_s": sum(used.values())}
    assert process.returncode == 0, (folder / "err").read_text()
    result = json.loads((folder / "out").read_text())
    print(name, line[name], result["written"], result["candidates"], result["seconds"], flush=True)
