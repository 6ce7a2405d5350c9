"""The label tables of one output: their names, how they are created, read and appended to, and the views over them."""

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from safeguard_spark import run_context, schema, views
from safeguard_spark.analyst_views import DUCKDB, SPARK, analyst_views
from safeguard_spark.errors import TableError
from safeguard_spark.keys import sha256
from safeguard_spark.schema import Column, Table
from safeguard_spark.spark.delta_log import LOG, clear_unfinished, new_folder, refuse_catalog_managed, table_properties
from safeguard_spark.spark.failures import FAILED, retrying
from safeguard_spark.spark.files import Files
from safeguard_spark.spark.log_store import refuse_no_log_store
from safeguard_spark.spark.source import is_path, quoted, table_sql, table_version

PROPERTIES = {
    # Reader version 1: delta-rs, DuckDB and Polars can read the tables. With deletion vectors they could not.
    "delta.minReaderVersion": "1",
    "delta.enableDeletionVectors": "false",
    # Delta refuses time travel beyond deletedFileRetentionDuration, so both are set.
    "delta.logRetentionDuration": "interval 365 days",
    "delta.deletedFileRetentionDuration": "interval 30 days",
}
VIEWED = (schema.LABELS, schema.REVIEW_ITEMS, schema.DECISIONS, schema.RUNS, schema.ACTIVATIONS)
DEFINITION = sha256([[table.ddl, table.checks] for table in schema.TABLES])
CREATE_TRIES = 8  # a folder that holds something else looks, for a moment, like a table that another driver creates


