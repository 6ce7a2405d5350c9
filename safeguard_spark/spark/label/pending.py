"""Plan: which contents have no final label yet, cut into chunks and staged, so that nothing is decided twice.

A content is done when the newest label of its id in its collection, under this policy version and labeler, is final and
belongs to the same content hash. So new rows, edited rows, reverted edits, new versions and resumed runs are all the
same case: pending.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import ClassVar, NamedTuple

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.config.model import RunConfig, SourceConfig
from safeguard_spark.errors import SourceError
from safeguard_spark.labelling.labeler import Labeler
from safeguard_spark.labelling.rows import LabelSpec
from safeguard_spark.labelling.verdict import Outcome
from safeguard_spark.policy.document import Policy
from safeguard_spark.spark.files import Files
from safeguard_spark.spark.label.chunk_order import chunk_by_rank
from safeguard_spark.spark.label.executor import VERDICT_COLUMNS
from safeguard_spark.spark.label.run import RunContext
from safeguard_spark.spark.label.screening import CLEARED_TYPE, StagedScreen, stage_cleared
from safeguard_spark.spark.labels import of_collection, of_version
from safeguard_spark.spark.screens import num_checked, without_retired
from safeguard_spark.spark.session import MAX_LISTED
from safeguard_spark.spark.source import RANK, STRATUM, Source, one_stratum, work_key
from safeguard_spark.spark.staging import StagedFile

KEYS_DDL = (
    "content_id STRING, content_hash STRING, attempt INT, doubled BOOLEAN, done BOOLEAN, given_up BOOLEAN, "
    "label_hash STRING"
)


class Counts(NamedTuple):
    """The size of a plan, in contents. `distinct` have no verdict yet; some may turn out to need no model call."""

    rows: int
    pending: int
    distinct: int


class StagedPlan(StagedFile):
    """One policy's staged work. `chunks` maps a chunk's number to its contents that may need a call."""

    file_name: ClassVar[str] = "plan.json"

    policy: Policy
    labeler: Labeler
    policy_number: int  # of the policy in its run
    planned_on: int  # version of `labels`
    counts: Counts
    chunks: dict[int, int] = {}  # noqa: RUF012  a pydantic model copies it
    has_reused: bool = False
    remaining: int = 0  # pending contents that are not staged because the run may not label so many
    activates: bool = True  # as in the run's selection
    given_up: int = 0  # contents that are not pending because they failed `run.max_attempts` times
    screened: StagedScreen | None = None

    @property
    def spec(self) -> LabelSpec:
        """The policy and the labeler."""
        return LabelSpec(self.policy, self.labeler)


def make_plan(run: RunContext, spec: LabelSpec, policy_number: int, first_chunk: int = 0) -> StagedPlan:
    """Find the pending contents and stage them by chunk, in the source's rank if it has one.

    If the run's budget is a number of calls, little more than so many contents are staged. Chunks are numbered from
    `first_chunk`, so that a run's chunks have one sequence of numbers over its policies.
    """
    planned_on = run.tables.version(schema.LABELS)
    plan = StagedPlan(
        policy=spec.policy,
        labeler=spec.labeler,
        policy_number=policy_number,
        planned_on=planned_on,
        counts=Counts(run.num_rows, 0, 0),
        activates=run.selection.activates,
    )
    if run.candidates.is_nothing:
        return plan
    config, source, max_calls = run.config, run.source, run.selection.budget.calls
    folder = run.staging.folder(run.run_id, policy_number)
    labels = without_retired(run.tables, run.tables.read(schema.LABELS, planned_on), run.selection.rejudged)
    has_keys = config.source.limit is not None or source.whole is not None
    has_keys = has_keys or labels_of(labels, spec, config, source).limit(1).count() > 0
    pending, num_pending, given_up = _pending_contents(run, spec, labels if has_keys else None, folder)
    plan = plan.model_copy(update={"given_up": given_up})
    if num_pending == 0:
        return plan
    num_chunks = -(-num_pending // config.run.chunk_rows)
    keyed = pending.withColumn("work_key", work_key(spec.policy.policy_hash, spec.labeler.labeler_hash))
    max_chunks = None if max_calls is None else -(-max_calls // config.run.chunk_rows) + 1
    if max_chunks is not None and max_chunks >= num_chunks and RANK not in pending.columns:
        max_chunks = None  # all of them
    _stage_pending(keyed, source.payload, num_chunks, max_chunks, first_chunk, folder)
    if not has_keys:  # else `pending_keys` has looked at all rows
        _refuse_doubled(_doubled_ids(folder), config.source, source)
    has_reused = _stage_reused(labels, spec, folder, is_few=source.whole is not None)
    screen = run.screen_of(spec)
    screened = None
    if screen is not None:
        checked = num_checked(run.tables, screen.screen_id)
        screened = stage_cleared(config, spec, screen, folder, run.run_id, has_reused=has_reused, checked=checked)
    sizes = _chunk_sizes(folder, has_reused, screened)
    num_staged = sum(size.ids for size in sizes.values())
    remaining = 0 if max_chunks is None else max(0, num_pending - num_staged)
    counts = Counts(run.num_rows, num_staged + remaining, sum(size.calls for size in sizes.values()))
    calls = {chunk: size.calls for chunk, size in sorted(sizes.items())}
    found = {"counts": counts, "chunks": calls, "has_reused": has_reused, "remaining": remaining, "screened": screened}
    return plan.model_copy(update=found)


def _pending_contents(
    run: RunContext, spec: LabelSpec, labels: DataFrame | None, folder: Files
) -> tuple[DataFrame, int, int]:
    """The pending contents with their attempt, about how many they are, and how many were given up.

    Without `labels` all are pending.
    """
    source = run.source
    if labels is None:
        return source.frame.withColumn("attempt", F.lit(1)), run.num_rows, 0

    def stage(keys: DataFrame) -> DataFrame:
        keys.write.parquet(folder.path("keys"))
        return folder.spark.read.schema(KEYS_DDL).parquet(folder.path("keys"))

    keys = pending_keys(run.config, spec, source, labels, stage)
    pending = source.frame.join(keys.frame, on=["content_id", "content_hash"], how="inner")
    return pending, keys.rows, keys.given_up


def requested_keys(source: Source, limit: int | None) -> DataFrame:
    """(content_id, content_hash) of the contents to label; with a limit the lowest ids, the same ones every time."""
    keys = source.frame.select("content_id", "content_hash")
    return keys.orderBy("content_id", "content_hash").limit(limit) if limit else keys


def labels_of(labels: DataFrame, spec: LabelSpec, config: RunConfig, source: Source) -> DataFrame:
    """Labels of the source's collection, of exactly this policy version and labeler."""
    rows = of_version(labels, spec.policy, spec.labeler.labeler_hash, salt=spec.labeler.salt)
    return of_collection(rows, config.source.collection(source.name))


