"""Source shapes: content tables as people have them, each with what must become of it."""

import decimal
import gzip
import json
import uuid
from collections.abc import Callable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

BAD, GOOD = "a replica watch", "a teapot"  # the scripted engine knows the word replica
BODY = {"text_column": "body"}
TURNS = {"conversation_column": "turns"}


class Place(NamedTuple):
    """Where a shape is made: its folder, and the session for those that Spark writes."""

    spark: SparkSession
    folder: Path

    @property
    def file(self) -> Path:
        """A path in the folder."""
        return self.folder / "posts"

    def parquet(self, columns: Mapping[str, Any], name: str = "posts.parquet") -> dict[str, Any]:
        """Write a Parquet file with pyarrow."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(dict(columns)), file)
        return {"location": str(file)}

    def delta(self, rows: list[tuple[Any, ...]], ddl: str, name: str = "posts") -> dict[str, Any]:
        """Write a Delta table."""
        frame = self.spark.createDataFrame(rows, ddl).coalesce(1)
        frame.write.format("delta").mode("append").save(str(self.folder / name))
        return {"location": str(self.folder / name)}

    def write(self, name: str, data: bytes | str) -> dict[str, Any]:
        """Write a file."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data.encode() if isinstance(data, str) else data)
        return {"location": str(file)}

    def view(self, name: str, sql: str = f"SELECT 'a' id, '{BAD}' body UNION ALL SELECT 'b', '{GOOD}'") -> str:
        """Create a temporary view."""
        self.spark.sql(f"CREATE OR REPLACE TEMPORARY VIEW {name} AS {sql}")
        return name


class Shape(NamedTuple):
    """A source that can be read: how it is made, and the verdict of each id (an outcome, where there is none)."""

    make: Callable[[Place], dict[str, Any]]
    labels: dict[str, bool | str]


class Refusal(NamedTuple):
    """A source that is refused with a sentence."""

    make: Callable[[Place], dict[str, Any]]
    sentence: str


AB: dict[str, bool | str] = {"a": True, "b": False}
ROWS = {"id": ["a", "b"], "body": [BAD, GOOD]}
PAIR = [("a", BAD), ("b", GOOD)]
TEXTS = "id STRING, body STRING"
U1, U2 = uuid.UUID(int=1), uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")


def ids(values: Any) -> Callable[[Place], dict[str, Any]]:
    """Parquet with these two ids."""
    return lambda place: {**place.parquet({**ROWS, "id": values}), **BODY}


def turns(sql: str) -> Callable[[Place], dict[str, Any]]:
    """Delta with conversations a and b, from an SQL value with BAD or GOOD in place of `{text}`."""

    def make(place: Place) -> dict[str, Any]:
        query = " UNION ALL ".join(f"SELECT '{i}' id, {sql.format(text=text)} turns" for i, text in PAIR)
        place.spark.sql(query).coalesce(1).write.format("delta").save(str(place.file))
        return {"location": str(place.file), **TURNS}

    return make


def csv(text: str, name: str = "posts.csv", **settings: Any) -> Callable[[Place], dict[str, Any]]:
    """A CSV file."""
    return lambda place: {**place.write(name, text), **BODY, **settings}


def expression(**settings: str) -> Callable[[Place], dict[str, Any]]:
    """A table of two sites with equal ids, whose texts are in a struct and in JSON."""

    def make(place: Place) -> dict[str, Any]:
        rows = [("x", 1, (BAD,), json.dumps({"t": BAD})), ("y", 1, (GOOD,), json.dumps({"t": GOOD}))]
        table = place.delta(rows, "site STRING, id INT, payload STRUCT<text: STRING>, raw STRING")
        return {**table, "id_column": "concat(site, '/', id)", **settings}

    return make


def duckdb_file(select: str) -> Callable[[Place], dict[str, Any]]:
    """A Parquet file that DuckDB writes."""

    def make(place: Place) -> dict[str, Any]:
        file = place.folder / "posts.parquet"
        duckdb.sql(f"COPY ({select}) TO '{file}' (FORMAT parquet)")
        return {"location": str(file), **BODY}

    return make


def in_folder(name: str, table: str = "parquet") -> Callable[[Place], dict[str, Any]]:
    """Parquet or Delta in a folder of a difficult name."""

    def make(place: Place) -> dict[str, Any]:
        if table == "delta":
            return {**place.delta(PAIR, TEXTS, name), **BODY}
        place.parquet(ROWS, f"{name}/part-0.parquet")
        return {"location": str(place.folder / name), **BODY}

    return make


