"""Listings: the files of a Parquet source, which say whether it has changed."""

import re

from safeguard_spark.spark.source.contents import SourceTable
from safeguard_spark.spark.table_log import file_index

STATUS = re.compile(r"path=(.*?); isDirectory=false; length=(\d+);.*?modification_time=(\d+);")


def list_files(source: SourceTable) -> dict[str, str] | None:
    """The files of a Parquet source as Spark listed them, each with its size and time of change.

    None if their file system describes them in another way.
    """
    listed = file_index(source.frame).allFiles()
    files = {path: f"{size} {changed}" for path, size, changed in STATUS.findall(str(listed.mkString("\n")))}
    return files if len(files) == listed.size() else None