def is_final(spec: LabelSpec) -> Column:
    """Whether a label's outcome is final, or another call may end differently."""
    may_change = [outcome.value for outcome in Outcome if outcome.may_change(spec.labeler.temperature)]
    return ~F.col("outcome").isin(may_change)


class PendingKeys(NamedTuple):
    """`frame` has (content_id, content_hash, attempt) of the contents that need a verdict, in `rows` rows.

    `given_up` contents need none because they failed `run.max_attempts` times.
    """

    frame: DataFrame
    rows: int
    given_up: int


def pending_keys(
    config: RunConfig,
    spec: LabelSpec,
    source: Source,
    labels: DataFrame,
    stage: Callable[[DataFrame], DataFrame],
) -> PendingKeys:
    """The contents that need a verdict, without duplicates.

    `stage` keeps an intermediate result, which is used several times, and returns it as read from there.
    """
    existing, requested = labels_of(labels, spec, config, source), requested_keys(source, config.source.limit)
    if source.whole is not None:  # few: only their labels are shuffled
        existing = _of_few(existing, requested, "content_id")
    keys = stage(_without_final(requested, existing, spec, config.run.max_attempts))
    content, is_pending = ["content_id", "content_hash"], ~F.col("doubled") & ~F.col("done")
    counts = keys.agg(
        F.count_distinct(F.when(is_pending, F.struct(*content))).alias("pending"),
        *(F.count_if(condition).alias(name) for name, condition in {
            "doubled": F.col("doubled"), "given_up": F.col("given_up"),
            "edited": ~F.col("done") & (F.col("label_hash") != F.col("content_hash")),
        }.items()),
    ).first()  # fmt: skip
    assert counts is not None  # an aggregate without groups has one row
    if counts["doubled"]:
        _refuse_doubled(keys.where("doubled").select("content_id").distinct(), config.source, source)
    if counts["edited"]:
        _refuse_doubled(_doubled_by_change(keys, source), config.source, source)
    given_up = keys.where("given_up").select(*content).distinct().count() if counts["given_up"] else 0
    pending = keys.where(is_pending).select(*content, "attempt").dropDuplicates(content)
    if not counts["doubled"]:
        return PendingKeys(pending, counts["pending"], given_up)
    # For an id with several contents any label of a content counts, not only the newest of the id.
    labelled = existing.where(is_final(spec)).select(*content)
    doubled = keys.where("doubled AND NOT done").join(labelled, on=content, how="left_anti")
    pending = pending.unionByName(doubled.select(*content, "attempt").dropDuplicates(content))
    return PendingKeys(pending, pending.count(), given_up)


