"""Listings: the files of a Parquet source, and which of them are new or changed since an earlier listing."""

import re
from collections.abc import Mapping

from safeguard_spark.spark.source.changes import MAX_FILES
from safeguard_spark.spark.source.contents import Changes, SourceTable
from safeguard_spark.spark.table_log import file_index

STATUS = re.compile(r"path=(.*?); isDirectory=false; length=(\d+);.*?modification_time=(\d+);")


def list_files(source: SourceTable) -> dict[str, str] | None:
    """The files of a Parquet source as Spark listed them, each with its size and time of change.

    None if their file system describes them in another way.
    """
    listed = file_index(source.frame).allFiles()
    files = {path: f"{size} {changed}" for path, size, changed in STATUS.findall(str(listed.mkString("\n")))}
    return files if len(files) == listed.size() else None


def changes_by_listing(source: SourceTable, before: Mapping[str, str], now: Mapping[str, str]) -> Changes | str:
    """The rows of the files that are not in an earlier listing or have changed, or why all rows have to be read."""
    paths = [path for path, status in now.items() if before.get(path) != status]
    if len(paths) > MAX_FILES:
        return f"more than {MAX_FILES:,} files of the source were added"
    if not paths:
        none = source.frame.limit(0)
        return Changes(source.cells_of(none), 0, 0, frame=none)
    reader = source.spark.read.schema(source.frame.schema)
    if source.folder and source.folder not in paths:  # a folder, whose names may be values of a column
        reader = reader.option("basePath", source.folder)
    frame = reader.options(**source.config.options).option("__globPaths__", "false").parquet(*paths)
    changes = source.changes(frame)
    return changes.only_added(source) if all(now.get(path) == status for path, status in before.items()) else changes
