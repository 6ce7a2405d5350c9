"""Commit: a staged chunk is joined back to all its content ids and appended once, by whichever driver comes first."""

from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from safeguard_spark.errors import TableError
from safeguard_spark.labelling.verdict import Outcome
from safeguard_spark.spark.activations import activate_if_first
from safeguard_spark.spark.commit_log import LabelScope, append_labels, is_committed
from safeguard_spark.spark.coverage import key_of
from safeguard_spark.spark.files import Files
from safeguard_spark.spark.label.executor import RESULT_TYPE, VERDICT_COLUMNS
from safeguard_spark.spark.label.pending import StagedPlan
from safeguard_spark.spark.staging import SourceVersion, Staging
from safeguard_spark.spark.tables import Tables

COMPLETE = "_COMPLETE"  # in the folder of a chunk's results


@dataclass(frozen=True)
class Chunk:
    """A staged chunk of a run, in the `folder` of its policy. Its number is unique over the run's policies."""

    run_id: str
    folder: Files
    plan: StagedPlan
    number: int

    @property
    def max_calls(self) -> int:
        """Its contents that may need a call."""
        return self.plan.chunks[self.number]

    @property
    def is_uncommitted(self) -> bool:
        """Whether its contents are still staged."""
        return self.folder.exists("pending", f"bucket={self.number}")

    @property
    def is_complete(self) -> bool:
        """Whether its model work is finished and not yet committed."""
        return (self.max_calls == 0 or self.is_labelled) and self.is_uncommitted

    @property
    def is_labelled(self) -> bool:
        """Whether all of the model's results are staged. Hadoop's own marker can be switched off."""
        return any(self.folder.exists("results", self.number, marker) for marker in (COMPLETE, "_SUCCESS"))

    def mark_labelled(self) -> None:
        """Record that all of the model's results are staged."""
        self.folder.write_text(self.run_id, "results", self.number, COMPLETE)

    @property
    def pending(self) -> DataFrame | None:
        """Its content ids and contents, or None once they are committed."""
        return self._read("pending")

    @property
    def reused(self) -> DataFrame | None:
        """The verdicts that other ids of its contents have, or None."""
        return self._read("reused") if self.plan.has_reused else None

    @property
    def cleared(self) -> DataFrame | None:
        """(work_key, is_audited) of its contents that a screen cleared, or None."""
        rows = self._read("cleared") if self.plan.screened else None
        return None if rows is None or self.plan.screened is None else self.plan.screened.cleared(rows)

    @property
    def close(self) -> DataFrame | None:
        """(work_key, is_close) of its contents that a screen nearly cleared and that are judged again, or None."""
        if self.plan.screened is None or self.plan.screened.close_up_to is None:
            return None
        rows = self._read("cleared")
        return None if rows is None else self.plan.screened.close(rows)

    @property
    def results(self) -> DataFrame:
        """The model's results; no rows if the model was not called."""
        if not self.folder.exists("results", self.number):
            return self.folder.spark.createDataFrame([], RESULT_TYPE)
        return self.folder.spark.read.schema(RESULT_TYPE).parquet(self.folder.path("results", self.number))

    def _read(self, kind: str) -> DataFrame | None:
        if not self.folder.exists(kind, f"bucket={self.number}"):
            return None
        return self.folder.spark.read.parquet(self.folder.path(kind, f"bucket={self.number}"))


def chunks_of(staging: Staging, run_id: str, plan: StagedPlan) -> list[Chunk]:
    """The chunks of a staged plan, in order."""
    folder = staging.folder(run_id, plan.policy_number)
    return [Chunk(run_id, folder, plan, number) for number in plan.chunks]


def commit_chunk(tables: Tables, chunk: Chunk, source: SourceVersion) -> None:
    """Append a staged chunk to `reasoning` and `labels`, then delete its files. Safe to repeat, by any driver."""
    try:
        _commit(tables, chunk, source)
    except Exception:
        # Another driver may have committed the chunk and deleted its files while this one read them.
        if chunk.is_uncommitted or not is_committed(tables, chunk.run_id, chunk.number, chunk.plan.planned_on):
            raise
    chunk.folder.delete("pending", f"bucket={chunk.number}")
    chunk.folder.delete("results", chunk.number)


def _commit(tables: Tables, chunk: Chunk, source: SourceVersion) -> None:
    pending, results = chunk.pending, chunk.results
    if pending is None:
        raise TableError(f"The staged results of run {chunk.run_id} are gone. Issue the same command again.")
    # Reasoning first: once the label is written, the work on it counts as done.
    called = results.where("called").withColumn("run_id", F.lit(chunk.run_id))
    tables.append_reasoning(called, chunk.run_id, chunk.number)
    rows = _label_rows(pending, results, chunk, source)
    scope = LabelScope(source.collection or source.name, key_of(chunk.plan.spec), source.selection, source.read_at)
    append_labels(tables, rows, chunk.run_id, chunk.number, chunk.plan.planned_on, scope)
    if chunk.plan.activates:
        activate_if_first(tables, chunk.plan.spec, chunk.run_id)


def _label_rows(pending: DataFrame, results: DataFrame, chunk: Chunk, source: SourceVersion) -> DataFrame:
    """One row per pending content id, without `labelled_at`. Rows for which no engine started stay pending."""
    tokens = ["prompt_tokens", "cached_tokens", "completion_tokens"]
    verdicts = results.where("outcome IS NOT NULL")  # without the other calls of second looks
    verdicts = verdicts.select("work_key", *VERDICT_COLUMNS, *tokens, "effort", "called", "engine_unavailable")
    if (reused := chunk.reused) is not None:
        uncalled = {"called": F.lit(False), "engine_unavailable": F.lit(False)}
        verdicts = verdicts.unionByName(reused.withColumns(uncalled), allowMissingColumns=True)
    screen, cleared = chunk.plan.screened, chunk.cleared
    if screen is None or cleared is None:
        verdicts = verdicts.withColumn("screen", F.lit(None).cast("string"))
    else:
        verdicts = verdicts.join(screen.audited(cleared), on="work_key", how="left")
        verdicts = verdicts.unionByName(screen.verdicts(cleared), allowMissingColumns=True)
    joined = pending.join(verdicts, on="work_key", how="left")
    joined = joined.where("engine_unavailable IS NULL OR NOT engine_unavailable")
    is_paid = F.col("is_first") & F.col("called")  # tokens are counted once, however many ids share the call
    has_no_result = F.col("outcome").isNull()
    policy, labeler = chunk.plan.policy, chunk.plan.labeler
    constants = {
        "policy": policy.name,
        "policy_version": policy.version,
        "policy_hash": policy.policy_hash,
        "labeler": labeler.name,
        "labeler_hash": labeler.labeler_hash,
        "model": labeler.model,
        "run_id": chunk.run_id,
        "collection": source.collection or source.name,
        "source": source.name,
        "salt": labeler.salt,
        "carried_from": None,
        "screened_for": None,
    }
    is_screened = F.coalesce(F.col("outcome") == Outcome.screened.value, F.lit(False))
    of_screened = {**screen.label_columns, "screened_for": labeler.labeler_hash} if screen else {}
    values = {name: F.lit(value).cast("string") for name, value in constants.items()}
    values |= {name: F.when(is_screened, value).otherwise(values[name]) for name, value in of_screened.items()}
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
        F.coalesce("effort", F.lit(labeler.effort.value)).alias("effort"),
        F.lit(chunk.number).alias("chunk"),
        F.lit(source.version).cast("bigint").alias("source_version"),
        "screen",
        *(value.alias(name) for name, value in values.items()),
    )
