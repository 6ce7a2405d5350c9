"""`--scope since` and `--order`: the column of times is the configured one, or the only one there is."""

from datetime import date, datetime, timedelta

import pytest
from pyspark.sql import functions as F

from safeguard_spark.errors import ConfigError, SourceError
from safeguard_spark.relabel.scope import parse_scope
from safeguard_spark.spark.relabel.scoped_source import open_scoped
from safeguard_spark.spark.source import RANK
from tests.spark.lake import Lake

pytestmark = pytest.mark.spark
SINCE = parse_scope("since 2026-01-03")
START = datetime(2026, 1, 1)


def write(lake: Lake, *columns: str) -> None:
    """Contents 0 to 4; `made` is a day later for each, `edited` a day earlier."""
    frame = lake.spark.createDataFrame(
        [(f"p{n}", "a table", START + timedelta(days=n), date(2026, 1, 5) - timedelta(days=n), n) for n in range(5)],
        "id STRING, body STRING, made TIMESTAMP, edited DATE, number INT",
    )
    frame.select("id", "body", *columns).write.format("delta").save(str(lake.posts))


def selected(lake: Lake, column: str | None = None) -> set[str]:
    source = open_scoped(lake.spark, lake.config(source={"time_column": column}), SINCE)
    return {row.content_id for row in source.frame.collect()}


def newest_first(lake: Lake, order: str = "newest", column: str | None = None) -> list[str]:
    config = lake.config(source={"time_column": column})
    source = open_scoped(lake.spark, config, parse_scope("all"), order=order)
    return [row.content_id for row in source.frame.orderBy(F.desc(RANK)).collect()]


def test_the_only_column_of_times_needs_no_configuration(lake: Lake) -> None:
    write(lake, "made", "number")
    assert selected(lake) == {"p2", "p3", "p4"}
    assert newest_first(lake) == ["p4", "p3", "p2", "p1", "p0"]


def test_of_several_columns_of_times_the_configured_one_counts_and_none_is_guessed(lake: Lake) -> None:
    write(lake, "made", "edited", "number")
    assert selected(lake, "made") == {"p2", "p3", "p4"}
    assert selected(lake, "edited") == {"p0", "p1", "p2"}
    assert newest_first(lake, column="edited") == newest_first(lake, "edited") == ["p0", "p1", "p2", "p3", "p4"]
    assert newest_first(lake, "number") == ["p4", "p3", "p2", "p1", "p0"]
    for use in (selected, newest_first):
        with pytest.raises(ConfigError, match=r"Set source\.time_column \(times here: made, edited\)"):
            use(lake)


@pytest.mark.parametrize(
    ("column", "advice"),
    [
        ("maed", r"\(source\.time_column\); did you mean made"),
        ("number", r"is int, not a date or a time\. Write source\.time_column=timestamp_seconds\(number\)"),
        ("body", r"is string, not a date or a time\. Write source\.time_column=to_timestamp\(body\)"),
    ],
)
def test_a_configured_column_without_times_is_refused_with_what_would_do(lake: Lake, column: str, advice: str) -> None:
    write(lake, "made", "number")
    with pytest.raises(SourceError, match=advice) as caught:
        selected(lake, column)
    assert "\n" not in str(caught.value) and "a table" not in str(caught.value)


def test_without_a_column_of_times_the_error_says_so(lake: Lake) -> None:
    write(lake, "number")
    with pytest.raises(ConfigError, match=r"times here: none"):
        selected(lake)
    with pytest.raises(SourceError, match=r"--order body: body is string, not a number, date or time"):
        newest_first(lake, "body")
