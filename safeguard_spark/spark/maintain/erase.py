"""Erase contents from the label tables, and from their files."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from pyspark.sql import DataFrame, SparkSession

from safeguard_spark import schema
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ExitCode, TableError
from safeguard_spark.result import Status
from safeguard_spark.schema import Table
from safeguard_spark.spark.failures import FAILED, failure_cause, is_conflict
from safeguard_spark.spark.label.recover import recover
from safeguard_spark.spark.staging import MANIFEST, Staging, is_alive
from safeguard_spark.spark.tables import TRIES, Tables

BY_ID = tuple(table for table in schema.TABLES if "content_id" in table.names)
BY_KEY = tuple(table for table in schema.TABLES if "work_key" in table.names and table not in BY_ID)
CHECK = "spark.databricks.delta.retentionDurationCheck.enabled"
NOTE = "spark.databricks.delta.commitInfo.userMetadata"


class Erasure(NamedTuple):
    """What an erasure did. `shared` counts other ids of identical content, whose reasoning had to stay."""

    ids: int
    found: int  # ids that had a label
    rows: dict[str, int]  # rows removed, by table
    shared: int
    under_way: tuple[str, ...]  # runs that may hold the contents in staging and write them again
    vacuumed: bool

    @property
    def status(self) -> Status:
        """Partial if the same command has to be issued again."""
        return Status.partial if self.under_way else Status.complete

    @property
    def exit_code(self) -> ExitCode:
        """Complete, or partial if a running job may write the contents again."""
        return ExitCode.partial if self.under_way else ExitCode.complete

    def to_json(self) -> dict[str, Any]:
        """The object `--json` prints."""
        return {**self._asdict(), "under_way": list(self.under_way), "status": self.status.value}


def erase_contents(spark: SparkSession, config: RunConfig, ids: Iterable[str], *, vacuum: bool = False) -> Erasure:
    """Remove content ids from the label tables and what the model said of them. Safe to repeat. Raises TableError.

    What a dead run left staged is committed first and so erased as well. Reasoning belongs to a content, not to an id:
    where other ids have the same content it stays, and is counted. With `vacuum` the files that held the rows go too,
    and with them every older version of those tables; not while a run is under way, whose unfinished files would go.
    """
    tables = Tables.open_existing(spark, config)
    staging = Staging(spark, config.run.staging or tables.beside("_staging"))
    recover(tables, staging, config)
    under_way = _under_way(staging, config)
    named = sorted(set(ids))
    wanted = spark.createDataFrame([[id] for id in named], "content_id STRING")
    labels = tables.read(schema.LABELS)
    found = wanted.join(labels, on="content_id", how="left_semi").count()
    gone, shared = _keys(labels, wanted)
    # Reasoning first: it is found by way of the labels.
    rows = {table.name: _remove(tables, table, gone, "work_key", len(named)) for table in BY_KEY}
    rows |= {table.name: _remove(tables, table, wanted, "content_id", len(named)) for table in BY_ID}
    if vacuum and not under_way:
        with _unchecked(spark):
            for table in (*BY_KEY, *BY_ID):
                spark.sql(f"VACUUM {tables.sql(table)} RETAIN 0 HOURS")
    return Erasure(len(named), found, rows, shared, under_way, vacuum and not under_way)


def _under_way(staging: Staging, config: RunConfig) -> tuple[str, ...]:
    manifests = ((run_id, staging.read(run_id, MANIFEST)) for run_id in staging.names())
    beat = config.run.heartbeat_s
    return tuple(run_id for run_id, said in manifests if said and is_alive(staging, run_id, said, beat))


def _keys(labels: DataFrame, wanted: DataFrame) -> tuple[DataFrame, int]:
    """Work keys only the wanted ids use, and how many other ids share one."""
    keys = labels.select("work_key", "content_id")
    theirs = keys.join(wanted, on="content_id", how="left_semi").select("work_key").distinct()
    others = keys.join(wanted, on="content_id", how="left_anti").join(theirs, on="work_key", how="left_semi")
    shared = others.select("content_id").distinct().count()
    return theirs.join(others, on="work_key", how="left_anti"), shared


def _remove(tables: Tables, table: Table, keys: DataFrame, column: str, ids: int) -> int:
    """Remove rows by key; how many. The commit says that it erased, not whom."""
    spark = tables.spark
    count = tables.read(table).join(keys, on=column, how="left_semi").count()
    if not count:
        return 0
    keys.createOrReplaceTempView("erased_keys")
    for attempt in range(TRIES):
        try:
            with _set(spark, NOTE, f'{{"erased_ids": {ids}}}'):
                # Not DELETE ... WHERE id IN (...): the table's history would keep the ids.
                spark.sql(
                    f"MERGE INTO {tables.sql(table)} t USING erased_keys k ON t.{column} = k.{column} "
                    "WHEN MATCHED THEN DELETE"
                )
            break
        except FAILED as error:
            if attempt + 1 == TRIES or not is_conflict(error):
                raise TableError(f"{tables.path(table)} cannot be written: {failure_cause(error)}") from error
    spark.catalog.dropTempView("erased_keys")
    return count


@contextlib.contextmanager
def _set(spark: SparkSession, key: str, value: str) -> Iterator[None]:
    """A setting of the session for a while."""
    before = spark.conf.get(key, None)
    spark.conf.set(key, value)
    try:
        yield
    finally:
        if before is None:
            spark.conf.unset(key)
        else:
            spark.conf.set(key, before)


def _unchecked(spark: SparkSession) -> contextlib.AbstractContextManager[None]:
    """Let VACUUM remove files younger than a week, which Delta refuses for the sake of readers and writers at work."""
    return _set(spark, CHECK, "false")
