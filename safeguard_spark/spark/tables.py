"""The label tables of one output: their names, how they are created, read and appended to, and the views over them."""

import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

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
    # Reader version 1: delta-rs, DuckDB and Polars can read the tables. With deletion vectors they could not.
    "delta.minReaderVersion": "1",
    "delta.enableDeletionVectors": "false",
    # Delta refuses time travel beyond deletedFileRetentionDuration, so both are set.
    "delta.logRetentionDuration": "interval 365 days",
    "delta.deletedFileRetentionDuration": "interval 30 days",
}
TRIES = 20  # attempts at a commit that loses to other writers


@dataclass
class Tables:
    """The label tables of one output: a folder, or a schema of a catalog."""

    spark: SparkSession
    output: str

    def __post_init__(self) -> None:
        self.in_folder = is_path(self.output)
        if self.in_folder:
            files = Files(self.spark, self.output)
            if files.exists(self.output) and not files.is_folder(self.output):
                raise TableError(f"--output {self.output} is a file. Name a folder or CATALOG.SCHEMA.")
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
                f"There are no label tables in {tables.output}. Name the --output of the label job, or label something "
                "first (safeguard label …)."
            )
        tables.create()
        return tables

    def path(self, table: Table) -> str:
        """The path or the full name of a table, for people and other programs."""
        return f"{self.output}/{table.name}" if self.in_folder else f"{self.output}.{table.name}"

    def sql(self, table: Table) -> str:
        """A table's name in Spark SQL."""
        return f"delta.`{self.path(table)}`" if self.in_folder else self.path(table)

    def sibling_folder(self, name: str) -> str:
        """The path of a folder next to the tables' own folders."""
        if self.in_folder:
            return f"{self.output}/{name}"
        row = self.spark.sql(f"DESCRIBE DETAIL {self.sql(schema.LABELS)}").select("location").first()
        assert row is not None  # the table exists
        return f"{row[0].rsplit('/', 1)[0]}/{name}"

    @staticmethod
    def now() -> datetime:
        """The time that rows are stamped with (UTC)."""
        return datetime.now(UTC)

    def read(self, table: Table, version: int | None = None) -> DataFrame:
        """The rows of a table, now or at a version."""
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
        """Create missing tables with comments, constraints and properties, and the views. Raises TableError."""
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
            with contextlib.suppress(AnalysisException):  # this catalog cannot store functions
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
                # If two drivers create the table at once, one loses and finds the table on its next attempt.
                if attempt + 1 == TRIES or not is_conflict(error):
                    folder = "" if self.in_folder or "." in self.output else f" For a folder write ./{self.output}."
                    message = f"Table {self.path(table)} cannot be created: {failure_cause(error)}{folder}"
                    raise TableError(message) from error
                time.sleep(0.2 * (attempt + 1))
        missing = set(table.names) - set(self.read(table).columns)
        if missing and missing <= set(table.later):
            self._add_columns(table, missing)
        elif missing:
            names = ", ".join(sorted(missing))
            raise TableError(
                f"Table {self.path(table)} has no column {names}: it was made by another program or an older release. "
                "Name another --output."
            )

    def _add_columns(self, table: Table, missing: set[str]) -> None:
        """Add the columns that a table of an older release does not have."""
        added = [column for column in table.columns if column.name in missing]
        columns = ", ".join(f"{c.name} {c.type} COMMENT {_quote(c.comment)}" for c in added)
        try:
            self.spark.sql(f"ALTER TABLE {self.sql(table)} ADD COLUMNS ({columns})")
        except FAILED as error:
            # Another driver may have added them in the meantime.
            if set(table.names) - set(self.read(table).columns):
                raise TableError(f"Table {self.path(table)} cannot be extended: {failure_cause(error)}") from error

    def _labels_as_of(self, name: str) -> str:
        select = schema.labels_as_of(self.sql(schema.LABELS), self.sql(schema.ACTIVATIONS), "labels_as_of.moment")
        return f"{name}(moment TIMESTAMP) RETURNS TABLE RETURN {select}"

    def _views(self) -> str:
        spark = schema.labels_current(self.sql(schema.LABELS), self.sql(schema.ACTIVATIONS))
        scan = {table.name: f"delta_scan('{self.path(table)}')" for table in schema.TABLES}
        current = schema.labels_current(scan["labels"], scan["policy_activations"])
        as_of = schema.labels_as_of(scan["labels"], scan["policy_activations"], "moment")
        duckdb = (
            f"CREATE OR REPLACE VIEW labels_current AS\n{current};\n"
            f"CREATE OR REPLACE MACRO labels_as_of(moment) AS TABLE\n{as_of};"
        )
        return (
            f"-- Spark\nCREATE OR REPLACE TEMPORARY VIEW labels_current AS\n{spark};\n\n"
            f"CREATE OR REPLACE TEMPORARY FUNCTION {self._labels_as_of('labels_as_of')};\n\n"
            "-- DuckDB (INSTALL delta; LOAD delta;)\n" + "".join(f"-- {line}\n" for line in duckdb.splitlines())
        )

    def version(self, table: Table) -> int:
        """The newest version of a table."""
        row = self.spark.sql(f"DESCRIBE HISTORY {self.sql(table)} LIMIT 1").select("version").first()
        return int(row[0]) if row else 0

    def append_reasoning(self, rows: DataFrame, run_id: str, chunk: int) -> None:
        """Append a chunk's reasoning once. Blind appends never conflict, so a txnAppId per chunk is enough."""
        stamped = rows.withColumn("labelled_at", F.lit(self.now()).cast("timestamp"))
        self._append_retrying(stamped.select(*schema.REASONING.names), schema.REASONING, f"{run_id}/{chunk}")

    def append(self, table: Table, rows: Iterable[dict[str, Any]], app_id: str) -> None:
        """Append a few rows once (by `app_id`) to a small table."""
        frame = self.spark.createDataFrame([[row[n] for n in table.names] for row in rows], table.ddl)
        self._append_retrying(frame.coalesce(1), table, app_id)

    def append_transaction(
        self, table: Table, rows: DataFrame, app_id: str, version: int, user_metadata: str | None = None
    ) -> None:
        """One attempt to append rows as transaction `version` of `app_id`. Delta silently skips a version it has."""
        writer = rows.write.format("delta").mode("append").option("txnAppId", app_id).option("txnVersion", version)
        writer = writer.option("userMetadata", user_metadata) if user_metadata else writer
        if self.in_folder:
            writer.save(self.path(table))
        else:
            writer.saveAsTable(self.path(table))

    def _append_retrying(self, rows: DataFrame, table: Table, app_id: str) -> None:
        for attempt in range(TRIES):
            try:
                self.append_transaction(table, rows, app_id, 1)
                return
            except FAILED as error:
                if attempt + 1 == TRIES or not is_conflict(error):
                    raise TableError(f"{self.path(table)} cannot be written: {failure_cause(error)}") from error
                time.sleep(0.1 * attempt)


def _quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