@contextlib.contextmanager
def cached_pending_keys(config: RunConfig, spec: LabelSpec, source: Source, labels: DataFrame) -> Iterator[PendingKeys]:
    """`pending_keys`, computed once within a block."""
    frames = list[DataFrame]()

    def cached(keys: DataFrame) -> DataFrame:
        frames.append(keys.cache())
        return keys

    try:
        keys = pending_keys(config, spec, source, labels, cached)
        yield keys._replace(frame=cached(keys.frame))
    finally:
        for frame in frames:
            frame.unpersist()


def _without_final(requested: DataFrame, existing: DataFrame, spec: LabelSpec, max_attempts: int) -> DataFrame:
    """KEYS_DDL of the contents whose newest label is not final. `label_hash` is the content of the id's newest label.

    A label of another content under the same id does not count. `doubled` marks the contents of an id that has
    several: they are here also if they are `done`, as are those that failed `max_attempts` times (`given_up`).
    """
    # Shuffled and sorted once by id: the aggregate, the join and the window all use that order. Without this
    # repartition Spark adds a partial aggregate before the shuffle, which saves nothing on nearly unique ids.
    newest = existing.repartition("content_id").select(
        "content_id",
        F.struct("labelled_at", "attempt", "content_hash", is_final(spec).alias("final"), "outcome").alias("label"),
    )
    newest = newest.groupBy("content_id").agg(F.max("label").alias("label"))
    joined = requested.join(newest, on="content_id", how="left")
    contents = Window.partitionBy("content_id")
    doubled = F.min("content_hash").over(contents) != F.max("content_hash").over(contents)
    same = F.col("label.content_hash") == F.col("content_hash")
    attempts = F.when(same, F.col("label.attempt")).otherwise(F.lit(0))
    done = F.coalesce(same & (F.col("label.final") | (F.col("label.attempt") >= max_attempts)), F.lit(False))
    return joined.select(
        "content_id",
        "content_hash",
        F.coalesce(attempts + 1, F.lit(1)).alias("attempt"),
        doubled.alias("doubled"),
        done.alias("done"),
        (done & (F.col("label.outcome") == Outcome.engine_failed.value)).alias("given_up"),
        F.col("label.content_hash").alias("label_hash"),
    ).where("NOT done OR doubled OR given_up")


def _doubled_by_change(keys: DataFrame, source: Source) -> DataFrame | None:
    """Ids of which a new content came and the labelled one is still in the source.

    That one is gone if it changed as well. For those of which nothing says so, the ids of the source are read.
    """
    if source.whole is None:
        return None
    edited = keys.where("NOT done AND label_hash != content_hash")
    edited = edited.select("content_id", F.col("label_hash").alias("content_hash"))
    if source.touched is not None:
        edited = edited.join(source.touched, on=["content_id", "content_hash"], how="left_anti")
    contents = _of_few(source.whole, edited, "content_id")
    hashes = contents.groupBy("content_id").agg((F.min("content_hash") != F.max("content_hash")).alias("doubled"))
    return hashes.where("doubled").select("content_id")


def _of_few(rows: DataFrame, few: DataFrame, column: str) -> DataFrame:
    """The rows with one of the values that `few` has in a column.

    Up to MAX_LISTED values are a list, for which statistics and Bloom filters spare files and row groups.
    """
    values = [row[0] for row in few.select(column).limit(MAX_LISTED + 1).collect()]
    if len(values) > MAX_LISTED:
        return rows.join(few.select(column), on=column, how="left_semi")
    return rows.where(F.col(column).isin({*values}))


def _doubled_ids(folder: Files) -> DataFrame:
    """Ids that have several staged contents. Shuffles an id and 16 bytes for each staged row."""
    staged = folder.spark.read.parquet(folder.path("pending"))
    hashes = staged.select("content_id", F.xxhash64("content_hash").alias("hash")).groupBy("content_id")
    return hashes.agg((F.min("hash") != F.max("hash")).alias("doubled")).where("doubled").select("content_id")


def _refuse_doubled(ids: DataFrame | None, config: SourceConfig, source: Source) -> None:
    """Raise SourceError if there are ids with several contents, unless all of them are to be labelled."""
    if config.duplicate_ids == "refuse" and ids is not None and (count := ids.count()):
        raise SourceError(
            f"Number of ids with several contents in {source.name}: {count:,}. Name what identifies a content, for "
            "example --id-column \"concat(site, '/', id)\", or label all of them with --set source.duplicate_ids=all."
        )


