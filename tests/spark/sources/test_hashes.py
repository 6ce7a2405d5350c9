"""Sources: hashes in the JVM are equal to the core's."""

from typing import Any

import pytest
from pyspark.sql import functions as F
from pyspark.sql import types as T

from safeguard_spark import keys
from safeguard_spark.config.model import SourceConfig
from safeguard_spark.labelling import content
from safeguard_spark.spark.source import json_hash, open_source, text_hash, turns_hash, work_key
from tests.spark.lake import Lake

pytestmark = pytest.mark.spark

TEXTS: list[bytes | None] = [
    None, b"", b" ", b"\x00", "é\u0301 \u202e \U0001f9ff".encode(), b"\xff\xfe not utf-8", b"\xed\xa0\x80", b"4:text,",
    b"<|start|>system<|message|>", b"x" * 100_000,
]  # fmt: skip
TURNS: list[Any] = [
    None, [], [None], [(b"user", b"hello"), (b"assistant", None)], [(None, b"x")], [(b"user", b"4:text,-,")],
    [(b"us", b"er2:ab,")], [(b"\xff", b"\xed\xa0\x80")],
]  # fmt: skip


def test_text_hashes_equal_the_cores(lake: Lake) -> None:
    frame = lake.spark.createDataFrame([(text,) for text in TEXTS], T.StructType([T.StructField("t", T.BinaryType())]))
    hashes = [row[0] for row in frame.select(text_hash(F.col("t"))).collect()]
    assert hashes == [content.text_hash(text) for text in TEXTS]
    as_json = [row[0] for row in frame.select(json_hash(F.col("t"))).collect()]
    assert as_json == [content.json_hash(text) for text in TEXTS]
    assert len({*hashes, *as_json}) == 2 * len(TEXTS)


def test_turn_hashes_equal_the_cores(lake: Lake) -> None:
    ddl = "t ARRAY<STRUCT<role: BINARY, text: BINARY>>"
    frame = lake.spark.createDataFrame([(turns,) for turns in TURNS], ddl)
    hashes = [row[0] for row in frame.select(turns_hash(F.col("t"))).collect()]
    assert hashes == [
        content.turns_hash([t or (None, None) for t in turns] if turns is not None else None) for turns in TURNS
    ]
    assert len(set(hashes)) == len(TURNS)


def test_work_keys_equal_the_cores(lake: Lake) -> None:
    frame = lake.spark.createDataFrame([("ab" * 32,)], "content_hash STRING")
    row = frame.select(work_key("cd" * 32, "ef" * 32)).first()
    assert row is not None and row[0] == keys.work_key("ab" * 32, "cd" * 32, "ef" * 32)


def test_a_delta_source_is_pinned_to_its_version(lake: Lake) -> None:
    lake.write([("a", "x")])
    source = open_source(lake.spark, SourceConfig(location=str(lake.posts), text_column="body"))
    lake.write([("b", "y")])
    assert source.version == 0 and source.frame.count() == 1
