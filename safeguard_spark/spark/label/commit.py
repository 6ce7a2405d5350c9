"""Commit: a staged chunk is joined back to all its content ids and appended once, by whichever driver comes first."""

from typing import NamedTuple

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from safeguard_spark.errors import TableError
from safeguard_spark.labelling.rows import LabelSpec
from safeguard_spark.labelling.verdict import Outcome
from safeguard_spark.spark.activations import activate_if_first
from safeguard_spark.spark.commit_log import append_labels, is_committed
from safeguard_spark.spark.label.executor import RESULT_TYPE, VERDICT_COLUMNS
from safeguard_spark.spark.label.pending import PolicyFolder, StagedPlan, read_staged_chunk
from safeguard_spark.spark.staging import SourceVersion, Staging
from safeguard_spark.spark.tables import Tables


class ChunkId(NamedTuple):
    """A chunk: its run, the policy's number in the run, and the chunk's number, unique over the run's policies."""

    run_id: str
    policy_number: int
    chunk: int

    @property
    def policy_folder(self) -> PolicyFolder:
        """The policy's folder in staging."""
        return self.run_id, self.policy_number


def is_staged(staging: Staging, chunk_id: ChunkId, calls: int) -> bool:
    """Whether a chunk's model work is finished and not yet committed."""
    folder, chunk = chunk_id.policy_folder, chunk_id.chunk
    is_complete = calls == 0 or staging.exists(*folder, "results", chunk, "_SUCCESS")
    return is_complete and staging.exists(*folder, "pending", f"bucket={chunk}")


def commit_chunk(tables: Tables, staging: Staging, chunk_id: ChunkId, plan: StagedPlan, source: SourceVersion) -> None:
    """Append a staged chunk to `reasoning` and `labels`, then delete its files. Safe to repeat, by any driver."""
    folder, chunk = chunk_id.policy_folder, chunk_id.chunk
    try:
        _commit(tables, staging, chunk_id, plan, source)
    except Exception:
        if staging.exists(*folder, "pending", f"bucket={chunk}"):
            raise
        # Another driver may have committed the chunk and deleted its files while this one read them.
        if not is_committed(tables, chunk_id.run_id, chunk, plan.planned_on):
            raise
    staging.delete(*folder, "pending", f"bucket={chunk}")
    staging.delete(*folder, "results", chunk)


def _commit(tables: Tables, staging: Staging, chunk_id: ChunkId, plan: StagedPlan, source: SourceVersion) -> None:
    spec = plan.spec
    folder, chunk, run_id = chunk_id.policy_folder, chunk_id.chunk, chunk_id.run_id
    pending = read_staged_chunk(staging, folder, "pending", chunk)
    if pending is None:
        raise TableError(f"The staged results of run {run_id} are gone. Issue the same command again.")
    results = read_results(staging, chunk_id)
    reused = read_staged_chunk(staging, folder, "reused", chunk) if plan.has_reused else None
    rows = _label_rows(pending, results, reused, spec, chunk_id, source)
    # Reasoning first: once the label is written, the work on it counts as done.
    called = results.where("called").withColumn("run_id", F.lit(run_id))
    tables.append_reasoning(called, run_id, chunk)
    append_labels(tables, rows, run_id, chunk, plan.planned_on)
    activate_if_first(tables, spec.policy, run_id)


def read_results(staging: Staging, chunk_id: ChunkId) -> DataFrame:
    """The model's staged results for a chunk; no rows if the model was not called."""
    spark: SparkSession = staging.spark
    folder, chunk = chunk_id.policy_folder, chunk_id.chunk
    if not staging.exists(*folder, "results", chunk):
        return spark.createDataFrame([], RESULT_TYPE)
    return spark.read.schema(RESULT_TYPE).parquet(staging.path(*folder, "results", chunk))


def _label_rows(
    pending: DataFrame,
    results: DataFrame,
    reused: DataFrame | None,
    spec: LabelSpec,
    chunk_id: ChunkId,
    source: SourceVersion,
) -> DataFrame:
    """One row per pending content id, without `labelled_at`. Rows for which no engine started stay pending."""
    tokens = ["prompt_tokens", "cached_tokens", "completion_tokens"]
    verdicts = results.select("work_key", *VERDICT_COLUMNS, *tokens, "called", "engine_unavailable")
    if reused is not None:
        uncalled = {"called": F.lit(False), "engine_unavailable": F.lit(False)}
        old = reused.select("work_key", *VERDICT_COLUMNS).withColumns(uncalled)
        verdicts = verdicts.unionByName(old, allowMissingColumns=True)
    joined = pending.join(verdicts, on="work_key", how="left")
    joined = joined.where("engine_unavailable IS NULL OR NOT engine_unavailable")
    is_paid = F.col("is_first") & F.col("called")  # tokens are counted once, however many ids share the call
    has_no_result = F.col("outcome").isNull()
    constants = {
        "policy": spec.policy.name,
        "policy_version": spec.policy.version,
        "policy_hash": spec.policy.policy_hash,
        "labeler": spec.labeler.name,
        "labeler_hash": spec.labeler.labeler_hash,
        "model": spec.labeler.model,
        "effort": spec.labeler.effort.value,
        "run_id": chunk_id.run_id,
        "source": source.name,
        "salt": spec.labeler.salt,
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
        F.when(has_no_result, "no result was staged").otherwise(F.col("error")).alias("error"),
        *(F.when(is_paid, F.col(name)).alias(name) for name in tokens),
        "attempt",
        F.lit(chunk_id.chunk).alias("chunk"),
        F.lit(source.version).cast("bigint").alias("source_version"),
        *(F.lit(value).cast("string").alias(name) for name, value in constants.items()),
    )