def catalog(statement: str, location: str) -> Callable[[Place], dict[str, Any]]:
    """A table or view in the session's catalog."""

    def make(place: Place) -> dict[str, Any]:
        place.spark.sql("CREATE SCHEMA IF NOT EXISTS shapes")
        for part in statement.split(";"):
            place.spark.sql(part)
        return {"location": location, **BODY}

    return make


def _pandas(place: Place) -> dict[str, Any]:
    frame = pd.DataFrame({**ROWS, "at": pd.to_datetime(["2026-01-01", "2026-02-01"])})
    frame.to_parquet(place.folder / "posts.parquet")
    return {"location": str(place.folder / "posts.parquet"), **BODY}


def _partitions(place: Place) -> dict[str, Any]:
    for key, text in (("007", BAD), ("07", GOOD), ("7", GOOD)):
        place.parquet({"body": [text]}, f"posts/id={key}/part-0.parquet")
    place.write("posts/_SUCCESS", "")
    return {"location": str(place.file), **BODY}


def _older_version(place: Place) -> dict[str, Any]:
    place.delta(PAIR, TEXTS)
    return {**place.delta([("c", GOOD)], TEXTS), **BODY, "version": 0}


def _partitioned_delta(place: Place) -> dict[str, Any]:
    frame = place.spark.createDataFrame([(*row, "x") for row in PAIR], f"{TEXTS}, dt STRING")
    frame.write.format("delta").partitionBy("dt").save(str(place.file))
    return {"location": str(place.file), **BODY}


def _orc(place: Place) -> dict[str, Any]:
    place.spark.createDataFrame(PAIR, TEXTS).write.orc(str(place.file))
    return {"location": str(place.file), **BODY}


def _with_stray(place: Place, **settings: Any) -> dict[str, Any]:
    place.parquet(ROWS, "posts/part-0.parquet")
    place.write("posts/notes.txt", "not a table")
    return {"location": str(place.file), **BODY, **settings}


def _nested(place: Place, **settings: Any) -> dict[str, Any]:
    place.parquet({"id": ["a"], "body": [BAD]}, "posts/2026/part-0.parquet")
    place.parquet({"id": ["b"], "body": [GOOD]}, "posts/2027/part-0.parquet")
    return {"location": str(place.file), **BODY, **settings}


def _hidden(place: Place) -> dict[str, Any]:
    place.parquet(ROWS, "posts/part-0.parquet")
    place.write("posts/_SUCCESS", "")
    place.write("posts/.hidden.parquet", "x")
    return {"location": str(place.file), **BODY}


def _global_view(place: Place) -> dict[str, Any]:
    place.spark.sql(f"SELECT 'a' id, '{BAD}' body").createOrReplaceGlobalTempView("shape_view")
    return {"location": "global_temp.shape_view", **BODY}


def _empty_delta(place: Place) -> dict[str, Any]:
    return {**place.delta([], TEXTS), **BODY}


