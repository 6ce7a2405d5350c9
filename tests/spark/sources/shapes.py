"""Source shapes: content tables as people have them, each with the labels that it must have."""

import decimal
import gzip
import json
import uuid
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

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


def partitioned_delta(place: Place) -> dict[str, Any]:
    frame = place.spark.createDataFrame([(*row, "x") for row in PAIR], f"{TEXTS}, dt STRING")
    frame.write.format("delta").partitionBy("dt").save(str(place.file))
    return {"location": str(place.file), **BODY}


def _orc(place: Place) -> dict[str, Any]:
    place.spark.createDataFrame(PAIR, TEXTS).write.orc(str(place.file))
    return {"location": str(place.file), **BODY}


def with_stray(place: Place, **settings: Any) -> dict[str, Any]:
    place.parquet(ROWS, "posts/part-0.parquet")
    place.write("posts/notes.txt", "not a table")
    return {"location": str(place.file), **BODY, **settings}


def nested(place: Place, **settings: Any) -> dict[str, Any]:
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
    "a Delta table with partitions": Shape(partitioned_delta, AB),
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
        lambda p: with_stray(p, format="parquet", options={"pathGlobFilter": "*.parquet"}), AB
    ),
    "folders in folders": Shape(lambda p: nested(p, options={"recursiveFileLookup": "true"}), AB),
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
