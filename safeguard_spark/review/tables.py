"""The label tables as the console reads them: through delta-rs, without Spark."""

import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, QueryBuilder, Transaction, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError

from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError, TableError
from safeguard_spark.schema import Table

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TYPES = {
    "STRING": pa.string(),
    "BOOLEAN": pa.bool_(),
    "INT": pa.int32(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "TIMESTAMP": pa.timestamp("us", tz="UTC"),
    "ARRAY<STRING>": pa.list_(pa.string()),
}


def arrow_schema(table: Table) -> pa.Schema:
    """The columns of a table, with their comments."""
    fields = [
        pa.field(column.name, TYPES[column.type], metadata={"comment": column.comment}) for column in table.columns
    ]
    return pa.schema(fields)


class LabelTables:
    """The tables of an output that is a folder, on this machine or in an object store."""

    def __init__(self, output: str | None) -> None:
        """Nothing is read. Raises ConfigError for a catalog's schema, which only Spark can find, and for no folder."""
        if not output:
            raise ConfigError("No output: give the folder of the label tables as output in the configuration.")
        if "/" not in output and not Path(output).is_dir():
            raise ConfigError(
                f"output {output} is no folder here. The console reads tables in a folder (one in the current folder "
                "is ./name) or at a URL such as s3://bucket/tables, without Spark or a catalog."
            )
        self.output = output.rstrip("/").removeprefix("file://")
        if self.local is not None and not self.local.is_dir():
            raise ConfigError(f"output {output} is no folder. Name the output of the label job.")

    @property
    def local(self) -> Path | None:
        """The folder, if it is on this machine."""
        return None if "://" in self.output else Path(self.output)

    def path(self, table: Table) -> str:
        """The path or URL of a table."""
        return f"{self.output}/{table.name}"

    def open(self, table: Table) -> DeltaTable | None:
        """A table at its newest version; None if there is none. Raises TableError."""
        try:
            return DeltaTable(self.path(table))
        except TableNotFoundError:
            return None
        except (DeltaError, OSError) as error:
            raise TableError(f"Table {self.path(table)} cannot be read ({type(error).__name__}).") from error

    def create(self, table: Table) -> DeltaTable:
        """A table, created with the columns and constraints that Spark gives it if there is none. Raises TableError."""
        if existing := self.open(table):
            return existing
        try:
            created = DeltaTable.create(
                self.path(table), arrow_schema(table), mode="ignore", name=table.name, description=table.comment,
                # An erasure does not reach what the log says of a column.
                configuration={"delta.dataSkippingStatsColumns": ",".join(table.indexed)},
            )  # fmt: skip
            if table.checks:
                created.alter.add_constraint(dict(table.checks))
        except (DeltaError, OSError) as error:
            raise TableError(
                f"Table {self.path(table)} cannot be created ({type(error).__name__}). Check that this machine may "
                f"write to {self.output}."
            ) from error
        return created

    def append(
        self, table: Table, rows: Iterable[Mapping[str, Any]], transaction: tuple[str, int] | None = None
    ) -> None:
        """Append rows in one commit, which also records the version of an application's Delta transaction."""
        data = pa.Table.from_pylist([dict(row) for row in rows], arrow_schema(table))
        properties = CommitProperties(app_transactions=[Transaction(*transaction)]) if transaction else None
        write_deltalake(self.path(table), data, mode="append", commit_properties=properties)

    def replace(self, table: Table, rows: Iterable[Mapping[str, Any]]) -> None:
        """Replace the rows of a table, which is created if there is none. Raises TableError."""
        data = pa.Table.from_pylist([dict(row) for row in rows], arrow_schema(table))
        try:
            self.create(table)
            write_deltalake(self.path(table), data, mode="overwrite")
        except (DeltaError, OSError) as error:
            raise TableError(f"Table {self.path(table)} cannot be written ({type(error).__name__}).") from error


def select(table: DeltaTable, columns: Iterable[str] = (), where: str = "") -> pa.Table:
    """Rows of a table, by default all of them and every column; `where` is a condition as SQL.

    Not by `to_pyarrow_table`, which imports pandas where it is installed: half a second before the first page.
    """
    selected = ", ".join(f'"{column}"' for column in columns) or "*"
    query = f"SELECT {selected} FROM rows{f' WHERE {where}' if where else ''}"
    rows = pa.RecordBatchReader.from_stream(QueryBuilder().register("rows", table).execute(query)).read_all()
    return rows.cast(pa.schema([field.with_type(_plain(field.type)) for field in rows.schema]))


def to_rows(table: pa.Table) -> list[dict[str, Any]]:
    """The rows of a table; times are those of UTC. Not by `to_pylist` alone, which imports pandas for a time."""
    times = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
    numbers = [field.with_type(pa.int64()) if field.name in times else field for field in table.schema]
    rows: list[dict[str, Any]] = table.cast(pa.schema(numbers)).to_pylist()
    for row in rows:
        row |= {name: EPOCH + timedelta(microseconds=row[name]) for name in times if row[name] is not None}
    return rows


def _plain(type: pa.DataType) -> pa.DataType:
    """The type with texts as every program reads them: the query's are views."""
    if pa.types.is_list(type):
        return pa.list_(_plain(type.value_type))
    return pa.string() if pa.types.is_string_view(type) else type


def console_folder(config: RunConfig, tables: LabelTables) -> Path:
    """The folder of a console: leases, journal, key, exports. Raises ConfigError if it has to be named."""
    if config.review.folder:
        return Path(config.review.folder)
    if tables.local is None:
        raise ConfigError(
            f"The tables are at {tables.output}, not in a local folder. Name a folder of this machine as review.folder."
        )
    return tables.local / "_review"


def folder_error(folder: Path, error: OSError) -> ConfigError:
    """What to say where the console's folder cannot be written to."""
    cause = os.strerror(error.errno) if error.errno else type(error).__name__
    return ConfigError(
        f"The console cannot write to {folder} ({cause}). Name a folder of this machine that it may write to as "
        "review.folder."
    )
