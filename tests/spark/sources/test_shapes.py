"""Every shape of source is labelled right or refused in one sentence; no row is merged or lost, and none exits 1."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import reduce
from typing import Any

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from safeguard_spark import api, schema
from safeguard_spark.cli.app import run_command
from safeguard_spark.config.model import SourceConfig
from safeguard_spark.errors import ConfigError, ExitCode, SafeguardError
from safeguard_spark.spark.label.job import label_table
from safeguard_spark.spark.label.run import Selection
from safeguard_spark.spark.source import Source, open_source
from tests.build import policy_text
from tests.spark.lake import Lake, policy
from tests.spark.sources.refused_shapes import REFUSED
from tests.spark.sources.shapes import READABLE, Place
from tools import rooms

pytestmark = pytest.mark.spark

SEPARATOR = " | "


@pytest.fixture(scope="module")
def labelled(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All readable shapes, labelled by one run for each way in which contents are staged; their labels by shape.

    An error of a shape is in place of its labels.
    """
    root = tmp_path_factory.mktemp("shapes")
    lake = Lake(spark, root, tmp_path_factory.getbasetemp() / "empty-tables")
    lake.create()
    sources: dict[str, list[Source]] = {}
    result: dict[str, Any] = {}
    for number, (name, shape) in enumerate(READABLE.items()):
        (folder := root / str(number)).mkdir()
        try:
            source = open_source(spark, SourceConfig(**shape.make(Place(spark, folder))))
        except Exception as error:
            result[name] = error
            continue
        result[name] = []
        named = F.concat(F.lit(name + SEPARATOR), "content_id").alias("content_id")
        frame = source.frame.select(named, "content_hash", source.payload)
        sources.setdefault(source.payload, []).append(replace(source, frame=frame))
    for some in sources.values():
        union = reduce(lambda one, two: one.unionByName(two), [source.frame for source in some])
        label_table(spark, lake.config(), [policy()], show=False, selection=Selection(replace(some[0], frame=union)))
    result["tables"] = lake.tables
    for row in DeltaTable(lake.tables / "labels").to_pyarrow_table().to_pylist():
        name, _, content_id = row["content_id"].partition(SEPARATOR)
        verdict = row["violation"] if row["outcome"] == "labelled" else row["outcome"]
        result[name].append((content_id, verdict))
    return result


@pytest.mark.parametrize("name", READABLE)
def test_every_row_of_a_readable_source_is_labelled_right(labelled: dict[str, Any], name: str) -> None:
    if isinstance(labelled[name], Exception):
        raise labelled[name]
    assert Counter(labelled[name]) == Counter(READABLE[name].labels.items())


def test_other_programs_read_the_labels(labelled: dict[str, Any]) -> None:
    folder = str(labelled["tables"] / "labels")
    rows = sum(len(shape.labels) for shape in READABLE.values())
    frame = pl.scan_delta(folder).select("content_id", "violation").collect()
    assert frame.height == rows and frame["content_id"].n_unique() == rows
    counted = duckdb.sql(f"SELECT count(DISTINCT content_id) FROM '{folder}/*.parquet'").fetchall()
    assert counted == [(rows,)]
    for table in schema.TABLES:
        delta = DeltaTable(labelled["tables"] / table.name)
        assert delta.protocol().min_reader_version == 1
        counts = [
            delta.to_pyarrow_table().num_rows,
            pl.scan_delta(delta.table_uri).collect().height,
            duckdb.from_arrow(delta.to_pyarrow_dataset()).count("*").fetchall()[0][0],
            duckdb.read_parquet(delta.file_uris()).count("*").fetchall()[0][0] if delta.file_uris() else 0,
        ]
        has_rows = table in (
            schema.LABELS, schema.REASONING, schema.RUNS, schema.ACTIVATIONS, schema.POLICIES, schema.POLICY_RULES,
        )  # fmt: skip
        assert len(set(counts)) == 1 and bool(counts[0]) is has_rows, table.name


@pytest.fixture(scope="module")
def refused(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Exception | None]:
    """What a dry run raises for each shape that is refused."""
    raised: dict[str, Exception | None] = {}
    for name, refusal in REFUSED.items():
        folder = tmp_path_factory.mktemp("refused")
        settings = refusal.make(Place(spark, folder))
        sections = {"output": str(folder / "labels"), **settings.pop("sections", {})}
        try:
            api.dry_run(
                Lake(spark, folder).config(source={"text_column": None, **settings}, **sections), policy(), spark=spark
            )
            raised[name] = None
        except Exception as error:
            raised[name] = error
        assert not (folder / "labels").exists()
    return raised


@pytest.mark.parametrize("name", REFUSED)
def test_any_other_source_is_refused_in_one_sentence(refused: dict[str, Exception | None], name: str) -> None:
    error = refused[name]
    if not isinstance(error, SafeguardError):
        raise error or AssertionError("it is not refused")
    sentence = str(error)
    assert error.exit_code is ExitCode.table, sentence
    assert re.search(REFUSED[name].sentence, sentence) and "\n" not in sentence and "secret" not in sentence, sentence


