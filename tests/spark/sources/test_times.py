"""Times: a column or expression that is a time selects and orders contents; another is refused with what would do."""

from datetime import date, datetime
from typing import Any

import pytest

from safeguard_spark.errors import SourceError
from safeguard_spark.relabel.scope import parse_scope
from safeguard_spark.spark.relabel.scoped_source import open_scoped
from tests.spark.lake import Lake

pytestmark = pytest.mark.spark

DAYS = [datetime(2026, 4, 30, 23), datetime(2026, 5, 1), datetime(2026, 5, 2)]
SECONDS = [1777590000, 1777593600, 1777680000]


def since(lake: Lake, **source: Any) -> list[str]:
    """Ids of the contents since May, the newest first."""
    config = lake.config(source=source)
    scoped = open_scoped(lake.spark, config, parse_scope("since 2026-05-01"), order="newest")
    return [row["content_id"] for row in scoped.frame.orderBy("rank", ascending=False).collect()]


@pytest.mark.parametrize(
    ("ddl", "times", "expression"),
    [
        ("TIMESTAMP", DAYS, None),
        ("TIMESTAMP_NTZ", DAYS, "at"),
        ("DATE", [date(2026, 4, 30), date(2026, 5, 1), date(2026, 5, 2)], None),
        ("BIGINT", SECONDS, "timestamp_seconds(at)"),
        ("BIGINT", [second * 1000 for second in SECONDS], "timestamp_millis(at)"),
        ("BIGINT", [second * 10**9 for second in SECONDS], "timestamp_micros(at div 1000)"),
        ("STRING", ["30.04.2026", "01.05.2026", "02.05.2026"], "to_timestamp(at, 'dd.MM.yyyy')"),
        ("STRUCT<t: TIMESTAMP>", [(day,) for day in DAYS], "at.t"),
    ],
)
def test_contents_since_a_day_in_their_order(lake: Lake, ddl: str, times: list[Any], expression: str | None) -> None:
    rows = [(id, "x", at) for id, at in zip("abc", times, strict=True)]
    lake.write(rows, f"id STRING, body STRING, at {ddl}")
    assert since(lake, time_column=expression) == ["c", "b"]


@pytest.mark.parametrize(
    ("ddl", "value", "column", "sentence"),
    [
        (
            "BIGINT",
            5,
            "at",
            r"source.time_column at is bigint, not a date .* source.time_column=timestamp_seconds\(at\)",
        ),
        ("STRING", "May", "at", r"is string, not a date .* source.time_column=to_timestamp\(at\)"),
        ("BOOLEAN", True, "at", "is boolean, not a date or a time"),
        ("STRING", "May", "att", r"no column att .*\(source.time_column\); did you mean at"),
        ("STRING", "May", "current_timestamp()", "may have another value in the next query"),
    ],
)
def test_a_column_that_is_no_time_is_refused(lake: Lake, ddl: str, value: Any, column: str, sentence: str) -> None:
    lake.write([("a", "x", value)], f"id STRING, body STRING, at {ddl}")
    with pytest.raises(SourceError, match=sentence):
        since(lake, time_column=column)
