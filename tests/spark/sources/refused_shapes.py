"""Source shapes that are refused, each with the sentence that says what to do."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from pyspark.sql import functions as F

from tests.spark.sources.shapes import (
    BAD,
    BODY,
    PAIR,
    ROWS,
    TEXTS,
    Place,
    csv,
    ids,
    nested,
    partitioned_delta,
    turns,
    with_stray,
)


class Refusal(NamedTuple):
    """A source that is refused with a sentence."""

    make: Callable[[Place], dict[str, Any]]
    sentence: str


def _several_tables(place: Place) -> dict[str, Any]:
    place.delta(PAIR, TEXTS, "lake/one")
    place.delta(PAIR, TEXTS, "lake/two")
    return {"location": str(place.folder / "lake"), **BODY}


def _part_of_delta(place: Place) -> dict[str, Any]:
    table = partitioned_delta(place)
    return {**table, "location": f"{table['location']}/dt=x"}


def _gone(place: Place) -> dict[str, Any]:
    table = place.delta(PAIR, TEXTS)
    for file in place.file.glob("*.parquet"):
        file.unlink()
    return {**table, **BODY}


def _damaged_log(place: Place) -> dict[str, Any]:
    table = place.delta(PAIR, TEXTS)
    log = place.file / "_delta_log"
    (log / "00000000000000000001.json").write_text('{"add": garb')
    _forget(place)
    return {**table, **BODY}


def _log_with_gap(place: Place) -> dict[str, Any]:
    for _ in range(3):
        table = place.delta(PAIR, TEXTS)
    (place.file / "_delta_log" / "00000000000000000001.json").unlink()
    _forget(place)
    return {**table, **BODY}


def _forget(place: Place) -> None:
    """Make Spark read a Delta log again."""
    jvm: Any = place.spark._jvm
    jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()


def _mixed_types(place: Place) -> dict[str, Any]:
    place.parquet(ROWS, "posts/a.parquet")
    place.parquet({"id": ["c"], "body": [5]}, "posts/b.parquet")
    return {"location": str(place.file), **BODY}


def _cut_file(place: Place) -> dict[str, Any]:
    place.parquet(ROWS, "posts/a.parquet")
    place.write("posts/b.parquet", "PAR1 cut")
    return {"location": str(place.file), **BODY}


def _missing_column(place: Place) -> dict[str, Any]:
    place.parquet(ROWS, "posts/a.parquet")
    place.parquet({"id": ["c"]}, "posts/b.parquet")
    return {"location": str(place.file), **BODY}


def _only_success(place: Place) -> dict[str, Any]:
    place.write("posts/_SUCCESS", "")
    return {"location": str(place.file), **BODY}


def _user_function(place: Place) -> dict[str, Any]:
    place.spark.udf.register("shape_function", lambda text: text)
    return {**place.parquet(ROWS), **BODY, "id_column": "shape_function(id)"}


def id_of(sql: str) -> Callable[[Place], dict[str, Any]]:
    """A Delta table whose ids are an SQL value."""

    def make(place: Place) -> dict[str, Any]:
        place.spark.range(1).select(F.expr(sql).alias("id"), F.lit(BAD).alias("body")).write.format("delta").save(
            str(place.file)
        )
        return {"location": str(place.file), **BODY}

    return make


def with_id(text: str) -> Callable[[Place], dict[str, Any]]:
    """A table read with an expression as its id."""
    return lambda place: {**place.parquet(ROWS), **BODY, "id_column": text}


def at(location: str, **settings: Any) -> Callable[[Place], dict[str, Any]]:
    """A location that needs no files."""
    return lambda place: {"location": location.format(folder=place.folder), **BODY, **settings}


def inside(which: str) -> Callable[[Place], dict[str, Any]]:
    """An output, or staging, in the folder of a Delta table, or the table in them; through a link, with a scheme."""

    def make(place: Place) -> dict[str, Any]:
        source = {**place.delta(PAIR, TEXTS), **BODY}
        link = place.folder / "link"
        link.symlink_to(place.file)
        outputs: dict[str, dict[str, Any]] = {
            "output": {"output": f"{place.file}/tables/"},
            "link": {"output": f"{link}/tables"},
            "scheme": {"output": f"file://{place.file}/tables"},
            "staging": {"output": str(place.folder / "tables"), "run": {"staging": f"{place.file}/_staging"}},
            "source": {"output": str(place.folder)},
            "catalog": {"output": "spark_catalog.in_the_source"},
        }
        place.spark.sql("DROP SCHEMA IF EXISTS in_the_source")
        place.spark.sql(f"CREATE SCHEMA in_the_source LOCATION '{place.file}/schema'")
        return {**source, "sections": outputs[which]}

    return make


NO_VALUE = "may have another value in the next query"
REFUSED: dict[str, Refusal] = {
    # ids
    "a struct as an id": Refusal(id_of("named_struct('a', 1, 'b', 'x')"), r'--id-column "concat\(id.a, \'/\', id.b\)"'),
    "a floating-point number as an id": Refusal(ids([1.0, 2.0]), r'--id-column "cast\(id AS DECIMAL\(38,0\)\)"'),
    "a decimal with a fraction as an id": Refusal(id_of("1.50"), r'--id-column "cast\(id AS STRING\)"'),
    "a time as an id": Refusal(ids([datetime(2026, 1, 1), datetime(2026, 1, 2)]), r'"cast\(id AS STRING\)"'),
    "an array as an id": Refusal(ids([["a"], ["b"]]), r'--id-column "to_json\(id\)"'),
    "a boolean as an id": Refusal(ids([True, False]), "name what identifies a content"),
    "an id that is null": Refusal(ids(["a", None]), "1 rows of .* have no id. Every row needs an id"),
    "several contents under one id": Refusal(ids(["a", "a"]), r"Number of ids with several contents in .*: 1\. "),
    "a random id": Refusal(with_id("uuid()"), NO_VALUE),
    "an id that counts rows": Refusal(with_id("monotonically_increasing_id()"), NO_VALUE),
    "an id from the clock": Refusal(with_id("concat(id, current_timestamp())"), NO_VALUE),
    "an aggregate as an id": Refusal(with_id("count(*)"), NO_VALUE),
    "several ids from a row": Refusal(with_id("explode(split(id, '/'))"), NO_VALUE),
    "a row's number as an id": Refusal(with_id("row_number() OVER (ORDER BY id)"), NO_VALUE),
    "a subquery as an id": Refusal(with_id("(SELECT 1)"), NO_VALUE),
    "a user's function as an id": Refusal(_user_function, NO_VALUE),
    "an expression over no column": Refusal(with_id("concat(idd, '/')"), "neither a column of .* nor an SQL"),
    "an expression that is no SQL": Refusal(with_id("id, body"), "neither a column of .* nor an SQL"),
    "a column that does not exist": Refusal(with_id("idd"), "There is no column idd in .*did you mean id"),
    # texts
    "a number as a text": Refusal(lambda p: {**p.parquet({"id": ["a"], "body": [5]}), **BODY}, "is bigint, not text"),
    "turns as a text": Refusal(
        lambda p: {**turns("array(map('role','{text}'))")(p), "conversation_column": None, "text_column": "turns"},
        "for a list of turns use --conversation-column",
    ),
    "texts in place of turns": Refusal(turns("array('{text}')"), "a conversation is a list of turns"),
    "turns without a role's column": Refusal(
        turns("array(named_struct('text','{text}'))"), "a conversation is a list of turns"
    ),
    "a Parquet file without the text's column": Refusal(_missing_column, "b.parquet of .* has no column body, though"),
    # locations
    "no location": Refusal(lambda _: {"location": None, **BODY}, "No source: give --source"),
    "no content column": Refusal(lambda p: p.parquet(ROWS), "No content column"),
    "a path that does not exist": Refusal(at("{folder}/nowhere"), "nowhere does not exist"),
    "a table that does not exist": Refusal(at("no_such_table"), "no_such_table.* For a folder write ./no_such_table"),
    "a table with a hyphen that does not exist": Refusal(at("my-db.my-posts"), "cannot be found"),
    "a pattern": Refusal(at("{folder}/*.parquet"), "a pattern is not a source. .*pathGlobFilter"),
    "a query": Refusal(at("SELECT * FROM posts"), "A query is not a source. Create a view"),
    "a version in the location": Refusal(at("posts VERSION AS OF 3"), "--source posts --set source.version=3"),
    "a version after an at sign": Refusal(at("{folder}/posts@v3"), "posts --set source.version=3"),
    "a time in the location": Refusal(at("posts TIMESTAMP AS OF '2026-01-01'"), "--set source.version=N"),
    "a version of a Parquet file": Refusal(lambda p: {**p.parquet(ROWS), **BODY, "version": 1}, "is not a Delta table"),
    "a format for a table's name": Refusal(
        lambda p: {"location": p.view("shape_format"), **BODY, "format": "csv"}, "are for paths"
    ),
    "S3 without its package": Refusal(at("s3a://bucket/posts"), "org.apache.hadoop:hadoop-aws:.*spark.jars.packages"),
    "S3 under its other name": Refusal(at("s3://bucket/posts"), "Write s3a://bucket/posts"),
    "Google's store without its package": Refusal(at("gs://bucket/posts"), "hadoop-gcp.*spark.jars.packages"),
    "Azure's store without its package": Refusal(at("abfss://c@a.dfs.core.windows.net/x"), "hadoop-azure"),
    "a file system that nobody knows": Refusal(at("foo://bucket/posts"), "Spark does not know foo://"),
    "a web page": Refusal(at("https://example.org/posts.parquet"), "Download it"),
    "a host that does not exist": Refusal(at("hdfs://nowhere.invalid:1/posts"), "cannot be opened"),
    # folders
    "an empty folder": Refusal(lambda p: {**at(str(p.folder))(p)}, "holds no data files"),
    "only _SUCCESS": Refusal(_only_success, "holds no data files"),
    "a stray text file": Refusal(with_stray, r"files of several kinds: .*notes.txt.*pathGlobFilter='\*.parquet'"),
    "files of another kind": Refusal(
        lambda p: {**p.write("posts/a.xlsx", "x"), "location": str(p.file), **BODY}, r"is no table: it holds 1 .xlsx"
    ),
    "folders that are not partitions": Refusal(nested, r"folders that are not partitions \(2026, 2027\)"),
    "a folder of Delta tables": Refusal(_several_tables, r"of Delta tables \(one, two\). Name one: .*/lake/one"),
    "a partition of a Delta table": Refusal(_part_of_delta, "is part of the Delta table .*/posts, and may hold rows"),
    "an Iceberg table": Refusal(
        lambda p: {**p.write("posts/metadata/v1.metadata.json", "{}"), **p.write("posts/data/a.parquet", "x"),
                   "location": str(p.file), **BODY}, "is an Iceberg table",
    ),
    "a Parquet file as a Delta table": Refusal(
        lambda p: {**p.parquet(ROWS), **BODY, "format": "delta"}, "has no _delta_log"
    ),
    "an output in the source": Refusal(inside("output"), "a VACUUM of the source would delete it"),
    "an output in the source, through a link": Refusal(inside("link"), "a VACUUM of the source would delete it"),
    "an output in the source, with a scheme": Refusal(inside("scheme"), "a VACUUM of the source would delete it"),
    "a catalog's schema in the source": Refusal(inside("catalog"), "in_the_source: .*/schema/labels is in"),
    "staging in the source": Refusal(inside("staging"), "run.staging .* is in the source's folder"),
    "a source in the output": Refusal(inside("source"), "is in the folder of output"),
    # files
    "columns that differ in case only": Refusal(
        lambda p: {**p.parquet({**ROWS, "ID": ["x", "y"]}), **BODY}, "spark.conf.spark.sql.caseSensitive=true"
    ),
    "a data file that is gone": Refusal(_gone, "does not exist, though the table lists it"),
    "a damaged Delta log": Refusal(_damaged_log, "Delta log is damaged"),
    "a Delta log with a gap": Refusal(_log_with_gap, "a file of its Delta log is missing"),
    "files of two types": Refusal(_mixed_types, r"column \[body\] is INT64 in file .*b.parquet and string in others"),
    "a Parquet file that is cut": Refusal(_cut_file, "b.parquet is not a Parquet file, or only part of one"),
    "CSV that is said to be ORC": Refusal(csv(f"id,body\na,{BAD}\n", format="orc"), "is not an ORC file"),
    "CSV with semicolons": Refusal(csv("id;body\na;x\n"), "no column id in .* --set source.options.sep=';'"),
    "CSV without a header": Refusal(
        csv("a,My old sofa is for sale. Call me!\nb,x\n"), "; the first line of the file looks like a content"
    ),
    "CSV with a short line": Refusal(csv("id,body\na\n"), "a line does not have the columns"),
    "CSV with a long line": Refusal(csv("id,body\na,b,secret\n"), "a line does not have the columns"),
    "CSV in UTF-16": Refusal(
        lambda p: {**p.write("posts.csv", "id,body\na,x\n".encode("utf-16")), **BODY}, "no column|a line does not"
    ),
    "JSON that is cut": Refusal(
        lambda p: {**p.write("posts.jsonl", '{"id": 1, "body": "x"}\n{"id": 2, "bo\n'), **BODY}, "a line does not have"
    ),
    "JSON lines read as one value": Refusal(
        lambda p: {**p.write("posts.jsonl", '{"id": 1, "body": "x"}\n'), **BODY, "options": {"multiline": "true"}},
        "with multiLine Spark would read the first of each file alone",
    ),
    "a JSON array next to JSON lines": Refusal(
        lambda p: {
            **p.write("posts/a.json", '[{"id": 1, "body": "x"}]'),
            **p.write("posts/b.json", '{"id": 2, "body": "x"}\n{"id": 3, "body": "x"}\n'),
            "location": str(p.file), **BODY,
        },
        "write one object a line in every file",
    ),
    "a view with other rows each time": Refusal(
        lambda p: {"location": p.view("shape_random", "SELECT string(id) id, 'x' body FROM range(9) WHERE rand() < 1"),
                   **BODY}, "has other rows each time it is read",
    ),
    "a view that fails for a row": Refusal(
        lambda p: {"location": p.view(
            "shape_fails", "SELECT id, string(cast(b AS INT)) body FROM VALUES ('a', 'secret') AS t(id, b)"),
                   **BODY}, r"fails for a row \(CAST_INVALID_INPUT\)",
    ),
}  # fmt: skip
