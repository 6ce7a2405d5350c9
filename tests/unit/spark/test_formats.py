"""Formats: what a folder holds is judged by the names of its files, and no file is left out without a word."""

import pytest

from safeguard_spark.errors import SourceError
from safeguard_spark.spark.source.formats import Entry, files_of, format_of, options
from safeguard_spark.spark.source.location import is_path, table_sql

pytestmark = pytest.mark.unit


def files(*names: str) -> list[Entry]:
    """Files of these names; a name that ends with a slash is a folder's."""
    return [Entry(name.rstrip("/"), name.endswith("/")) for name in names]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["part-0.snappy.parquet", "part-1.PARQUET"], "parquet"),
        (["part-0", "part-1"], "parquet"),
        (["a.parquet", "part-1"], "parquet"),
        (["a.csv", "b.csv.gz", "c.tsv"], "csv"),
        (["a.json", "b.jsonl.zst", "c.ndjson"], "json"),
        (["a.orc"], "orc"),
    ],
)
def test_the_endings_say_the_format(names: list[str], expected: str) -> None:
    assert format_of("posts", files(*names)) == expected


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["a.parquet", "b.csv"], "files of several kinds: 1 .csv .b.csv., 1 .parquet .a.parquet."),
        (["a.parquet", "b.txt", "c.txt"], r"several kinds: .*2 .txt .b.txt.*pathGlobFilter='\*.parquet'"),
        (["a.xlsx"], "is no table: it holds 1 .xlsx"),
    ],
)
def test_files_of_other_kinds_are_named(names: list[str], sentence: str) -> None:
    with pytest.raises(SourceError, match=sentence):
        format_of("posts", files(*names))


def test_hidden_files_and_partitions_are_no_data_files() -> None:
    entries = files("_SUCCESS", ".part.crc", "_temporary/", "dt=1/", "_p=1/", "a.parquet")
    assert files_of("posts", entries, recursive=False) == files("a.parquet")


def test_other_folders_are_refused_unless_they_are_read() -> None:
    entries = files("2026/", "a.parquet")
    assert files_of("posts", entries, recursive=True) == files("a.parquet")
    with pytest.raises(SourceError, match=r"not partitions \(2026\)"):
        files_of("posts", entries, recursive=False)


def test_tsv_has_tabs_and_csv_has_line_breaks_in_texts() -> None:
    assert options("csv", Entry("a.tsv", False))["sep"] == "\t" and "sep" not in options("csv", Entry("a.csv", False))
    assert options("csv", Entry("a.csv", False))["multiLine"] == "true"


@pytest.mark.parametrize(
    ("location", "sql"),
    [
        ("posts", "`posts`"),
        ("my-catalog.db.posts", "`my-catalog`.`db`.`posts`"),
        ("db.`my.posts`", "`db`.`my.posts`"),
        ("`a``b`.c", "`a``b`.`c`"),
    ],
)
def test_a_tables_name_is_quoted_part_by_part(location: str, sql: str) -> None:
    assert not is_path(location) and table_sql(location) == sql


@pytest.mark.parametrize(
    "location", ["./posts", "posts/", "posts.csv", "posts.parquet", "s3a://b/posts", "a b", "a.b.c.d"]
)
def test_anything_else_is_a_path(location: str) -> None:
    assert is_path(location)
