"""Source: the table of content, in the forms that people have it."""

from safeguard_spark.spark.source.columns import Field, find_column, id_text, quoted, read_column
from safeguard_spark.spark.source.contents import (
    RANK,
    STRATUM,
    Source,
    SourceTable,
    distinct_contents,
    find_source,
    one_stratum,
    open_source,
)
from safeguard_spark.spark.source.hashes import json_hash, text_hash, turns_hash, work_key
from safeguard_spark.spark.source.location import is_path, read_snapshot, source_sql, table_sql, table_version
from safeguard_spark.spark.source.overlap import refuse_overlap

__all__ = [
    "RANK",
    "STRATUM",
    "Field",
    "Source",
    "SourceTable",
    "distinct_contents",
    "find_column",
    "find_source",
    "id_text",
    "is_path",
    "json_hash",
    "one_stratum",
    "open_source",
    "quoted",
    "read_column",
    "read_snapshot",
    "refuse_overlap",
    "source_sql",
    "table_sql",
    "table_version",
    "text_hash",
    "turns_hash",
    "work_key",
]
