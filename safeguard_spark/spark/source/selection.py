"""Selection: how a source is read. A covered version is of use only to a run that reads it in the same way."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from safeguard_spark.keys import sha256
from safeguard_spark.spark.source.columns import CHANGING, expression_classes
from safeguard_spark.spark.source.contents import SourceTable
from safeguard_spark.spark.source.location import source_sql

# What makes rows of the rows of one table, each on its own.
ROW_BY_ROW = frozenset({"Project", "Filter", "SubqueryAlias", "View", "LogicalRelation"})
MAX_FIELDS = 1_000_000  # of a plan's text: all


class SourceSelection(NamedTuple):
    """Rows of a Delta table, by its name in SQL, or None for Parquet files.

    `parts` is how they are read, by its name in a message.
    """

    table: str | None
    parts: dict[str, str]


def selection_of(source: SourceTable, settings: dict[str, Any]) -> SourceSelection | str:
    """How a source is read, or why a later run cannot know what changed in it.

    `settings` is what else decides which contents are labelled.
    """
    plan = replace(source, columns=()).cells._jdf.queryExecution().analyzed()
    nodes = list(_tree(plan))
    if any(CHANGING.search(name) for node in nodes for name in expression_classes(node)):
        return "it depends on the time or the user that reads it"
    if source.version is None and not source.snapshot.is_parquet:
        return "it is neither a Delta table nor Parquet files"
    if not {str(node.getClass().getSimpleName()) for node in nodes} <= ROW_BY_ROW:
        return "it is more than rows of one table"
    name, spark, config = source.name, source.spark, source.config
    table_or_files = None if source.version is None else source_sql(config, name)
    flags = (False,) if spark.version < "4.1" else (False, False)  # 4.1 has one more way to print a plan
    text = plan.canonicalized().treeString(True, False, MAX_FIELDS, *flags)
    conf = {key: spark.conf.get(key, None) for key in ("spark.sql.ansi.enabled", "spark.sql.caseSensitive")}
    columns = [config.id_column, config.text_column, config.conversation_column, text]
    return SourceSelection(table_or_files, {
        "the source": name,
        "the columns": sha256([columns, source.frame.schema.jsonValue()]),
        "settings of the source or the run": sha256([config.options, config.duplicate_ids, config.limit, settings]),
        "Spark": sha256([spark.version, conf]),
    })  # fmt: skip


def _tree(plan: Any) -> Iterator[Any]:
    yield plan
    children = plan.children()
    for number in range(children.size()):
        yield from _tree(children.apply(number))