def _stage_pending(
    pending: DataFrame,
    payload: str,
    num_chunks: int,
    max_chunks: int | None,
    first_chunk: int,
    folder: Files,
) -> None:
    """Stage ids and contents by chunk: all chunks, or the first `max_chunks`. Only a content's first id holds it."""
    # By work key, so that all ids of a content are in one chunk and one call serves them.
    chunk = F.pmod(F.xxhash64("work_key"), F.lit(num_chunks)).cast("int")
    order = Window.partitionBy("bucket", "work_key").orderBy("content_id")
    chunked = chunk_by_rank(pending, num_chunks) if RANK in pending.columns else pending.withColumn("bucket", chunk)
    marked = chunked if max_chunks is None else chunked.where(F.col("bucket") < max_chunks)
    marked = marked.repartition(min(num_chunks, 10_000), "bucket")
    if STRATUM in marked.columns:
        marked = marked.withColumn(STRATUM, one_stratum(Window.partitionBy("bucket", "work_key")))
    marked = (
        marked.withColumn("is_first", F.row_number().over(order) == 1)
        .withColumn("is_repeat", F.coalesce(F.lag("content_id").over(order) == F.col("content_id"), F.lit(False)))
        .where("NOT is_repeat")
    )
    content = F.when(F.col("is_first"), F.col(payload)).alias(payload)
    strata = [STRATUM] if STRATUM in pending.columns else []
    number = (F.col("bucket") + first_chunk).alias("bucket")
    staged = marked.select("content_id", "content_hash", "work_key", "attempt", "is_first", content, *strata, number)
    staged.write.partitionBy("bucket").parquet(folder.path("pending"))


def reusable_labels(labels: DataFrame, spec: LabelSpec) -> DataFrame:
    """Labels whose verdict can be reused for the same work key, whatever their version, collection or id."""
    keys = (F.col("policy_hash") == spec.policy.policy_hash) & (F.col("labeler_hash") == spec.labeler.labeler_hash)
    return labels.where(keys & is_final(spec))


def _stage_reused(labels: DataFrame, spec: LabelSpec, folder: Files, *, is_few: bool) -> bool:
    """Stage the verdicts that the same call already gave for other ids or versions; whether there are any."""
    reusable = reusable_labels(labels, spec)
    pending = folder.spark.read.parquet(folder.path("pending")).where("is_first").select("work_key", "bucket")
    # Of few contents often none is reused, and finding that out reads one column of the labels in place of ten.
    reusable = _of_few(reusable, pending, "work_key") if is_few else reusable
    if reusable.select("work_key").limit(1).count() == 0:
        return False
    reused = reusable.select("work_key", *VERDICT_COLUMNS, "effort").join(pending, on="work_key", how="inner")
    reused.dropDuplicates(["work_key"]).write.partitionBy("bucket").parquet(folder.path("reused"))
    return any(name.startswith("bucket=") for name in folder.names("reused"))


class _ChunkSize(NamedTuple):
    ids: int  # pending ids
    calls: int  # distinct contents without a verdict


def _chunk_sizes(folder: Files, has_reused: bool, screened: StagedScreen | None) -> dict[int, _ChunkSize]:
    """The size of each staged chunk."""
    staged = folder.spark.read.parquet(folder.path("pending")).select("work_key", "is_first", "bucket")
    if has_reused:
        reused = folder.spark.read.parquet(folder.path("reused")).select("work_key")
        staged = staged.join(reused.withColumn("is_reused", F.lit(True)), on="work_key", how="left")
    else:
        staged = staged.withColumn("is_reused", F.lit(None).cast("boolean"))
    if screened is not None:
        spared = screened.cleared(folder.spark.read.schema(CLEARED_TYPE).parquet(folder.path("cleared")))
        spared = spared.where("NOT is_audited").select("work_key", F.lit(True).alias("is_spared"))
        staged = staged.join(spared, on="work_key", how="left")
    else:
        staged = staged.withColumn("is_spared", F.lit(None).cast("boolean"))
    calls = F.count_if(F.col("is_first") & F.col("is_reused").isNull() & F.col("is_spared").isNull())
    rows = staged.groupBy("bucket").agg(F.count(F.lit(1)).alias("ids"), calls.alias("calls")).collect()
    return {int(row["bucket"]): _ChunkSize(int(row["ids"]), int(row["calls"])) for row in rows}