READABLE: dict[str, Shape] = {
    # tables and files
    "a Delta table": Shape(lambda p: {**p.delta(PAIR, TEXTS), **BODY}, AB),
    "a Delta table with partitions": Shape(_partitioned_delta, AB),
    "an older version of a Delta table": Shape(_older_version, AB),
    "a Delta table without rows": Shape(_empty_delta, {}),
    "a Parquet file without rows": Shape(
        lambda p: {**p.parquet({"id": pa.array([], pa.string()), "body": pa.array([], pa.string())}), **BODY}, {}
    ),
    "a Parquet folder with hidden files": Shape(_hidden, AB),
    "a Parquet file without an ending": Shape(lambda p: {**p.parquet(ROWS, "posts"), **BODY}, AB),
    "times in nanoseconds, as pandas writes them": Shape(_pandas, AB),
    "columns of types that Spark does not know, unused": Shape(
        duckdb_file(f"SELECT 'a' id, '{BAD}' body, uuid() u, INTERVAL 1 DAY i, TIMESTAMP_NS '2026-01-01 00:00:00' t"),
        {"a": True},
    ),
    "a Parquet folder partitioned by id": Shape(_partitions, {"007": True, "07": False, "7": False}),
    "one kind of files of several": Shape(
        lambda p: _with_stray(p, format="parquet", options={"pathGlobFilter": "*.parquet"}), AB
    ),
    "folders in folders": Shape(lambda p: _nested(p, options={"recursiveFileLookup": "true"}), AB),
    "CSV with quotes, line breaks and leading zeros": Shape(
        csv(f'id,body,n\n007,"a ""fine""\nreplica, yes",1\n7,{GOOD},2\n\n8,"C:\\dir\\",3\n'),
        {"007": True, "7": False, "8": False},
    ),
    "CSV with an empty field": Shape(csv(f'id,body\na,{BAD}\nb,\nc,""\n'), {"a": True, "b": "empty", "c": "empty"}),
    "CSV with a byte order mark": Shape(csv(f"\ufeffid,body\r\na,{BAD}\r\nb,{GOOD}\r\n"), AB),
    "CSV with semicolons": Shape(csv(f"id;body\na;{BAD}\nb;{GOOD}\n", options={"sep": ";"}), AB),
    "CSV under another ending": Shape(csv(f"id,body\na,{BAD}\nb,{GOOD}\n", "posts.txt", format="csv"), AB),
    "TSV": Shape(csv(f"id\tbody\na\t{BAD}\nb\t{GOOD}\n", "posts.tsv"), AB),
    "compressed CSV": Shape(
        lambda p: {**p.write("posts.csv.gz", gzip.compress(f"id,body\na,{BAD}\nb,{GOOD}\n".encode())), **BODY}, AB
    ),
    "JSON lines": Shape(
        lambda p: {**p.write("posts.jsonl", "".join(json.dumps({"id": i, "body": t}) + "\n" for i, t in PAIR)), **BODY},
        AB,
    ),
    "a JSON array": Shape(
        lambda p: {**p.write("posts.json", json.dumps([{"id": i, "body": t} for i, t in PAIR], indent=1)), **BODY}, AB
    ),
    "JSON lines with ids of two types": Shape(
        lambda p: {**p.write("posts.ndjson", f'{{"id": 1, "body": "{BAD}"}}\n{{"id": "b", "body": "x"}}\n'), **BODY},
        {"1": True, "b": False},
    ),
    "ORC": Shape(_orc, AB),
    # names
    "brackets in a path": Shape(in_folder("we[i]rd {a,b} *?"), AB),
    "brackets in the path of a Delta table": Shape(in_folder("we[i]rd {a,b} *?", "delta"), AB),
    "a backtick in a path": Shape(in_folder("back`tick"), AB),
    "a backtick in the path of a Delta table": Shape(in_folder("back`tick", "delta"), AB),
    "spaces, percent and non-ASCII letters in a path": Shape(in_folder("a b%20c#é"), AB),
    "spaces, percent and letters in the path of a Delta table": Shape(in_folder("a b%20c#é", "delta"), AB),
    "dots and spaces in a column's name": Shape(
        lambda p: {**p.parquet({"the.id": ["a", "b"], "my text": [BAD, GOOD]}), "id_column": "the.id",
                   "text_column": "my text"}, AB,
    ),
    "a column's name in other letters": Shape(lambda p: {**p.parquet(ROWS), "text_column": "BODY"}, AB),
    # tables and views
    "a temporary view": Shape(lambda p: {"location": p.view("shape_temp"), **BODY}, AB),
    "a global temporary view": Shape(_global_view, {"a": True}),
    "a view of the catalog": Shape(
        catalog(
            f"CREATE OR REPLACE TABLE shapes.t USING delta AS SELECT 'a' id, '{BAD}' body;"
            "CREATE OR REPLACE VIEW shapes.v AS SELECT * FROM shapes.t", "shapes.v",
        ), {"a": True},
    ),
    "a Delta table of the catalog": Shape(
        catalog(
            f"CREATE OR REPLACE TABLE shapes.d USING delta AS SELECT 'a' id, '{BAD}' body", "spark_catalog.shapes.d"
        ),
        {"a": True},
    ),
    "a Parquet table of the catalog, its name in backticks": Shape(
        catalog(f"DROP TABLE IF EXISTS shapes.p;CREATE TABLE shapes.p USING parquet AS SELECT 'a' id, '{BAD}' body",
                "`shapes`.`p`"), {"a": True},
    ),
    # ids
    "whole numbers as ids": Shape(ids([1, -2]), {"1": True, "-2": False}),
    "decimals of scale 0 as ids": Shape(
        ids(pa.array([decimal.Decimal(10), decimal.Decimal(12345678901234567890)], pa.decimal128(20, 0))),
        {"10": True, "12345678901234567890": False},
    ),
    "dates as ids": Shape(ids([date(2026, 1, 2), date(2026, 1, 3)]), {"2026-01-02": True, "2026-01-03": False}),
    "UUIDs in binary as ids": Shape(ids(pa.array([U1.bytes, U2.bytes], pa.binary())), {str(U1): True, str(U2): False}),
    "UUIDs of DuckDB as ids": Shape(
        duckdb_file(f"SELECT '{U1}'::UUID id, '{BAD}' body UNION ALL SELECT '{U2}'::UUID, '{GOOD}'"),
        {str(U1): True, str(U2): False},
    ),
    "binary ids": Shape(ids([b"\x00\xff", b"ab"]), {"00ff": True, "6162": False}),
    "ids from two columns": Shape(expression(text_column="payload.text"), {"x/1": True, "y/1": False}),
    "an expression for a number that is a text": Shape(
        lambda p: {**p.parquet({"id": ["a"], "n": [5]}), "text_column": "cast(n AS STRING)"}, {"a": False}
    ),
    "a text in JSON": Shape(expression(text_column="get_json_object(raw, '$.t')"), {"x/1": True, "y/1": False}),
    "ids that were numbers with gaps in pandas": Shape(
        lambda p: {**ids([1.0, 2.0])(p), "id_column": "cast(id AS DECIMAL(38,0))"}, {"1": True, "2": False}
    ),
    "the same row twice": Shape(lambda p: {**p.delta([*PAIR, PAIR[0]], TEXTS), **BODY}, AB),
    # texts
    "texts as bytes": Shape(
        lambda p: {**p.parquet({"id": ["a", "b"], "body": [BAD.encode(), b"\xff"]}), **BODY},
        {"a": True, "b": "invalid_content"},
    ),
    # conversations
    "turns with role and text": Shape(turns("array(named_struct('role','user','text','{text}'))"), AB),
    "turns with role and content": Shape(turns("array(named_struct('role','user','content','{text}'))"), AB),
    "turns with text null and content set": Shape(
        turns("array(named_struct('role','user','text',string(null),'content','{text}'))"), AB
    ),
    "turns of ShareGPT": Shape(turns("array(named_struct('from','human','value','{text}'))"), AB),
    "turns as maps": Shape(turns("array(map('role','user','content','{text}'))"), AB),
    "turns as pairs": Shape(turns("array(array('user','{text}'))"), AB),
    "turns with numbers for roles": Shape(turns("array(named_struct('role',1,'text','{text}'))"), AB),
    "turns without a role": Shape(turns("array(named_struct('role',string(null),'value','{text}'))"), AB),
    "turns with parts": Shape(
        turns("array(named_struct('role','user','content',array(named_struct('type','text','text','{text}'),"
              "named_struct('type','image_url','text',string(null)))))"), AB,
    ),
    "turns with calls of tools": Shape(
        turns("array(named_struct('role','assistant','content',string(null),'tool_calls',"
              "array(named_struct('function',named_struct('name','f','arguments','{text}')))))"), AB,
    ),
    "turns in a field": Shape(turns("named_struct('messages',array(named_struct('role','u','text','{text}')))"), AB),
    "turns as a variant": Shape(turns("parse_json('[{{\"role\":\"user\",\"content\":\"{text}\"}}]')"), AB),
    "turns as JSON": Shape(
        lambda p: {
            **p.parquet({
                "id": list("abcdef"),
                "turns": [
                    json.dumps([{"role": "user", "content": BAD}]), json.dumps({"messages": [["user", GOOD]]}), "{",
                    None, "[]", json.dumps([{"role": "user", "content": [{"type": "image"}]}]),
                ],
            }), **TURNS,
        },
        {**AB, "c": "invalid_content", "d": "empty", "e": "empty", "f": "invalid_content"},
    ),
    "turns as JSON in a text that is part of an expression": Shape(
        lambda p: {
            **p.parquet({"id": ["a"], "raw": [json.dumps({"x": [{"role": "user", "content": BAD}]})]}),
            "conversation_column": "get_json_object(raw, '$.x')",
        },
        {"a": True},
    ),
}  # fmt: skip


def _several_tables(place: Place) -> dict[str, Any]:
    place.delta(PAIR, TEXTS, "lake/one")
    place.delta(PAIR, TEXTS, "lake/two")
    return {"location": str(place.folder / "lake"), **BODY}


def _part_of_delta(place: Place) -> dict[str, Any]:
    table = _partitioned_delta(place)
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
        }
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
    "several contents under one id": Refusal(ids(["a", "a"]), "1 ids of .* have several contents each"),
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
    "a stray text file": Refusal(_with_stray, r"files of several kinds: .*notes.txt.*pathGlobFilter='\*.parquet'"),
    "files of another kind": Refusal(
        lambda p: {**p.write("posts/a.xlsx", "x"), "location": str(p.file), **BODY}, r"is no table: it holds 1 .xlsx"
    ),
    "folders that are not partitions": Refusal(_nested, r"folders that are not partitions \(2026, 2027\)"),
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
