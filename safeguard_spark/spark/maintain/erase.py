"""Erase contents from the label tables, and from their files."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError
from safeguard_spark.extras import is_installed
from safeguard_spark.result import Status
from safeguard_spark.schema import Table
from safeguard_spark.spark.failures import retrying
from safeguard_spark.spark.label.recover import recover
from safeguard_spark.spark.labels import CONTENT, of_collection
from safeguard_spark.spark.staging import Manifest, Staging, is_alive
from safeguard_spark.spark.tables import Tables
from safeguard_spark.suggest import closest_match

BY_ID = tuple(table for table in schema.TABLES if "content_id" in table.names)
BY_KEY = tuple(table for table in schema.TABLES if "work_key" in table.names and table not in BY_ID)
BY_WORK_KEY = "t.work_key = k.work_key"
MAX_NAMES = 20  # of collections, in a message
RETENTION_CHECK = "spark.databricks.delta.retentionDurationCheck.enabled"
COMMIT_METADATA = "spark.databricks.delta.commitInfo.userMetadata"


class Erasure(NamedTuple):
    """The result of an erasure, in one collection or in all that have the ids.

    `shared` counts other contents that are identical, for which the reasoning is kept.
    """

    ids: int
    found: int  # ids that had a label
    rows: dict[str, int]  # rows removed, by table
    shared: int
    under_way: tuple[str, ...]  # runs in progress that may have the contents in staging and write them again
    vacuumed: bool
    exports: int  # files of the review console that were deleted: they may have held the contents
    console: str  # what a review console has to do yet, in a sentence; empty if nothing
    collections: dict[str, int]  # ids that had a label, by collection, also by those that kept it

    @property
    def status(self) -> Status:
        """Partial if the same command has to be issued again."""
        return Status.partial if self.under_way else Status.complete

    def to_json(self) -> dict[str, Any]:
        """The object `--json` prints."""
        return {**self._asdict(), "under_way": list(self.under_way), "status": self.status.value}


def erase_contents(
    spark: SparkSession,
    config: RunConfig,
    ids: Iterable[str],
    *,
    collection: str | None = None,
    vacuum: bool = False,
) -> Erasure:
    """Remove content ids, their labels and their reasoning from the label tables. Safe to repeat. Raises TableError.

    Only in one collection, if it is named; without, in every collection. Raises ConfigError for one that never was.
    What a dead run left staged is committed first, and so is erased too. Reasoning belongs to a content, not to an id:
    if other ids have the same content, it is kept and counted. With `vacuum` the files that held the rows are deleted
    too, and so is every older version of those tables. There is no vacuum while a run is in progress: it would delete
    that run's unfinished files.
    """
    tables = Tables.open(spark, config.output)
    tables.create()  # the columns of this release
    staging = Staging(spark, config.run.staging or tables.sibling_folder("_staging"))
    recover(tables, staging, config)
    running = _running(staging, config)
    distinct = sorted(set(ids))
    requested = spark.createDataFrame([[id, collection] for id in distinct], "content_id STRING, collection STRING")
    labels = tables.read(schema.LABELS)
    labelled = labels.join(requested.select("content_id"), on="content_id", how="left_semi").select(*CONTENT).distinct()
    collections = {row[0]: row["count"] for row in labelled.groupBy("collection").count().sort("collection").collect()}
    num_labelled = of_collection(labelled, collection).select("content_id").distinct().count()
    if collection is not None and not num_labelled:  # or the ids have no labels, or the name is mistyped
        _require_collection(tables, collection)
    work_keys, shared = _work_keys(labels, requested)
    # Reasoning first: its work keys are looked up in the labels.
    rows = {table.name: _remove(tables, table, work_keys, BY_WORK_KEY, len(distinct)) for table in BY_KEY}
    rows |= {table.name: _remove(tables, table, requested, _by_content(table), len(distinct)) for table in BY_ID}
    if vacuum and not running:
        with _setting(spark, RETENTION_CHECK, "false"):  # Delta refuses to delete files younger than a week
            for table in (*BY_KEY, *BY_ID):
                spark.sql(f"VACUUM {tables.sql(table)} RETAIN 0 HOURS")
    vacuumed = vacuum and not running
    exports, console = _clean_console(config.model_copy(update={"output": tables.output}))
    return Erasure(len(distinct), num_labelled, rows, shared, running, vacuumed, exports, console, collections)


def _clean_console(config: RunConfig) -> tuple[int, str]:
    """Erase from the folder of a review console too: how many exports were deleted, and what the console has to do."""
    if not is_installed("deltalake"):  # then the console is on another machine
        return 0, ""
    from safeguard_spark.review.erasure import clean_console

    cleaned = clean_console(config)
    if cleaned is None:
        return 0, ""
    pending = "A review console is running: the rows leave its journal when somebody next loads a page."
    return cleaned.exports, pending if cleaned.is_pending else ""


def _require_collection(tables: Tables, collection: str) -> None:
    """Raise ConfigError unless a row has the collection, or a run labelled it of which everything is erased by now."""
    by_runs = "coalesce(get_json_object(config, '$.source.name'), source) AS collection"
    frames = [tables.read(table).select("collection") for table in BY_ID if "collection" in table.names]
    for frame in (*frames, tables.read(schema.RUNS).selectExpr(by_runs)):
        if frame.where(F.col("collection") == collection).limit(1).count():
            return
    names = tables.read(schema.LABELS).groupBy("collection").count().orderBy(F.desc("count"), "collection")
    existing = [str(row["collection"]) for row in names.limit(MAX_NAMES + 1).collect()]
    match = closest_match(collection, existing)
    more = ", …" if len(existing) > MAX_NAMES else ""
    hint = f"Did you mean {match}?" if match else f"Collections: {', '.join(existing[:MAX_NAMES]) or 'none'}{more}."
    raise ConfigError(f"There is no collection {collection} in {tables.output}, so nothing was erased. {hint}")


def _running(staging: Staging, config: RunConfig) -> tuple[str, ...]:
    """Ids of the runs whose driver is alive."""
    manifests = ((run_id, staging.read(Manifest, run_id)) for run_id in staging.names())
    heartbeat_s = config.run.heartbeat_s
    return tuple(
        run_id for run_id, manifest in manifests if manifest and is_alive(staging, run_id, manifest, heartbeat_s)
    )


def _by_content(table: Table) -> str:
    """The condition that a row of a table is about a requested content."""
    collection = "coalesce(t.collection, t.source)" if table is schema.LABELS else "t.collection"
    return f"t.content_id = k.content_id AND (k.collection IS NULL OR k.collection = {collection})"


def _contents(labels: DataFrame, requested: DataFrame, how: str = "left_semi") -> DataFrame:
    """The labels of the requested contents, or with `left_anti` the others."""
    return labels.alias("t").join(requested.alias("k"), on=F.expr(_by_content(schema.LABELS)), how=how)


def _work_keys(labels: DataFrame, requested: DataFrame) -> tuple[DataFrame, int]:
    """The work keys that only the requested contents use, and how many other contents share one."""
    pairs = labels.select("work_key", *CONTENT, "source")
    work_keys = _contents(pairs, requested).select("work_key").distinct()
    others = _contents(pairs, requested, "left_anti").join(work_keys, on="work_key", how="left_semi")
    shared = others.select(*CONTENT).distinct().count()
    return work_keys.join(others, on="work_key", how="left_anti"), shared


def _remove(tables: Tables, table: Table, keys: DataFrame, condition: str, num_ids: int) -> int:
    """Remove rows by key and return how many. The commit records the number of ids, not the ids."""
    spark = tables.spark
    count = tables.read(table).alias("t").join(keys.alias("k"), on=F.expr(condition), how="left_semi").count()
    if not count:
        return 0
    keys.createOrReplaceTempView("erased_keys")
    # Not DELETE ... WHERE id IN (...): the table's history would then contain the ids.
    merge = f"MERGE INTO {tables.sql(table)} t USING erased_keys k ON {condition} WHEN MATCHED THEN DELETE"
    with _setting(spark, COMMIT_METADATA, f'{{"erased_ids": {num_ids}}}'):
        retrying(lambda: spark.sql(merge), f"{tables.path(table)} cannot be written")
    spark.catalog.dropTempView("erased_keys")
    return count


@contextlib.contextmanager
def _setting(spark: SparkSession, key: str, value: str) -> Iterator[None]:
    """Change a setting of the session within a block."""
    before = spark.conf.get(key, None)
    spark.conf.set(key, value)
    try:
        yield
    finally:
        if before is None:
            spark.conf.unset(key)
        else:
            spark.conf.set(key, before)
