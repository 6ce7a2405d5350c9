"""A screen over many contents in one Python worker: rows a second on one core, and memory against the number of rows.

    python -m tests.bench.screen [--rows 100000 1000000] [--plan 100000]

What runs is what Spark runs in a worker (`clear_batches`): batches of the demo's contents, as bytes, to the rows that
the screen clears. Without Spark around it, so that it is one core. `--plan` is all of Spark's work before the first
call of a run, in processor seconds of the driver, the JVM and the workers: without a screen, and with one that clears
half of the contents.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from safeguard_spark.config.load import build_config
from safeguard_spark.demo import content
from safeguard_spark.labelling.content import Content
from safeguard_spark.screen.linear import LinearScreen
from safeguard_spark.screen.record import Screen
from safeguard_spark.spark.label.executor import Recipe
from safeguard_spark.spark.label.job import label_table
from safeguard_spark.spark.label.pending import make_plan
from safeguard_spark.spark.label.run import RunContext
from safeguard_spark.spark.label.screening import ScreenRecipe, clear_batches
from safeguard_spark.spark.screen.make import train_screen
from safeguard_spark.spark.screens import add_screen
from safeguard_spark.spark.session import session
from safeguard_spark.spark.tables import Tables
from safeguard_spark.tracking.artifacts import read_artifact
from tests.build import SCRIPT, label_spec, policy, run_config

BATCH = 10_000  # Spark's spark.sql.execution.arrow.maxRecordsPerBatch
SCREEN = {
    "kind": "linear", "policy": "market", "policy_version": "1.0.0", "policy_hash": "0", "labeler": "m/low",
    "labeler_hash": "0", "target": 0.95, "risk": 0.05, "rank": 0, "positives": 59, "contents": 300, "prevalence": 0.2,
    "cleared": 0.5, "cleared_low": 0.5, "cleared_high": 0.5, "recall": None, "recall_low": None, "critical": False,
    "collection": "posts", "labels_version": 0,
}  # fmt: skip


def main() -> None:
    """Screen tables of several sizes, and print one JSON object for each."""
    options = argparse.ArgumentParser()
    options.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    options.add_argument("--plan", type=int)
    sizes, plan = options.parse_args().rows, options.parse_args().plan
    if plan:
        with tempfile.TemporaryDirectory() as folder:
            for size in (plan // 10, plan):  # the first warms the JVM
                print(json.dumps(planned(Path(folder, str(size)), size)), flush=True)
        return
    drafts = content.rows(6_000)
    contents = [Content(row["body"]) for row in drafts]
    classifier = LinearScreen.train(contents, [row["gold_violation"] for row in drafts])
    screen = Screen(**SCREEN, threshold=float(sorted(classifier.scores(contents))[len(contents) // 2]))
    recipe = ScreenRecipe(Recipe(run_config(), label_spec(policy()), "", 1), screen, classifier)
    texts = [row["body"] or "" for row in drafts]
    context = multiprocessing.get_context("spawn")  # a worker of its own: this process has the memory of the training
    for rows in sizes:
        with ProcessPoolExecutor(1, context) as pool:
            print(json.dumps(pool.submit(measured, recipe, texts, rows).result()), flush=True)


def measured(recipe: ScreenRecipe, texts: list[str], rows: int) -> dict[str, float]:
    """Screen `rows` contents and say how fast, and how large the process became."""
    process, cleared, peak = psutil.Process(), 0, 0
    start, start_cpu = time.monotonic(), sum(process.cpu_times()[:2])
    for batch in clear_batches(recipe)(_batches(texts, rows)):
        cleared += batch.num_rows
        peak = max(peak, process.memory_info().rss)
    cpu = sum(process.cpu_times()[:2]) - start_cpu
    return {
        "rows": rows,
        "cleared": cleared,
        "rows_per_core_s": round(rows / cpu),
        "wall_s": round(time.monotonic() - start, 1),
        "peak_mib": round(peak / 2**20),
    }


def planned(folder: Path, rows: int) -> dict[str, float]:
    """What planning a run costs in processor seconds, without and with a screen, and the calls that it spares."""
    folder.mkdir()
    texts = [row["body"] or "" for row in content.rows(6_000)]
    table = {
        "id": [f"p{number:09d}" for number in range(rows)],
        "body": [
            f"a {'replica' if number % 9 == 0 else texts[number % len(texts)]} {number}" for number in range(rows)
        ],
    }
    pq.write_table(pa.table(table), folder / "posts.parquet")
    values = {
        "source": {"location": str(folder / "posts.parquet"), "text_column": "body"},
        "output": str(folder / "tables"), "engine": {"kind": "scripted", "args": SCRIPT},
    }  # fmt: skip
    config, market = build_config(values), policy()
    spark = session(config)
    label_table(spark, build_config({**values, "source": {**values["source"], "limit": 2_000}}), [market], show=False)
    trained, tables = train_screen(spark, config, market, 0.9, critical=False), Tables.open(spark, config.output)
    scorer = LinearScreen.loads(read_artifact(config, str(trained.artifact), str(trained.artifact_sha256)))
    half = float(np.median(scorer.scores([Content(text) for text in table["body"][:5_000]])))
    screen = trained.model_copy(update={"threshold": half})
    add_screen(tables, screen)
    seconds, spared = list[float](), 0
    for settings in ({}, {"screen": {"id": screen.screen_id}}):
        start = _processor_s()
        run = RunContext.begin(spark, build_config({**values, **settings}), [market])
        plan = make_plan(run, run.specs[0], 0)
        seconds.append(round(_processor_s() - start, 1))
        spared = plan.screened.spared if plan.screened else 0
        run.staging.clear(run.run_id)
    return {"rows": rows, "without_s": seconds[0], "with_s": seconds[1], "spared": spared}


def _processor_s() -> float:
    """Processor seconds of this process, the JVM and the workers, those that have ended too."""
    this = psutil.Process()
    return sum(sum(process.cpu_times()[:4]) for process in (this, *this.children(recursive=True)))


def _batches(texts: list[str], rows: int) -> Iterator[pa.RecordBatch]:
    """Batches of different contents: each has its number at the end."""
    for first in range(0, rows, BATCH):
        numbers = range(first, min(rows, first + BATCH))
        yield pa.RecordBatch.from_pydict({
            "work_key": [f"{number:064x}" for number in numbers],
            "bucket": pa.array([number % 50 for number in numbers], pa.int32()),
            "text": [f"{texts[number % len(texts)]} {number}".encode() for number in numbers],
        })  # fmt: skip


if __name__ == "__main__":
    main()
