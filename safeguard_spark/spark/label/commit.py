"""Commit: a staged chunk joined back to all its content ids and appended, once, by whichever driver comes first."""

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.errors import TableError
from safeguard_spark.labelling.labeler import Labeler
from safeguard_spark.labelling.rows import LabelSpec
from safeguard_spark.labelling.verdict import Outcome
from safeguard_spark.policy.document import Policy
from safeguard_spark.spark.label.executor import RESULT_DDL
from safeguard_spark.spark.label.pending import VERDICT, bucket
from safeguard_spark.spark.staging import Staging
from safeguard_spark.spark.tables import Tables


class ChunkId(NamedTuple):
    """A chunk: its run, the policy's number in the run, and the chunk's number in the policy's plan."""

    run_id: str
    policy: int
    chunk: int

    @property
    def at(self) -> tuple[str, int]:
        """The policy's folder in staging."""
        return self.run_id, self.policy

    @property
    def number(self) -> int:
        """The chunk's number in its run: unique over the run's policies."""
        return self.policy * 1_000_000 + self.chunk


def is_staged(staging: Staging, place: ChunkId, calls: int) -> bool:
    """Whether a chunk's model work is finished and not yet committed."""
    whole = calls == 0 or staging.exists(*place.at, "results", place.chunk, "_SUCCESS")
    return whole and staging.exists(*place.at, "pending", f"bucket={place.chunk}")


def commit_chunk(
    tables: Tables, staging: Staging, place: ChunkId, plan: dict[str, Any], source: dict[str, Any]
) -> None:
    """Append a staged chunk to `reasoning` and `labels`, then forget it. Safe to repeat, and by several drivers."""
    try:
        _commit(tables, staging, place, plan, source)
    except Exception:
        if staging.exists(*place.at, "pending", f"bucket={place.chunk}"):
            raise
        # Another driver committed the chunk and cleared its files while this one read them.
        if not tables.is_committed(place.run_id, place.number, int(plan["planned_on"])):
            raise
    staging.delete(*place.at, "pending", f"bucket={place.chunk}")
    staging.delete(*place.at, "results", place.chunk)


def _commit(tables: Tables, staging: Staging, place: ChunkId, plan: dict[str, Any], source: dict[str, Any]) -> None:
    job = LabelSpec(Policy.model_validate(plan["policy"]), Labeler.model_validate(plan["labeler"]))
    pending = bucket(staging, place.at, "pending", place.chunk)
    if pending is None:
        raise TableError(f"What run {place.run_id} had staged is gone: issue the same command again.")
    results = read_results(staging, place)
    reused = bucket(staging, place.at, "reused", place.chunk) if plan["has_reused"] else None
    rows = _label_rows(pending, results, reused, job, place, source)
    # Reasoning first: a label says that its work is done.
    said = results.where("asked").withColumn("run_id", F.lit(place.run_id))
    tables.append_reasoning(said, place.run_id, place.number)
    tables.append_labels(rows, place.run_id, place.number, int(plan["planned_on"]))
    activate_if_new(tables, job, place.run_id)


def read_results(staging: Staging, place: ChunkId) -> DataFrame:
    """What the model said of a chunk; nothing if it was not asked."""
    spark: SparkSession = staging.spark
    if not staging.exists(*place.at, "results", place.chunk):
        return spark.createDataFrame([], RESULT_DDL)
    return spark.read.schema(RESULT_DDL).parquet(staging.path(*place.at, "results", place.chunk))


def _label_rows(
    pending: DataFrame,
    results: DataFrame,
    reused: DataFrame | None,
    job: LabelSpec,
    place: ChunkId,
    source: dict[str, Any],
) -> DataFrame:
    """One row per pending content id, `labelled_at` aside. Rows whose engine never came up stay pending."""
    tokens = ["prompt_tokens", "cached_tokens", "completion_tokens"]
    verdicts = results.select("work_key", *VERDICT, *tokens, "asked", "fatal")
    if reused is not None:
        old = reused.select("work_key", *VERDICT).withColumn("asked", F.lit(False)).withColumn("fatal", F.lit(False))
        verdicts = verdicts.unionByName(old, allowMissingColumns=True)
    joined = pending.join(verdicts, on="work_key", how="left").where("fatal IS NULL OR NOT fatal")
    paid = F.col("is_first") & F.col("asked")  # tokens are counted once, however many ids share the call
    lost = F.col("outcome").isNull()
    constants = {
        "policy": job.policy.name,
        "policy_version": job.policy.version,
        "policy_hash": job.policy.policy_hash,
        "labeler": job.labeler.name,
        "labeler_hash": job.labeler.labeler_hash,
        "model": job.labeler.model,
        "effort": job.labeler.effort.value,
        "run_id": place.run_id,
        "source": source["name"],
        "salt": job.labeler.salt,
        "carried_from": None,
    }
    return joined.select(
        "content_id",
        "content_hash",
        "work_key",
        F.coalesce("outcome", F.lit(Outcome.engine_failed.value)).alias("outcome"),
        "violation",
        "category",
        F.coalesce("rule_ids", F.array().cast("array<string>")).alias("rule_ids"),
        "confidence",
        "rationale",
        F.when(lost, "no result was staged").otherwise(F.col("error")).alias("error"),
        *(F.when(paid, F.col(name)).alias(name) for name in tokens),
        "attempt",
        F.lit(place.number).alias("chunk"),
        F.lit(source["version"]).cast("bigint").alias("source_version"),
        *(F.lit(value).cast("string").alias(name) for name, value in constants.items()),
    )


def activate_if_new(tables: Tables, job: LabelSpec, run_id: str) -> None:
    """Let a policy's first labelled version rule; later versions need a promotion. A draft may change its own text."""
    policy = job.policy
    rows = tables.read(schema.ACTIVATIONS).where(F.col("policy") == policy.name)
    newest = rows.orderBy(F.desc("activated_at"), F.desc("run_id")).first()
    if newest and (newest["policy_version"] != policy.version or newest["policy_hash"] == policy.policy_hash):
        return
    row = {
        "policy": policy.name,
        "policy_version": policy.version,
        "policy_hash": policy.policy_hash,
        "activated_at": _after(newest["activated_at"] if newest else None, tables.now()),
        "run_id": run_id,
        "reason": "first labelled" if newest is None else "text changed under the same version",
        "forced": None,
        "gate": None,
    }
    tables.append(schema.ACTIVATIONS, [row], f"{run_id}/{policy.name}/active")


def _after(last: datetime | None, now: datetime) -> datetime:
    """Now, but after the last one: a clock that jumps back must not let the older version rule."""
    # Spark gives times without a zone, in this process's own.
    return now if last is None else max(now, last.astimezone(UTC) + timedelta(microseconds=1))