@dataclass
class Tables:
    """The label tables of one output: a folder, or a schema of a catalog."""

    spark: SparkSession
    output: str

    def __post_init__(self) -> None:
        if not self.output:
            raise TableError("No output: give --output DIR or CATALOG.SCHEMA, or output in the configuration.")
        self.in_folder, self._has_all_columns = is_path(self.output), False  # each table, as far as is known
        self.small_tables: dict[str, tuple[Any, list[Row]]] = {}  # see `all_rows`
        if self.in_folder:
            files = Files(self.spark, self.output)
            if files.exists() and not files.is_folder():
                raise TableError(f"--output {self.output} is a file. Name a folder or CATALOG.SCHEMA.")
            self.output = files.plain()

    @classmethod
    def open(cls, spark: SparkSession, output: str | None) -> "Tables":
        """The tables for a program that needs what is in them. Writes nothing. Raises TableError if there are none."""
        tables = cls(spark, output or "")
        if not tables.exists():
            raise TableError(
                f"There are no label tables in {tables.output}. Name the --output of the label job, or label something "
                "first (safeguard label …)."
            )
        return tables

    @classmethod
    def open_or_create(cls, spark: SparkSession, output: str | None) -> "Tables":
        """The tables for the label job, with their views: missing ones are created. Raises TableError, ConfigError."""
        tables = cls(spark, output or "")
        if tables.in_folder:  # a schema's folder is known when its tables are there
            refuse_no_log_store(spark, tables.output)
        tables.create()
        if not tables.in_folder:
            refuse_no_log_store(spark, tables.sibling_folder(schema.LABELS.name))
        return tables

    def path(self, table: Table) -> str:
        """The path or the full name of a table, for people and other programs."""
        return f"{self.output}/{table.name}" if self.in_folder else f"{self.output}.{table.name}"

    def sql(self, table: Table) -> str:
        """A table's name in Spark SQL."""
        return f"delta.{quoted(self.path(table))}" if self.in_folder else table_sql(self.path(table))

    def sibling_folder(self, name: str) -> str:
        """The path of a folder next to the tables' own folders."""
        if self.in_folder:
            return f"{self.output}/{name}"
        row = self.spark.sql(f"DESCRIBE DETAIL {self.sql(schema.LABELS)}").select("location").first()
        assert row is not None  # the table exists
        return f"{row[0].rsplit('/', 1)[0]}/{name}"

    @staticmethod
    def now(after: datetime | None = None) -> datetime:
        """The time that rows are stamped with (UTC). Later than `after`, even if the clock goes back."""
        now = datetime.now(UTC)
        return max(now, after + timedelta(microseconds=1)) if after else now

    def read(self, table: Table, version: int | None = None) -> DataFrame:
        """The rows of a table, now or at a version. Raises TableError if it lacks a column."""
        at = "" if version is None else f" VERSION AS OF {version}"
        return self.spark.sql(f"SELECT {views.select_list(table)} FROM {self._all_columns(table, at)}")

    def _all_columns(self, table: Table, at: str = "") -> str:
        """A table expression with every column of this release. Raises TableError if one cannot be read as null."""
        lacking = [] if self._has_all_columns and not at else self._lacking(table, at)
        if not lacking:
            return f"{self.sql(table)}{at}"
        nulls = ", ".join(f"CAST(NULL AS {column.type}) AS {column.name}" for column in lacking)
        return f"(SELECT *, {nulls} FROM {self.sql(table)}{at})"

    def _lacking(self, table: Table, at: str = "") -> list[Column]:
        """Columns that a table of an earlier release lacks. Raises TableError if it lacks any other."""
        existing = self.spark.sql(f"SELECT * FROM {self.sql(table)}{at}").columns
        lacking = [column for column in table.columns if column.name not in existing]
        missing = [column.name for column in lacking if column.name not in table.added]
        if missing:
            raise TableError(
                f"Table {self.path(table)} has no column {', '.join(missing)}: it was made by another program or "
                "another release. Name another --output."
            )
        return lacking

    def exists(self) -> bool:
        """Whether the tables have been created."""
        try:
            self.spark.sql(f"DESCRIBE DETAIL {self.sql(schema.LABELS)}").first()
        except AnalysisException:
            return False
        return True

    def create(self) -> None:
        """Create missing tables with comments, constraints and properties, and the views. Raises TableError.

        Tables of an earlier release get the columns they lack; no file is rewritten. SQL can name tables in a folder.
        """
        if not self._is_complete():
            self._create_missing()
        if self.in_folder and not run_context.ends_with_command:  # else no SQL follows
            self.create_session_views()

    def _create_missing(self) -> None:
        # All are looked at before any is created: another program's table must not get ours for neighbors.
        missing = [table for table in schema.TABLES if not self._is_created(table)]
        for table in schema.TABLES:
            if table in missing:
                self._create(table)
            else:
                self._add_columns(table)
                self._update_checks(table)
        if self.in_folder:
            files = Files(self.spark, self.output)  # views.sql is written last: it says that all is of this release
            for name, script in (("views_spark.sql", self._spark_script()), ("views.sql", self._duckdb_script())):
                if files.read_text(name) != script:
                    retrying(partial(files.write_text, script, name), f"{files.path(name)} cannot be written")
            return
        for name, query in self._queries().items():
            if self._catalog_view(name) != query:
                self._create_catalog_view(name, query)

    def _create_catalog_view(self, name: str, query: str) -> None:
        if name == "labels_current":  # first its function: the view's text says that both are those of this release
            with contextlib.suppress(AnalysisException):  # this catalog cannot store functions
                function = self._labels_as_of(f"{table_sql(self.output)}.labels_as_of")
                self.spark.sql(f"CREATE OR REPLACE FUNCTION {function}")
        view = f"CREATE OR REPLACE VIEW {table_sql(self.output)}.{name} AS {query}"
        retrying(lambda: self.spark.sql(view), f"View {self.output}.{name} cannot be created")

    def _is_complete(self) -> bool:
        """Whether all tables were made, or brought up to date, by this release: then `views.sql` says so.

        The labels are looked at all the same, because an older version of them may have been restored.
        """
        if not self.in_folder:
            return False
        files = Files(self.spark, self.output)
        if not all(files.exists(table.name, LOG) for table in schema.TABLES) or not self._is_created(schema.LABELS):
            return False
        if self._lacking(schema.LABELS):
            return False
        self._has_all_columns = True  # then it says so with this text
        self._has_all_columns = files.read_text("views.sql") == self._duckdb_script()
        return self._has_all_columns

    def _catalog_view(self, name: str) -> str | None:
        """The text of a view of the catalog, or None if there is none."""
        try:
            rows = self.spark.sql(f"DESCRIBE TABLE EXTENDED {table_sql(self.output)}.{name}")
        except AnalysisException:
            return None
        text = rows.where("col_name = 'View Text'").first()
        return None if text is None else str(text["data_type"])

    def create_session_views(self) -> None:
        """Name the tables, their views and `labels_as_of` in this session. Nothing is written."""
        created = self.created()
        for table in created:
            self.spark.sql(f"CREATE OR REPLACE TEMPORARY VIEW {table.name} AS {self.expression(table)}")
        for name, query in self._queries(created).items():
            self.spark.sql(f"CREATE OR REPLACE TEMPORARY VIEW {name} AS {query}")
        self.spark.sql(f"CREATE OR REPLACE TEMPORARY FUNCTION {self._labels_as_of('labels_as_of')}")

    def create_analyst_views(self) -> None:
        """Name the views for analysts in this session. Nothing is written."""
        with contextlib.suppress(AnalysisException):  # an output of an earlier release lacks a table that they read
            for name, select in self.analyst_views().items():
                self.spark.sql(f"CREATE OR REPLACE TEMPORARY VIEW {name} AS {select}")

    def created(self) -> list[Table]:
        """The tables that are there: an output of an earlier release has fewer until the next label run."""
        return [table for table in schema.TABLES if self._has_all_columns or self._is_created(table)]

    def _is_created(self, table: Table) -> bool:
        """Whether a table is there. Raises TableError if something else is in its place."""
        try:
            self.read(table)
        except FAILED as error:
            refuse_catalog_managed(self.path(table), error)
            if not isinstance(error, AnalysisException):
                raise
            names = Files(self.spark, self.output).names(table.name) if self.in_folder else []
            if names and LOG not in names:
                raise TableError(f"{self.path(table)} is not a Delta table. Name another --output.") from None
            return False
        return True

    def _create(self, table: Table) -> None:
        columns = ", ".join(f"{c.name} {c.type} COMMENT {_quote(c.comment)}" for c in table.columns)
        properties = PROPERTIES | {"delta.dataSkippingStatsColumns": ",".join(table.indexed)}
        properties |= {f"delta.constraints.{name}": check for name, check in table.checks}
        listed = ", ".join(f"{_quote(key)} = {_quote(value)}" for key, value in properties.items())
        statement = (
            f"CREATE TABLE IF NOT EXISTS {self.sql(table)} ({columns}) USING delta "
            f"COMMENT {_quote(table.comment)} TBLPROPERTIES ({listed})"
        )
        may_be_folder = not self.in_folder and ("." not in self.output or Path(self.output).exists())
        hint = f" (for a folder write ./{self.output})" if may_be_folder else ""

        def create() -> None:
            self.spark.sql(statement)
            self._lacking(table)  # refuses a table of another program
            if not self.in_folder:
                table_properties(self.spark, self.path(table), self.sql(table))

        problem = f"Table {self.path(table)} cannot be created{hint}"
        try:
            retrying(create, problem, CREATE_TRIES)
        except TableError:
            folder = self.path(table) if self.in_folder else new_folder(self.spark, table_sql(self.output), table.name)
            if not clear_unfinished(self.spark, folder, in_catalog=not self.in_folder):
                raise
            retrying(create, problem, CREATE_TRIES)

    def _update_checks(self, table: Table) -> None:
        """Let a table of an earlier release take the values that this release has in addition."""

        def update() -> None:
            for name, check in self._other_checks(table).items():
                self.spark.sql(f"ALTER TABLE {self.sql(table)} DROP CONSTRAINT IF EXISTS {name}")
                try:
                    self.spark.sql(f"ALTER TABLE {self.sql(table)} ADD CONSTRAINT {name} CHECK ({check})")
                except AnalysisException:
                    if name in self._other_checks(table):  # else another writer was faster
                        raise

        if table.checks:
            retrying(update, f"The constraints of table {self.path(table)} cannot be changed to those of this release")

    def _other_checks(self, table: Table) -> dict[str, str]:
        """This release's constraints that a table has in another form."""
        properties = table_properties(self.spark, self.path(table), self.sql(table))
        return {
            name: check for name, check in table.checks if properties.get(f"delta.constraints.{name}", check) != check
        }

    def _add_columns(self, table: Table) -> None:
        def add() -> None:
            names = table.names
            columns = [
                f"{c.name} {c.type} COMMENT {_quote(c.comment)} " + (f"AFTER {names[i - 1]}" if i else "FIRST")
                for c in self._lacking(table)
                for i in [names.index(c.name)]
            ]
            if columns:
                try:
                    self.spark.sql(f"ALTER TABLE {self.sql(table)} ADD COLUMNS ({', '.join(columns)})")
                except AnalysisException:
                    if self._lacking(table):  # else another writer was faster
                        raise

        retrying(add, f"Columns of this release cannot be added to table {self.path(table)}")

    @property
    def labels_current(self) -> str:
        """The SELECT behind `labels_current`."""
        return self.labels_as_of(None)

    def labels_as_of(self, moment: str | None) -> str:
        """The SELECT behind `labels_as_of`; `moment` is a timestamp expression, None is now."""
        labels, activations = (self._all_columns(table) for table in (schema.LABELS, schema.ACTIVATIONS))
        return views.labels_current(labels, activations, moment)

    def _labels_as_of(self, name: str) -> str:
        return f"{name}(moment TIMESTAMP) RETURNS TABLE RETURN {self.labels_as_of('labels_as_of.moment')}"

    def analyst_views(self, **changed: str) -> dict[str, str]:
        """The SELECT behind each view for analysts; `changed` are other table expressions, by name."""
        tables = {table.name: self.expression(table) for table in VIEWED}
        return analyst_views({**tables, "labels_current": f"({self.labels_current})", **changed}, SPARK)

    def expression(self, table: Table) -> str:
        """A table as readers see it, as a table expression: a query in brackets."""
        return f"(SELECT {views.select_list(table)} FROM {self._all_columns(table)})"

    def _queries(self, tables: Sequence[Table] = schema.TABLES) -> dict[str, str]:
        """The SELECT behind each view over some of the tables, by the view's name."""
        newest = {
            name: views.newest_documents(table, self.sql(table))
            for name, table in views.NEWEST_DOCUMENTS.items()
            if table in tables
        }
        return newest | {"labels_current": self.labels_current}

    def _spark_script(self) -> str:
        """The views as Spark SQL, for sessions without this package."""
        queries = {**self._queries(), **self.analyst_views(labels_current="labels_current")}
        statements = [f"CREATE OR REPLACE TEMPORARY VIEW {name} AS\n{query}" for name, query in queries.items()]
        statements.append(f"CREATE OR REPLACE TEMPORARY FUNCTION {self._labels_as_of('labels_as_of')}")
        return self._script("views_spark.sql", statements)

    def _duckdb_script(self) -> str:
        """The tables and the views as DuckDB reads them."""
        scans = {table.name: f"delta_scan('{self.path(table)}')" for table in schema.TABLES}
        read = scans["labels"], scans["policy_activations"]
        current, as_of = (views.labels_current(*read, moment) for moment in (None, "moment"))
        queries = {
            **{table.name: f"SELECT {views.select_list(table)} FROM {scans[table.name]}" for table in schema.TABLES},
            **{name: views.newest_documents(t, scans[t.name]) for name, t in views.NEWEST_DOCUMENTS.items()},
            "labels_current": current,
            **analyst_views({name: name for name in (*(table.name for table in VIEWED), "labels_current")}, DUCKDB),
        }
        statements = [
            "INSTALL delta",
            "LOAD delta",
            *(f"CREATE OR REPLACE VIEW {name} AS\n{query}" for name, query in queries.items()),
            f"CREATE OR REPLACE MACRO labels_as_of(moment) AS TABLE\n{as_of}",
        ]
        return self._script("views.sql", statements)

    def _script(self, name: str, statements: Iterable[str]) -> str:
        note = (
            f"-- The tables' definition: {DEFINITION}\n\n"
            "-- In a copy of the tables these statements read the original, until you replace the folder:\n"
            f"-- sed -i 's|{self.output}/|/path/of/the/copy/|g' {name}\n\n"
        )
        return note + "".join(f"{statement};\n\n" for statement in statements)

    def version(self, table: Table) -> int:
        """The newest version of a table."""
        return table_version(self.spark, self.sql(table))

    def append_reasoning(self, rows: DataFrame, run_id: str, chunk: int) -> None:
        """Append a chunk's reasoning once. Blind appends never conflict, so a txnAppId per chunk is enough.

        Rows without outcome, the other calls of second looks, are older than those with one.
        """
        now = self.now()
        other = F.when(F.col("outcome").isNull(), F.lit(now - timedelta(microseconds=1)))
        stamped = rows.withColumn("labelled_at", other.otherwise(F.lit(now)).cast("timestamp"))
        self._append_retrying(stamped.select(*schema.REASONING.names), schema.REASONING, f"{run_id}/{chunk}")

    def append(self, table: Table, rows: Iterable[dict[str, Any]], app_id: str) -> None:
        """Append a few rows once (by `app_id`) to a small table, which gets the columns of this release."""
        self._add_columns(table)
        frame = self.spark.createDataFrame([[row[n] for n in table.names] for row in rows], table.ddl)
        self._append_retrying(frame.coalesce(1), table, app_id)

    def append_frame(self, table: Table, rows: DataFrame, app_id: str) -> None:
        """Append rows once (by `app_id`) to a table that has the columns of this release."""
        self._append_retrying(rows, table, app_id)

    def append_transaction(
        self, table: Table, rows: DataFrame, app_id: str, version: int, user_metadata: str | None = None
    ) -> None:
        """One attempt to append rows as transaction `version` of `app_id`. Delta silently skips a version it has."""
        writer = rows.write.format("delta").mode("append").option("txnAppId", app_id).option("txnVersion", version)
        writer = writer.option("userMetadata", user_metadata) if user_metadata else writer
        if self.in_folder:
            writer.save(self.path(table))
        else:
            writer.saveAsTable(self.sql(table))

    def _append_retrying(self, rows: DataFrame, table: Table, app_id: str) -> None:
        retrying(lambda: self.append_transaction(table, rows, app_id, 1), f"{self.path(table)} cannot be written")


def _quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
