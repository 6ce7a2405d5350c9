"""Scale: what planning and committing cost as the table grows, without the model's own time.

For each size: plan a table without labels; commit every chunk, with results made by a projection instead of a
model; run the whole job again with nothing new, and with ten new rows.
"""

import time
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from safeguard_spark.config.load import build_config
from safeguard_spark.config.model import RunConfig
from safeguard_spark.spark.label.commit import Chunk, commit_chunk
from safeguard_spark.spark.label.executor import RESULT_TYPE
from safeguard_spark.spark.label.job import label_table
from safeguard_spark.spark.label.pending import StagedPlan, make_plan
from safeguard_spark.spark.label.run import RunContext, Selection
from safeguard_spark.spark.session import session
from tests.bench import speed, workload

CHUNK_ROWS, CHUNKS = 100_000, 10  # a chunk is a tenth of a larger table
NEW = 10
SENTENCE = " says hello to everybody who reads this and asks whether the blue bicycle by the gate is still there"
VERDICT = {  # a result as a label task writes it, by column of RESULT_TYPE
    "outcome": "'labelled'", "violation": "false", "confidence": "'high'", "rationale": "'no rule applies'",
    "finish_reason": "'stop'", "reasoning": "repeat('The content is read against each rule. ', 4)",
    "raw_output": "repeat('x', 120)", "prompt_tokens": "900L", "cached_tokens": "832L", "completion_tokens": "65L",
    "called": "true", "engine_unavailable": "false", "rule_ids": "cast(array() AS array<string>)",
}  # fmt: skip


def measure(sizes: list[int], folder: Path, results: Path) -> None:
    """Measure each size; one JSON line each is added to `results`."""
    spark = session(config_of(folder / "none", 0))
    for size in sizes:
        size_folder = folder / f"scale-{size}"
        line = {"scale": size, **_measure_size(spark, size_folder, size)}
        print(line, flush=True)
        speed.add(results, line)
    spark.stop()


def config_of(folder: Path, size: int) -> RunConfig:
    """The job over a table of that many rows in a folder."""
    return build_config({
        "source": {"location": str(folder / "posts"), "text_column": "body"},
        "output": str(folder / "tables"),
        "run": {"chunk_rows": max(CHUNK_ROWS, size // CHUNKS)},
        "engine": {"kind": "scripted"},
        "labeler": {"effort": "low"},
        "tracking": {"enabled": False},
        "spark": {"master": "local[2]"},
    })  # fmt: skip


def _measure_size(spark: SparkSession, folder: Path, size: int) -> dict[str, Any]:
    config, policy = config_of(folder, size), workload.policy()
    write(spark, config, 0, size)
    run = RunContext.begin(spark, config, [policy])
    start = time.monotonic()
    plan = make_plan(run, run.specs[0], 0)
    line: dict[str, Any] = {"plan_s": time.monotonic() - start, "chunks": len(plan.chunks), "heap_plan": _heap(spark)}
    line["staged"] = file_sizes(folder / "tables/_staging")
    line["commits_s"] = [commit(run, plan, chunk) for chunk in plan.chunks]
    line |= {"commit_s": sum(line["commits_s"]), "heap_commit": _heap(spark)}
    run.staging.delete(run.run_id)
    run.listener.close()
    line |= {name: file_sizes(folder / "tables" / name) for name in ("labels", "reasoning", "labels/_delta_log")}
    for name, more in (("nothing", 0), ("ten", NEW)):
        write(spark, config, size, more)
        start = time.monotonic()
        result = label_table(spark, config, [policy], show=False, selection=Selection(full=True))
        assert (result.written, result.rows) == (more, size + more), result
        line |= {f"{name}_s": time.monotonic() - start, f"{name}_seconds": result.seconds}
    return {**line, "heap_end": _heap(spark)}


def write(spark: SparkSession, config: RunConfig, first: int, count: int) -> None:
    """Append `count` contents to the Delta table the configuration names, each different."""
    if count:
        number = F.col("id").cast("string")
        rows = spark.range(first, first + count, 1, 2).select(
            F.concat(F.lit("c"), number).alias("id"), F.concat(F.lit("Writer "), number, F.lit(SENTENCE)).alias("body")
        )
        rows.write.format("delta").mode("append").save(str(config.source.location))


def results_of(pending: DataFrame) -> DataFrame:
    """Results for a chunk's contents."""
    assert set(VERDICT) <= set(RESULT_TYPE.names)
    values = [f"{VERDICT.get(name, 'NULL')} AS {name}" for name in RESULT_TYPE.names if name != "work_key"]
    kinds = [F.col(field.name).cast(field.dataType).alias(field.name) for field in RESULT_TYPE]
    return pending.where("is_first").selectExpr("work_key", *values).select(*kinds)


def commit(run: RunContext, plan: StagedPlan, chunk: int) -> float:
    """Commit a chunk with results made by a projection; returns the seconds of the commit."""
    staged = Chunk(run.run_id, run.staging.folder(run.run_id, 0), plan, chunk)
    assert staged.pending is not None
    results_of(staged.pending).write.parquet(staged.folder.path("results", chunk))
    start = time.monotonic()
    commit_chunk(run.tables, staged, run.manifest.source)
    return time.monotonic() - start


def file_sizes(folder: Path) -> dict[str, int]:
    """Files below a folder and their bytes."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".crc")]
    return {"files": len(sizes), "bytes": sum(sizes)}


def _heap(spark: SparkSession) -> float:
    """The JVM's memory in use after a garbage collection, MiB. Locally that is driver and executor."""
    jvm: Any = spark.sparkContext._jvm
    jvm.java.lang.System.gc()
    runtime = jvm.java.lang.Runtime.getRuntime()
    return float(runtime.totalMemory() - runtime.freeMemory()) / 2**20
