"""The tables: create them once, append a chunk exactly once.

A commit to `labels` is a compare-and-swap. Its txnAppId is one for the table and its txnVersion the next of a sequence
kept in the commits' userMetadata, so of two drivers that commit at once Delta lets one through; the other looks again
at what has been added since, and tries the next number. With one txnAppId per chunk a retry would be safe as well, but
two runs could append the same rows.
"""

import contextlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import TableError
from safeguard_spark.schema import Table
from safeguard_spark.spark.failures import FAILED, failure_cause, is_conflict
from safeguard_spark.spark.files import Files
from safeguard_spark.spark.source import is_path

PROPERTIES = {
    # Reader version 1: delta-rs, DuckDB and Polars read the tables. Deletion vectors would shut them out.
    "delta.minReaderVersion": "1",
    "delta.enableDeletionVectors": "false",
    # Time travel beyond deletedFileRetentionDuration is refused, so both are set.
    "delta.logRetentionDuration": "interval 365 days",
    "delta.deletedFileRetentionDuration": "interval 30 days",
}
TRIES = 20


class Commit(NamedTuple):
    """A commit of ours to `labels`: where it stands in the sequence, who made it, when."""

    version: int
    seq: int
    run_id: str
    chunk: int
    at: datetime


@dataclass
class Tables:
    """The label tables of one output: a folder, or a schema of a catalogue."""

    spark: SparkSession
    output: str

    def __post_init__(self) -> None:
        self.in_folder = is_path(self.output)
        if self.in_folder:
            files = Files(self.spark, self.output)
            if files.exists(self.output) and not files.is_folder(self.output):
                raise TableError(f"--output {self.output} is a file; name a folder or CATALOG.SCHEMA.")
            self.output = files.plain(self.output)

    @classmethod
    def open(cls, spark: SparkSession, config: RunConfig) -> "Tables":
        """The label tables a configuration names, which need not exist yet. Raises TableError."""
        if not config.output:
            raise TableError("No output: give --output DIR or CATALOG.SCHEMA, or output in the configuration.")
        return cls(spark, config.output)

    @classmethod
    def open_existing(cls, spark: SparkSession, config: RunConfig) -> "Tables":
        """The label tables a configuration names, which must exist. Raises TableError."""
        tables = cls.open(spark, config)
        if not tables.exists():
            raise TableError(
                f"There are no label tables in {tables.output}: name the --output of the label job, or label something "
                "first (safeguard label …)."
            )
        tables.create()
        return tables

    def path(self, table: Table) -> str:
        """Where a table is, for people and other programs."""
        return f"{self.output}/{table.name}" if self.in_folder else f"{self.output}.{table.name}"

    def sql(self, table: Table) -> str:
        """A table as Spark SQL names it."""
        return f"delta.`{self.path(table)}`" if self.in_folder else self.path(table)

    def beside(self, name: str) -> str:
        """A folder beside the tables' own."""
        if self.in_folder:
            return f"{self.output}/{name}"
        row = self.spark.sql(f"DESCRIBE DETAIL {self.sql(schema.LABELS)}").select("location").first()
        assert row is not None  # the table was created before
        return f"{row[0].rsplit('/', 1)[0]}/{name}"

    @staticmethod
    def now() -> datetime:
        """The time rows are stamped with (UTC)."""
        return datetime.now(UTC)

    def read(self, table: Table, version: int | None = None) -> DataFrame:
        """A table, now or at a version."""
        if version is None:
            return self.spark.sql(f"SELECT * FROM {self.sql(table)}")
        return self.spark.sql(f"SELECT * FROM {self.sql(table)} VERSION AS OF {version}")

    def exists(self) -> bool:
        """Whether the tables have been created."""
        try:
            self.spark.sql(f"DESCRIBE DETAIL {self.sql(schema.LABELS)}").first()
        except AnalysisException:
            return False
        return True

    def create(self) -> None:
        """Create what is missing, with comments, constraints and properties, and the view. Raises TableError."""
        for table in schema.TABLES:
            self._create(table)
        if self.in_folder:
            self.create_session_views()
            files, views = Files(self.spark, self.output), f"{self.output}/views.sql"
            if files.read(views) != self._views():
                files.write(views, self._views())
        else:
            select = schema.labels_current(self.sql(schema.LABELS), self.sql(schema.ACTIVATIONS))
            self.spark.sql(f"CREATE VIEW IF NOT EXISTS {self.output}.labels_current AS {select}")
            with contextlib.suppress(AnalysisException):  # a catalogue that holds no functions; a session's own will do
                self.spark.sql(f"CREATE FUNCTION IF NOT EXISTS {self._labels_as_of(f'{self.output}.labels_as_of')}")

    def create_session_views(self) -> None:
        """Name the tables, `labels_current` and `labels_as_of` in this session. Nothing is written."""
        select = schema.labels_current(self.sql(schema.LABELS), self.sql(schema.ACTIVATIONS))
        self.spark.sql(f"CREATE OR REPLACE TEMPORARY VIEW labels_current AS {select}")
        self.spark.sql(f"CREATE OR REPLACE TEMPORARY FUNCTION {self._labels_as_of('labels_as_of')}")
        for table in schema.TABLES:
            self.spark.sql(f"CREATE OR REPLACE TEMPORARY VIEW {table.name} AS SELECT * FROM {self.sql(table)}")

    def _create(self, table: Table) -> None:
        columns = ", ".join(f"{c.name} {c.type} COMMENT {_quote(c.comment)}" for c in table.columns)
        properties = PROPERTIES | {"delta.dataSkippingStatsColumns": ",".join(table.indexed)}
        properties |= {f"delta.constraints.{name}": check for name, check in table.checks}
        listed = ", ".join(f"{_quote(key)} = {_quote(value)}" for key, value in properties.items())
        statement = (
            f"CREATE TABLE IF NOT EXISTS {self.sql(table)} ({columns}) USING delta "
            f"COMMENT {_quote(table.comment)} TBLPROPERTIES ({listed})"
        )
        for attempt in range(TRIES):
            try:
                self.spark.sql(statement)
                break
            except FAILED as error:
                # Two drivers that create at once: one wins, the other finds the table there.
                if attempt + 1 == TRIES or not is_conflict(error):
                    folder = "" if self.in_folder or "." in self.output else f" For a folder write ./{self.output}."
                    said = f"Table {self.path(table)} cannot be created: {failure_cause(error)}{folder}"
                    raise TableError(said) from error
                time.sleep(0.2 * (attempt + 1))
        missing = set(table.names) - set(self.read(table).columns)
        if missing and missing <= set(table.later):
            self._add(table, missing)
        elif missing:
            raise TableError(
                f"Table {self.path(table)} has no column {', '.join(sorted(missing))}: it is not one of ours, or from "
                "an older release. Name another --output."
            )

    def _add(self, table: Table, missing: set[str]) -> None:
        """Give a table of an older release the columns it lacks."""
        lacking = [column for column in table.columns if column.name in missing]
        columns = ", ".join(f"{c.name} {c.type} COMMENT {_quote(c.comment)}" for c in lacking)
        try:
            self.spark.sql(f"ALTER TABLE {self.sql(table)} ADD COLUMNS ({columns})")
        except FAILED as error:
            # Another driver may have added them meanwhile.
            if set(table.names) - set(self.read(table).columns):
                raise TableError(f"Table {self.path(table)} cannot be extended: {failure_cause(error)}") from error

    def _labels_as_of(self, name: str) -> str:
        select = schema.labels_as_of(self.sql(schema.LABELS), self.sql(schema.ACTIVATIONS), "labels_as_of.moment")
        return f"{name}(moment TIMESTAMP) RETURNS TABLE RETURN {select}"

    def _views(self) -> str:
        spark = schema.labels_current(self.sql(schema.LABELS), self.sql(schema.ACTIVATIONS))
        scan = {table.name: f"delta_scan('{self.path(table)}')" for table in schema.TABLES}
        current = schema.labels_current(scan["labels"], scan["policy_activations"])
        past = schema.labels_as_of(scan["labels"], scan["policy_activations"], "moment")
        duck = (
            f"CREATE OR REPLACE VIEW labels_current AS\n{current};\n"
            f"CREATE OR REPLACE MACRO labels_as_of(moment) AS TABLE\n{past};"
        )
        return (
            f"-- Spark\nCREATE OR REPLACE TEMPORARY VIEW labels_current AS\n{spark};\n\n"
            f"CREATE OR REPLACE TEMPORARY FUNCTION {self._labels_as_of('labels_as_of')};\n\n"
            "-- DuckDB (INSTALL delta; LOAD delta;)\n" + "".join(f"-- {line}\n" for line in duck.splitlines())
        )

    def version(self, table: Table) -> int:
        """The newest version of a table."""
        row = self.spark.sql(f"DESCRIBE HISTORY {self.sql(table)} LIMIT 1").select("version").first()
        return int(row[0]) if row else 0

    def commits(self, after: int) -> tuple[int, list[Commit]]:
        """The newest version of `labels`, and our commits to it after version `after`, oldest first."""
        newest = self.version(schema.LABELS)
        if newest <= after:
            return newest, []
        history = self.spark.sql(f"DESCRIBE HISTORY {self.sql(schema.LABELS)} LIMIT {newest - after}")
        rows = history.select("version", "userMetadata").where(F.col("version") > after).collect()
        found = [_commit(int(row[0]), row[1]) for row in rows]
        # What landed between the two statements belongs to the next look.
        return newest, sorted(c for c in found if c is not None and c.version <= newest)

    def last_commit(self) -> Commit | None:
        """Our newest commit to `labels`. Looks back further and further."""
        newest, step = self.version(schema.LABELS), 20
        while True:
            found = self.commits(max(-1, newest - step))[1]
            if found:
                return found[-1]
            if step > newest:
                return None
            step *= 10

    def is_committed(self, run_id: str, chunk: int, after: int) -> bool:
        """Whether a chunk's labels were appended after version `after`."""
        return any(c.run_id == run_id and c.chunk == chunk for c in self.commits(after)[1])

    def append_labels(self, rows: DataFrame, run_id: str, chunk: int, planned_on: int) -> bool:
        """Append the rows of a chunk to `labels` once, whoever else commits. False if they were there already.

        `rows` is read again at every try; it must come from staged files, never from the model. Rows another run has
        committed since version `planned_on` are left out. Raises TableError after 20 lost races.
        """
        for attempt in range(TRIES):
            newest, since = self.commits(planned_on)
            if any(c.run_id == run_id and c.chunk == chunk for c in since):
                return False
            last = since[-1] if since else self.last_commit()
            seq = last.seq + 1 if last else 1
            others = sorted({c.run_id for c in since if c.run_id != run_id})
            at = _not_before(last)
            fresh = self._without(rows, others, newest) if others else rows
            stamped = fresh.withColumn("labelled_at", F.lit(at).cast("timestamp")).select(*schema.LABELS.names)
            mark = json.dumps({"run_id": run_id, "chunk": chunk, "seq": seq, "at": at.isoformat()})
            try:
                self._append(stamped, schema.LABELS, "safeguard-labels", seq, mark)
            except FAILED as error:
                if not is_conflict(error):
                    where = self.path(schema.LABELS)
                    raise TableError(f"Labels cannot be written to {where}: {failure_cause(error)}") from error
            # Delta skips a used number without a word, so look.
            if any(c.run_id == run_id and c.chunk == chunk for c in self.commits(newest)[1]):
                return True
            time.sleep(0.1 * attempt)
        raise TableError(f"{TRIES} commits to {self.path(schema.LABELS)} in a row lost to others; run fewer at once.")

    def append_reasoning(self, rows: DataFrame, run_id: str, chunk: int) -> None:
        """Append a chunk's reasoning once. Blind appends never conflict, so its own txnAppId is enough."""
        at = F.lit(datetime.now(UTC)).cast("timestamp")
        stamped = rows.withColumn("labelled_at", at).select(*schema.REASONING.names)
        self._write(stamped, schema.REASONING, f"{run_id}/{chunk}", 1, "")

    def append(self, table: Table, rows: Iterable[dict[str, Any]], app_id: str) -> None:
        """Append a few rows once (by `app_id`) to a small table."""
        frame = self.spark.createDataFrame([[row[n] for n in table.names] for row in rows], table.ddl)
        self._write(frame.coalesce(1), table, app_id, 1, "")

    def _write(self, rows: DataFrame, table: Table, app_id: str, version: int, mark: str) -> None:
        for attempt in range(TRIES):
            try:
                self._append(rows, table, app_id, version, mark)
                return
            except FAILED as error:
                if attempt + 1 == TRIES or not is_conflict(error):
                    raise TableError(f"{self.path(table)} cannot be written: {failure_cause(error)}") from error
                time.sleep(0.1 * attempt)

    def _append(self, rows: DataFrame, table: Table, app_id: str, version: int, mark: str) -> None:
        writer = rows.write.format("delta").mode("append").option("txnAppId", app_id).option("txnVersion", version)
        writer = writer.option("userMetadata", mark) if mark else writer
        if self.in_folder:
            writer.save(self.path(table))
        else:
            writer.saveAsTable(self.path(table))

    def _without(self, rows: DataFrame, run_ids: list[str], version: int) -> DataFrame:
        """Rows whose content id and work key none of these runs has labelled up to `version`."""
        theirs = self.read(schema.LABELS, version).where(F.col("run_id").isin(run_ids))
        theirs = theirs.select("content_id", "work_key", "policy", "policy_version")
        return rows.join(theirs, on=["content_id", "work_key", "policy", "policy_version"], how="left_anti")


def _not_before(last: Commit | None) -> datetime:
    """Now, but after our last commit: a clock that jumps back must not make a newer label look older."""
    now = datetime.now(UTC)
    return max(now, last.at + timedelta(microseconds=1)) if last else now


def _commit(version: int, mark: str | None) -> Commit | None:
    """A commit of ours from a commit's userMetadata, or None for anyone else's (OPTIMIZE, VACUUM, …)."""
    try:
        said = json.loads(mark or "")
        return Commit(version, int(said["seq"]), said["run_id"], int(said["chunk"]), datetime.fromisoformat(said["at"]))
    except (ValueError, KeyError, TypeError):
        return None


def _quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
