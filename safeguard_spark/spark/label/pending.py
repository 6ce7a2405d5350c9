"""Plan: which contents have no final label yet, cut into chunks and staged, so that nothing is decided twice.

A content is done when the newest label of its id under this policy version and labeler is a final one of this very
content. So new rows, edited rows, edits taken back, new versions and resumed runs are all the same thing: pending.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.config.model import RunConfig
from safeguard_spark.labelling.rows import LabelSpec
from safeguard_spark.labelling.verdict import Outcome
from safeguard_spark.spark.label.chunk_order import chunk_by_rank
from safeguard_spark.spark.source import RANK, Source, work_key
from safeguard_spark.spark.staging import Staging
from safeguard_spark.spark.tables import Tables

KEYS = "content_id STRING, content_hash STRING, attempt INT, doubled BOOLEAN"
VERDICT = ["outcome", "violation", "category", "rule_ids", "confidence", "rationale", "error"]


class Counts(NamedTuple):
    """What a plan found. `distinct` counts contents without a verdict; some may turn out to need no model."""

    rows: int
    pending: int
    distinct: int


@dataclass
class StagedPlan:
    """One policy's staged work. `chunks` maps chunk number to contents that may need a call."""

    job: LabelSpec
    number: int  # of the policy in its run
    planned_on: int  # version of `labels`
    counts: Counts
    chunks: dict[int, int] = field(default_factory=dict)
    has_reused: bool = False
    left: int = 0  # pending contents that are not staged, being more than the run may label

    def to_json(self) -> dict[str, Any]:
        """What another driver needs to commit the staged chunks."""
        return {
            "policy": self.job.policy.model_dump(mode="json"),
            "labeler": self.job.labeler.model_dump(mode="json"),
            "planned_on": self.planned_on,
            "counts": list(self.counts),
            "chunks": {str(chunk): calls for chunk, calls in self.chunks.items()},
            "has_reused": self.has_reused,
        }


