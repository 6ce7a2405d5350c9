"""What the console looks up in large tables: a content's labels, a call's reasoning. Each is one scan with a filter."""

from typing import Any, NamedTuple

import pyarrow.dataset as ds

from safeguard_spark.review.tables import LabelTables
from safeguard_spark.schema import ACTIVATIONS, LABELS, REASONING, Table


def rows_where(tables: LabelTables, table: Table, column: str, value: str) -> list[dict[str, Any]]:
    """The rows of a table with a value in a column; none without the table."""
    opened = tables.open(table)
    if opened is None:
        return []
    return list(opened.to_pyarrow_dataset().to_table(filter=ds.field(column) == value).to_pylist())


def reasoning_of(tables: LabelTables, work_key: str | None) -> list[dict[str, Any]]:
    """The answers of a model call, the one that counts first; none if there was no call."""
    rows = rows_where(tables, REASONING, "work_key", work_key) if work_key else []
    return sorted(rows, key=lambda row: row["labelled_at"], reverse=True)


def labels_of(tables: LabelTables, content_id: str) -> list[dict[str, Any]]:
    """The labels of a content, newest first."""
    rows = rows_where(tables, LABELS, "content_id", content_id)
    return sorted(rows, key=lambda row: row["labelled_at"], reverse=True)


class History(NamedTuple):
    """What the tables have of a content: labels, newest first, with their calls, and when versions became active."""

    labels: list[dict[str, Any]]
    calls: dict[str, list[dict[str, Any]]]
    activations: list[dict[str, Any]]


def history_of(tables: LabelTables, content_id: str) -> History:
    """The history of a content."""
    labels = labels_of(tables, content_id)
    keys = {row["work_key"] for row in labels if row["work_key"]}
    activations = [
        row
        for policy in sorted({row["policy"] for row in labels})
        for row in sorted(rows_where(tables, ACTIVATIONS, "policy", policy), key=lambda row: row["activated_at"])
    ]
    return History(labels, {key: reasoning_of(tables, key) for key in keys}, activations)