def test_the_page_quotes_every_refusal(refused: dict[str, Exception | None]) -> None:
    page = (rooms.ROOT / "docs/sources.md").read_text(encoding="utf-8").partition("## What is refused")[2]
    quoted = [
        line.split(" | ", 1)[1].removesuffix(" |").strip("`") for line in page.splitlines() if line.startswith("| ")
    ]
    patterns = [".*".join(map(re.escape, quote.split("…"))) for quote in quoted[1:]]
    sentences = [str(error) for error in refused.values()]
    unquoted = [text for text in sentences if not any(re.fullmatch(pattern, text) for pattern in patterns)]
    unused = [pattern for pattern in patterns if not any(re.fullmatch(pattern, text) for text in sentences)]
    assert not unquoted and not unused


@pytest.fixture
def case_sensitive(spark: SparkSession) -> Iterator[None]:
    """Spark with names in which case counts."""
    spark.conf.set("spark.sql.caseSensitive", "true")
    yield
    spark.conf.unset("spark.sql.caseSensitive")


@pytest.mark.usefixtures("case_sensitive")
def test_columns_that_differ_in_case_only_are_read_where_case_counts(lake: Lake) -> None:
    settings = Place(lake.spark, lake.folder).parquet({"id": ["a"], "ID": ["b"], "body": ["x"], "Body": ["y"]})
    source = open_source(lake.spark, SourceConfig(**settings, id_column="ID", text_column="Body"))
    assert [(row["content_id"], bytes(row["text"])) for row in source.frame.collect()] == [("b", b"y")]


@pytest.mark.slow
def test_all_contents_of_an_id_are_labelled_if_the_configuration_says_so(lake: Lake) -> None:
    lake.write([("a", "a replica"), ("a", "a teapot"), ("b", "tea")])
    source = {"duplicate_ids": "all"}
    assert lake.label(source=source).exit_code == ExitCode.complete
    assert lake.label(source=source).pending == 0
    rows = lake.read("labels").select("content_id", "violation").collect()
    assert sorted(map(tuple, rows)) == [("a", False), ("a", True), ("b", False)]
    lake.calls()
    with pytest.raises(SafeguardError, match=r"Number of ids with several contents in .*: 1\. Name"):
        lake.label()  # also when every content has its label
    assert lake.calls() == 0


def test_a_first_run_on_several_contents_under_one_id_writes_nothing(lake: Lake) -> None:
    lake.write([("a", "a replica"), ("a", "a teapot"), ("b", "tea")])
    with pytest.raises(SafeguardError, match=r"Number of ids with several contents in .*: 1\. Name"):
        lake.label()
    assert lake.read("labels").count() == 0 and lake.calls() == 0
    assert not list((lake.tables / "_staging").glob("*/0"))


def test_a_table_of_the_schema_that_gets_the_labels_is_a_source(lake: Lake) -> None:
    lake.spark.sql("CREATE SCHEMA IF NOT EXISTS shop")
    lake.spark.sql("CREATE OR REPLACE TABLE shop.posts USING delta AS SELECT 'a' id, 'a replica' body")
    assert api.dry_run(
        lake.config(source={"location": "shop.posts"}, output="shop"), policy(), spark=lake.spark
    ).pending


@pytest.mark.parametrize("is_view", [True, False], ids=["a view", "an expression"])
def test_no_error_of_sparks_prints_a_content(lake: Lake, capfd: pytest.CaptureFixture[str], is_view: bool) -> None:
    lake.write([("a", "canary words")])
    failing = "cast(cast(body AS INT) AS STRING)"
    lake.spark.sql(
        f"CREATE OR REPLACE TEMPORARY VIEW failing AS SELECT id, {failing} AS text FROM delta.`{lake.posts}`"
    )
    (lake.folder / "conf.yaml").write_text("engine: {kind: scripted}\ntracking: {enabled: false}\n")
    (lake.folder / "policy.md").write_text(policy_text())
    source, column = ("failing", "text") if is_view else (str(lake.posts), failing)
    code = run_command([
        "label", "--config", str(lake.folder / "conf.yaml"), "--source", source, "--text-column", column,
        "--policy", str(lake.folder / "policy.md"), "--output", str(lake.tables),
    ])  # fmt: skip
    printed = capfd.readouterr()
    assert code == ExitCode.table and "CAST_INVALID_INPUT" in printed.err
    assert "canary" not in printed.out + printed.err


def test_both_kinds_of_content_column_at_once_are_a_wrong_configuration(lake: Lake) -> None:
    with pytest.raises(ConfigError, match="not both"):
        lake.config(source={"conversation_column": "turns"})
