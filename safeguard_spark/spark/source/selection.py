"""Selection: how a source is read. A covered version is of use only to a run that reads it in the same way."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from safeguard_spark.keys import sha256
from safeguard_spark.spark.source.columns import CHANGING, expression_classes
from safeguard_spark.spark.source.contents import SourceTable
from safeguard_spark.spark.source.location import source_sql
from safeguard_spark.spark.table_log import delta_name, file_index

# What makes rows of the rows of one table, each on its own.
ROW_BY_ROW = frozenset({"Project", "Filter", "SubqueryAlias", "View", "LogicalRelation"})
MAX_FIELDS = 1_000_000  # of a plan's text: all
TABLE, COLUMNS = DERIVED = ("the table of the source", "the columns of the source")  # they change with other parts


class SourceSelection(NamedTuple):
    """Rows of a Delta table, by its name in SQL, or None for Parquet files. Of a view it is the table that it reads.

    `parts` is how they are read: what has to be the same, by its name in a message, as a hash.
    """

    table: str | None
    parts: dict[str, str]


def selection_of(source: SourceTable, settings: Mapping[str, Any]) -> SourceSelection | str:
    """How a source is read, or why a later run cannot know what changed in it.

    `settings` is what else decides which contents are labelled, by the name of the setting.
    """
    plan = replace(source, columns=()).cells._jdf.queryExecution().analyzed()
    nodes = list(_tree(plan))
    if any(CHANGING.search(name) for node in nodes for name in expression_classes(node)):
        return "the source depends on other tables, on functions, on the time or on the user that reads it"
    if not {str(node.getClass().getSimpleName()) for node in nodes} <= ROW_BY_ROW:
        return "the source is more than the rows of one table"
    name, spark, config = source.name, source.spark, source.config
    if source.snapshot.is_parquet:
        table_or_files = None
    else:
        table_or_files = delta_name(source.frame) if source.version is None else source_sql(config, name)
        if table_or_files is None:
            return "nothing says what changed in a source that is neither a Delta table nor Parquet files"
    names = ("id_column", "text_column", "conversation_column", "options", "duplicate_ids", "limit")
    parts = {f"source.{key}": getattr(config, key) for key in names} | dict(settings)
    parts |= {key: spark.conf.get(key) for key in ("spark.sql.ansi.enabled", "spark.sql.caseSensitive")}
    parts |= {"the source": name, "Spark's version": spark.version}
    if table_or_files is not None:  # of another table a version may have the same number
        parts[TABLE] = str(file_index(source.frame).getSnapshot().metadata().id())
    flags = (False,) if spark.version < "4.1" else (False, False)  # 4.1 has one more way to print a plan
    text = plan.canonicalized().treeString(True, False, MAX_FIELDS, *flags)
    parts[COLUMNS] = [text, source.frame.schema.jsonValue()]
    return SourceSelection(table_or_files, {part: sha256(value) for part, value in parts.items()})


def difference(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """What is not the same in two selections, for a message."""
    if before.keys() != now.keys():
        return "the way in which this release reads a source"
    names = [name for name in sorted(now) if before[name] != now[name]]
    return " and ".join([name for name in names if name not in DERIVED] or names)


def _tree(plan: Any) -> Iterator[Any]:
    yield plan
    children = plan.children()
    for number in range(children.size()):
        yield from _tree(children.apply(number))
