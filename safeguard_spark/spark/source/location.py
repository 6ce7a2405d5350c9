"""Location: a path, a table's name or a view, opened as a frame."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import NamedTuple

from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import DataFrame, SparkSession

from safeguard_spark.config.model import SourceConfig
from safeguard_spark.errors import SourceError
from safeguard_spark.spark.failures import FAILED, first_sentence
from safeguard_spark.spark.files import Files
from safeguard_spark.spark.source import formats
from safeguard_spark.spark.source.columns import quoted
from safeguard_spark.spark.source.parquet import read_parquet
from safeguard_spark.spark.table_log import newest_point
from safeguard_spark.spark.unreadable import readable

PART = r"(?:[\w-]+|`(?:[^`]|``)+`)"
TABLE = re.compile(rf"{PART}(?:\.{PART}){{0,2}}")
TIME_TRAVEL = re.compile(r"(.+?)(?:\s+(?:FOR\s+)?(?:SYSTEM_)?VERSION\s+AS\s+OF\s+(\d+)|@v(\d+))\s*", re.IGNORECASE)
QUERY = re.compile(r"\s*\(?\s*(?:select|with|from|values)\s", re.IGNORECASE)
PARTITION_TYPES = "spark.sql.sources.partitionColumnTypeInference.enabled"


class Snapshot(NamedTuple):
    """A table as it is read: its name, its rows, its version if it is a Delta table, and the folder of its files.

    `is_parquet`: Parquet files whose columns may differ.
    """

    name: str
    frame: DataFrame
    version: int | None
    folder: str | None = None
    is_parquet: bool = False


def is_path(location: str) -> bool:
    """Whether a location is a path rather than the name of a table."""
    return not TABLE.fullmatch(location) or location.endswith(tuple(f".{ending}" for ending in formats.ENDINGS))


def table_sql(name: str) -> str:
    """A table's or schema's name in SQL, with every part in backticks, so that a hyphen is part of it."""
    return ".".join(part if part.startswith("`") else quoted(part) for part in re.findall(PART, name))


def source_sql(config: SourceConfig, name: str) -> str:
    """The name in SQL of a source that is a Delta table, from its name for people."""
    return f"delta.{quoted(name)}" if is_path(str(config.location)) else table_sql(name)


def read_snapshot(spark: SparkSession, config: SourceConfig, version: int | None = None) -> Snapshot:
    """Read a table by path or name, a Delta table at a version (the newest by default). Raises SourceError."""
    location = str(config.location)
    version = config.version if version is None else version
    with readable(f"Source {location}"):
        return _read_path(spark, config, version) if is_path(location) else _read_table(spark, config, version)


def _read_table(spark: SparkSession, config: SourceConfig, version: int | None) -> Snapshot:
    name, table = str(config.location), table_sql(str(config.location))
    if config.format or config.options:
        raise SourceError(f"source.format and source.options are for paths, and {name} is a table's name. Delete them.")
    try:
        frame = spark.table(table)
    except (AnalysisException, ParseException) as error:
        raise SourceError(
            f"Source {name} cannot be read: {first_sentence(error)} For a folder write ./{name}."
        ) from error
    try:
        detail = spark.sql(f"DESCRIBE DETAIL {table}").select("format", "location").first()
    except AnalysisException:  # a view
        detail = None
    if detail is None or detail["format"] != "delta":
        _refuse_version(name, version)
        return Snapshot(name, frame, None, detail["location"] if detail else None)
    version = table_version(spark, table) if version is None else version
    return Snapshot(name, spark.sql(f"SELECT * FROM {table} VERSION AS OF {version}"), version, detail["location"])


def _read_path(spark: SparkSession, config: SourceConfig, version: int | None) -> Snapshot:
    location = str(config.location)
    if QUERY.match(location):
        raise SourceError("A query is not a source. Create a view of it (CREATE VIEW …) and name the view.")
    files = Files(spark, location)
    if not files.exists():
        raise SourceError(_missing(location))
    path = files.qualified()
    if files.exists("_delta_log"):
        if config.format not in (None, "delta"):
            raise SourceError(f"Source {location} is a Delta table. Delete source.format={config.format}.")
        version = table_version(spark, f"delta.{quoted(path)}") if version is None else version
        reader = spark.read.format("delta").options(**config.options).option("versionAsOf", version)
        return Snapshot(path, reader.load(path), version, path)
    if table := _table_around(spark, path):
        raise SourceError(
            f"Source {location} is part of the Delta table {table}, and may hold rows that were deleted there. Name "
            "the table, or a view that selects rows of it."
        )
    if config.format == "delta":
        raise SourceError(f"Source {location} is not a Delta table: it has no _delta_log.")
    _refuse_version(location, version)
    return _read_files(spark, config, files, path)


def _read_files(spark: SparkSession, config: SourceConfig, files: Files, path: str) -> Snapshot:
    location = str(config.location)
    settings = {name.lower(): value for name, value in config.options.items()}  # as Spark reads their names
    entries = _data_files(files, location, settings.get("recursivefilelookup", "").lower() == "true")
    if not entries:
        raise SourceError(
            f"Source {location} holds no data files. If it should be an empty table, write it with its columns (Delta, "
            "or one Parquet file without rows)."
        )
    pattern = settings.get("pathglobfilter", "*")
    entries = [entry for entry in entries if fnmatch(PurePosixPath(entry.name).name, pattern)] or entries
    file_format = config.format or formats.format_of(location, entries)
    options = {**formats.options(file_format, entries[0]), **config.options}
    if file_format == "json":
        options = {"multiLine": _is_one_value(files, entries, settings.get("multiline"), location), **options}
    reader = spark.read.format(file_format).options(**options).option("__globPaths__", "false")
    is_parquet = file_format == "parquet"
    with _partition_values_as_text(spark):
        frame = read_parquet(spark, reader, path) if is_parquet else reader.load(path)
    return Snapshot(path, frame, None, path, is_parquet)


def _is_one_value(files: Files, entries: list[formats.Entry], setting: str | None, location: str) -> str:
    """Spark's option `multiLine`: `true` if JSON files are arrays. Raises SourceError if objects would be left out."""

    def starts_with(bracket: str, entry: formats.Entry) -> bool:
        return files.head(*([entry.name] if files.is_folder() else [])).lstrip("\ufeff \t\r\n").startswith(bracket)

    is_one_value = starts_with("[", entries[0]) if setting is None else setting.lower() == "true"
    if is_one_value and any(starts_with("{", entry) for entry in entries):
        raise SourceError(
            f"Source {location} has JSON objects outside of an array: with multiLine Spark would read the first of "
            "each file alone. Delete source.options.multiLine, and write one object a line in every file."
        )
    return str(is_one_value).lower()


