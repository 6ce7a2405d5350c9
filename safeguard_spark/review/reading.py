"""What the console looks up in large tables: a content's labels, a call's reasoning. Each is one scan with a filter."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from safeguard_spark.review.tables import LabelTables, select, to_rows
from safeguard_spark.schema import ACTIVATIONS, LABELS, REASONING, Table

Rows = list[dict[str, Any]]


def rows_where(tables: LabelTables, table: Table, column: str, values: Iterable[str]) -> Rows:
    """The rows of a table with one of the values in a column; none without the table."""
    requested, opened = sorted(values), tables.open(table)
    if opened is None or not requested:
        return []
    texts = ", ".join("'{}'".format(value.replace("'", "''")) for value in requested)
    return to_rows(select(opened, where=f'"{column}" IN ({texts})'))


def reasoning_of(tables: LabelTables, work_keys: Iterable[str | None]) -> dict[str, Rows]:
    """By work key the answers of a model call, the one that counts first; nothing where there was no call."""
    by_key: dict[str, Rows] = {}
    for row in _newest_first(rows_where(tables, REASONING, "work_key", {key for key in work_keys if key})):
        by_key.setdefault(row["work_key"], []).append(row)
    return by_key


def labels_of(tables: LabelTables, content_id: str) -> Rows:
    """The labels of an id in every collection, newest first."""
    rows = _newest_first(rows_where(tables, LABELS, "content_id", [content_id]))
    # As `views.COLLECTION`: rows of earlier releases have only a source.
    return [{**row, "collection": row.get("collection") or row["source"]} for row in rows]


class History(NamedTuple):
    """What the tables have of a content: labels, newest first, with their calls, and when versions became active."""

    labels: Sequence[dict[str, Any]]
    calls: dict[str, Rows]
    activations: Rows


def history_of(tables: LabelTables, labels: Sequence[dict[str, Any]]) -> History:
    """The history of a content, from its labels."""
    activations = rows_where(tables, ACTIVATIONS, "policy", {row["policy"] for row in labels})
    return History(
        labels,
        reasoning_of(tables, (row["work_key"] for row in labels)),
        sorted(activations, key=lambda row: (row["policy"], row["activated_at"])),
    )


def _newest_first(rows: Rows) -> Rows:
    return sorted(rows, key=lambda row: row["labelled_at"], reverse=True)
