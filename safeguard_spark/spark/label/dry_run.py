"""Dry run: what the label job would do and cost, without changing anything."""

from collections.abc import Sequence
from typing import NamedTuple

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.config.model import RunConfig
from safeguard_spark.labelling.rows import LabelSpec
from safeguard_spark.policy.document import Policy
from safeguard_spark.result import RunResult, Status
from safeguard_spark.spark.label.executor import COST_DDL, as_recipe, count_calls
from safeguard_spark.spark.label.pending import labels_of, once, pending, said_of, wanted
from safeguard_spark.spark.source import Source, open_source, work_key
from safeguard_spark.spark.tables import Tables


class Cost(NamedTuple):
    """What one policy would cost. Tokens are the prompts' own, before the prefix cache."""

    rows: int
    pending: int
    calls: int
    prompt_tokens: int


def dry_run(spark: SparkSession, config: RunConfig, policies: Sequence[Policy]) -> RunResult:
    """Plan without staging, calling or writing. Raises SafeguardError as `label_table` does.

    Calls are exact for this moment. `seconds.label` is the past runs' rate of the same labelers carried on, and is
    missing where there was no such run.
    """
    jobs = [LabelSpec.of(config, policy) for policy in policies]
    source = open_source(spark, config.source)
    tables = Tables.open(spark, config)
    labels = tables.read(schema.LABELS) if tables.exists() else spark.createDataFrame([], schema.LABELS.ddl)
    costs = [cost_of(config, job, source, labels) for job in jobs]
    rate = calls_per_s(tables, {job.labeler.labeler_hash for job in jobs}) if tables.exists() else None
    calls = sum(cost.calls for cost in costs)
    return RunResult(
        run_id="",
        status=Status.planned,
        rows=sum(cost.rows for cost in costs),
        pending=sum(cost.pending for cost in costs),
        calls=calls,
        written=0,
        outcomes={},
        engine_starts=0,
        tokens={"prompt": sum(cost.prompt_tokens for cost in costs)},
        seconds={"label": round(calls / rate, 1)} if rate else {},
        tables={table.name: tables.path(table) for table in schema.TABLES},
    )


def cost_of(config: RunConfig, job: LabelSpec, source: Source, labels: DataFrame) -> Cost:
    """What labelling a source under one policy would cost now."""
    known, asked = labels_of(labels, job), wanted(source, config.source.limit)
    keys = once(pending(asked, known, job, config.run.max_attempts), known, job).cache()
    try:
        todo = source.frame.join(keys, on=["content_id", "content_hash"], how="inner")
        new = (
            todo.withColumn("work_key", work_key(job.policy.policy_hash, job.labeler.labeler_hash))
            .dropDuplicates(["work_key"])
            .join(said_of(labels, job).select("work_key"), on="work_key", how="left_anti")
            .select("work_key", source.payload)
        )
        spent = new.mapInArrow(count_calls(as_recipe(config, job, "", 1)), COST_DDL)
        total = spent.agg(*(F.coalesce(F.sum(name), F.lit(0)).alias(name) for name in spent.columns)).first()
        assert total is not None  # an aggregate without groups has one row
        return Cost(asked.count(), keys.count(), int(total["calls"]), int(total["prompt_tokens"]))
    finally:
        keys.unpersist()


def calls_per_s(tables: Tables, labeler_hashes: set[str]) -> float | None:
    """Calls per second of label time over all past runs of exactly these labelers; None without such a run."""
    asked = F.array_sort(F.array(*(F.lit(one) for one in sorted(labeler_hashes))))
    runs = tables.read(schema.RUNS).where(F.array_sort(F.array_distinct("labeler_hashes")) == asked)
    row = runs.where("calls > 0").agg(F.sum("calls"), F.sum(F.col("seconds")["label"])).first()
    if row is None or not row[0] or not row[1]:
        return None
    return float(row[0]) / float(row[1])