def _data_files(files: Files, location: str, recursive: bool, *folder: str) -> list[formats.Entry]:
    """The files of a folder, or of the first folder in it that has some; a file is itself. Raises SourceError."""
    if not files.is_folder():
        return [formats.Entry(PurePosixPath(location).name, is_folder=False)]
    entries = [formats.Entry(*entry) for entry in files.entries(*folder)]
    others = [entry.name for entry in entries if entry.is_folder and not (entry.is_partition or entry.is_hidden)]
    tables = [name for name in others if files.exists(*folder, name, "_delta_log")]
    if tables:
        raise SourceError(
            f"Source {location} is a folder of Delta tables ({', '.join(tables[:5])}). Name one: "
            f"{'/'.join([location.rstrip('/'), *folder, tables[0]])}."
        )
    found = formats.files_of(location, entries, recursive)
    if found:
        return [entry._replace(name="/".join([*folder, entry.name])) for entry in found]
    folders = [entry.name for entry in entries if entry.is_partition] or (others if recursive else [])
    in_folders = (_data_files(files, location, recursive, *folder, name) for name in folders)
    return next(filter(None, in_folders), [])


@contextmanager
def _partition_values_as_text(spark: SparkSession) -> Iterator[None]:
    """Read partition values as they are written: as numbers `id=007` and `id=07` would be the same."""
    before = spark.conf.get(PARTITION_TYPES)
    spark.conf.set(PARTITION_TYPES, "false")
    try:
        yield
    finally:
        spark.conf.set(PARTITION_TYPES, str(before))


def _missing(location: str) -> str:
    if match := TIME_TRAVEL.fullmatch(location):
        version = match[2] or match[3]
        return f"Write the version of a Delta table as a setting: --source {match[1]} --set source.version={version}."
    if re.search(r"\sAS\s+OF\s", location, re.IGNORECASE):
        return (
            f"{location} is not a location. Name the table, and its version with --set source.version=N (DESCRIBE "
            "HISTORY shows the version of a time)."
        )
    if re.search(r"[*?{}\[\]]", location):
        return (
            f"Source {location} does not exist, and a pattern is not a source. Name the folder, and choose files with "
            "--set source.options.pathGlobFilter='PATTERN'."
        )
    table = f" For the table write {table_sql(location)}." if TABLE.fullmatch(location) else ""
    return f"Source {location} does not exist.{table}"


def _table_around(spark: SparkSession, path: str) -> str | None:
    """The Delta table that a file or folder is part of, or None."""
    scheme, colon, rest = path.rpartition(":") if "://" not in path else path.partition("://")
    parents = [str(parent) for parent in PurePosixPath(rest).parents]
    folders = [f"{scheme}{colon}{parent}" for parent in parents if parent not in (".", "/")]
    for folder in folders:
        with suppress(*FAILED):  # no right to look there
            if Files(spark, folder).exists("_delta_log"):
                return folder
    return None


def _refuse_version(name: str, version: int | None) -> None:
    if version is not None:
        raise SourceError(f"source.version={version}: {name} is not a Delta table and has no versions. Delete it.")


def table_version(spark: SparkSession, table: str) -> int:
    """The newest version of a Delta table, by its name in SQL."""
    return newest_point(spark, table).version