def make_plan(
    config: RunConfig,
    job: LabelSpec,
    number: int,
    source: Source,
    tables: Tables,
    staging: Staging,
    run_id: str,
    most: int | None = None,
) -> StagedPlan:
    """Find what is pending and stage it: in the source's order if it has one, and little more than `most` contents."""
    at = (run_id, number)
    planned_on = tables.version(schema.LABELS)
    labels = tables.read(schema.LABELS, planned_on)
    rows, todo, size = _todo(config, job, source, labels, staging, at)
    if size == 0:
        return StagedPlan(job, number, planned_on, Counts(rows, 0, 0))
    chunks = -(-size // config.run.chunk_rows)
    keyed = todo.withColumn("work_key", work_key(job.policy.policy_hash, job.labeler.labeler_hash))
    first = None if most is None else -(-most // config.run.chunk_rows) + 1
    if first is not None and first >= chunks and RANK not in todo.columns:
        first = None  # all of it
    _stage_pending(keyed, source.payload, chunks, first, staging, at)
    reused = _stage_reused(labels, job, staging, at)
    counted = _count(staging, at, reused)
    staged = sum(ids for ids, _ in counted.values())
    left = 0 if first is None else max(0, size - staged)
    found = Counts(rows, staged + left, sum(new for _, new in counted.values()))
    calls = {chunk: new for chunk, (_, new) in sorted(counted.items())}
    return StagedPlan(job, number, planned_on, found, calls, reused, left)


def _todo(
    config: RunConfig, job: LabelSpec, source: Source, labels: DataFrame, staging: Staging, at: tuple[Any, ...]
) -> tuple[int, DataFrame, int]:
    """Contents asked for, the pending ones with their attempt, and about how many these are."""
    rows, limit = source.frame.count(), config.source.limit
    rows = min(rows, limit) if limit else rows
    known = labels_of(labels, job)
    if limit is None and known.limit(1).count() == 0:
        return rows, source.frame.withColumn("attempt", F.lit(1)), rows
    keys = _stage_keys(wanted(source, limit), known, job, config.run.max_attempts, staging, at)
    return rows, source.frame.join(keys, on=["content_id", "content_hash"], how="inner"), keys.count()


def wanted(source: Source, limit: int | None) -> DataFrame:
    """(content_id, content_hash) of what is asked for; with a limit the lowest ids, the same ones every time."""
    keys = source.frame.select("content_id", "content_hash")
    return keys.orderBy("content_id", "content_hash").limit(limit) if limit else keys


def labels_of(labels: DataFrame, job: LabelSpec) -> DataFrame:
    """Labels of exactly this policy version and labeler."""
    policy = job.policy
    return labels.where(
        (F.col("policy") == policy.name)
        & (F.col("policy_version") == policy.version)
        & (F.col("policy_hash") == policy.policy_hash)
        & (F.col("labeler_hash") == job.labeler.labeler_hash)
    )


def is_final(job: LabelSpec) -> Column:
    """Whether a label's outcome stands, or the call may end otherwise next time."""
    open_ended = [o.value for o in Outcome if o.may_change(job.labeler.temperature)]
    return ~F.col("outcome").isin(open_ended)


def pending(wanted: DataFrame, known: DataFrame, job: LabelSpec, max_attempts: int) -> DataFrame:
    """(content_id, content_hash, attempt) of the wanted contents whose newest label is not a final one of theirs."""
    # Shuffled and sorted once by id: the aggregate, the join and the window all use that order. An aggregate of its own
    # accord would sort before it shuffles as well, though an id hardly ever has two labels.
    newest = known.repartition("content_id").select(
        "content_id",
        F.struct("labelled_at", "attempt", "content_hash", is_final(job).alias("final")).alias("label"),
    )
    newest = newest.groupBy("content_id").agg(F.max("label").alias("label"))
    joined = wanted.join(newest, on="content_id", how="left")
    doubled = F.count(F.lit(1)).over(Window.partitionBy("content_id")) > 1
    same = F.col("label.content_hash") == F.col("content_hash")
    tried = F.when(same, F.col("label.attempt")).otherwise(F.lit(0))
    done = F.coalesce(same & (F.col("label.final") | (F.col("label.attempt") >= max_attempts)), F.lit(False))
    return joined.select(
        "content_id",
        "content_hash",
        F.coalesce(tried + 1, F.lit(1)).alias("attempt"),
        doubled.alias("doubled"),
        done.alias("done"),
    ).where(~F.col("done")).drop("done")  # fmt: skip


def _stage_keys(
    wanted: DataFrame, known: DataFrame, job: LabelSpec, max_attempts: int, staging: Staging, at: tuple[Any, ...]
) -> DataFrame:
    """Stage the keys of what is pending: (content_id, content_hash, attempt), each once."""
    pending(wanted, known, job, max_attempts).write.parquet(staging.path(*at, "keys"))
    keys = staging.spark.read.schema(KEYS).parquet(staging.path(*at, "keys"))
    return once(keys, known, job)


def once(keys: DataFrame, known: DataFrame, job: LabelSpec) -> DataFrame:
    """(content_id, content_hash, attempt) of pending keys, each once."""
    # An id on several rows has several contents at once: there any label of the content counts, not the newest.
    labelled = known.where(is_final(job)).select("content_id", "content_hash")
    several = keys.where("doubled").join(labelled, on=["content_id", "content_hash"], how="left_anti")
    keys = keys.where("NOT doubled").unionByName(several).drop("doubled")
    return keys.dropDuplicates(["content_id", "content_hash"])


def _stage_pending(
    todo: DataFrame, payload: str, chunks: int, first: int | None, staging: Staging, at: tuple[Any, ...]
) -> None:
    """Stage ids and contents by chunk, all or only the `first` so many; only the first id of a content carries it."""
    # By work key, so that all ids of a content are in one chunk and one call serves them.
    number = F.pmod(F.xxhash64("work_key"), F.lit(chunks)).cast("int")
    order = Window.partitionBy("bucket", "work_key").orderBy("content_id")
    numbered = chunk_by_rank(todo, chunks) if RANK in todo.columns else todo.withColumn("bucket", number)
    marked = (
        (numbered if first is None else numbered.where(F.col("bucket") < first))
        .repartition(min(chunks, 10_000), "bucket")
        .withColumn("is_first", F.row_number().over(order) == 1)
        .withColumn("again", F.coalesce(F.lag("content_id").over(order) == F.col("content_id"), F.lit(False)))
        .where("NOT again")
    )
    content = F.when(F.col("is_first"), F.col(payload)).alias(payload)
    staged = marked.select("content_id", "content_hash", "work_key", "attempt", "is_first", content, "bucket")
    staged.write.partitionBy("bucket").parquet(staging.path(*at, "pending"))


def said_of(labels: DataFrame, job: LabelSpec) -> DataFrame:
    """Labels whose verdict stands for every content of their work key, whichever version or id they are of."""
    keys = (F.col("policy_hash") == job.policy.policy_hash) & (F.col("labeler_hash") == job.labeler.labeler_hash)
    return labels.where(keys & is_final(job))


def _stage_reused(labels: DataFrame, job: LabelSpec, staging: Staging, at: tuple[Any, ...]) -> bool:
    """Stage verdicts that the same call already gave for other ids or versions."""
    said = said_of(labels, job)
    if said.limit(1).count() == 0:
        return False
    asked = staging.spark.read.parquet(staging.path(*at, "pending")).where("is_first").select("work_key", "bucket")
    found = said.select("work_key", *VERDICT).join(asked, on="work_key", how="inner").dropDuplicates(["work_key"])
    found.write.partitionBy("bucket").parquet(staging.path(*at, "reused"))
    return any(name.startswith("bucket=") for name in staging.names(*at, "reused"))


def _count(staging: Staging, at: tuple[Any, ...], reused: bool) -> dict[int, tuple[int, int]]:
    """Per chunk: pending ids, and distinct contents without a verdict."""
    staged = staging.spark.read.parquet(staging.path(*at, "pending")).select("work_key", "is_first", "bucket")
    if reused:
        known = staging.spark.read.parquet(staging.path(*at, "reused")).select("work_key", F.lit(True).alias("known"))
        staged = staged.join(known, on="work_key", how="left")
    else:
        staged = staged.withColumn("known", F.lit(None).cast("boolean"))
    new = F.count_if(F.col("is_first") & F.col("known").isNull())
    rows = staged.groupBy("bucket").agg(F.count(F.lit(1)).alias("ids"), new.alias("new")).collect()
    return {int(row["bucket"]): (int(row["ids"]), int(row["new"])) for row in rows}


def bucket(staging: Staging, at: tuple[Any, ...], kind: str, chunk: int) -> DataFrame | None:
    """One chunk's part of `pending` or `reused`, or None if it has none."""
    if not staging.exists(*at, kind, f"bucket={chunk}"):
        return None
    return staging.spark.read.parquet(staging.path(*at, kind, f"bucket={chunk}"))
