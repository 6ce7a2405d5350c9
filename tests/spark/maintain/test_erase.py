"""Erasure: the requested ids are gone from every table and, after VACUUM, from every file."""

import json
import time
from pathlib import Path

import duckdb
import pytest

from safeguard_spark.cli.app import run_command
from safeguard_spark.spark.maintain.erase import RETENTION_CHECK, Erasure, erase_contents
from safeguard_spark.spark.maintain.files import bloom_filters, optimize_tables
from safeguard_spark.spark.staging import Driver, Staging
from tests.build import posts
from tests.spark.lake import Lake
from tests.staged import manifest

pytestmark = pytest.mark.spark


def contents() -> list[tuple[str, str]]:
    return [
        *posts(40),
        ("secret-1", "a replica, canary alpha"), ("secret-2", "zzgarbage canary beta"), ("copy-1", "a rifle, copied"),
        ("copy-2", "a rifle, copied"),
    ]  # fmt: skip


def erase(lake: Lake, *ids: str, vacuum: bool = False) -> Erasure:
    return erase_contents(lake.spark, lake.config(), ids, vacuum=vacuum)


def files_with(folder: Path, text: str) -> list[str]:
    """Files whose bytes contain a text. Compressed Parquet pages would hide it, so these tests write none."""
    return [str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and text.encode() in p.read_bytes()]


@pytest.fixture
def plain(lake: Lake) -> Lake:
    """A lake with uncompressed files, so that their bytes can be searched for texts."""
    lake.spark.conf.set("spark.sql.parquet.compression.codec", "none")
    lake.write(contents())
    lake.label()
    lake.spark.conf.unset("spark.sql.parquet.compression.codec")
    return lake


def test_an_erased_id_is_gone_from_tables_and_files_and_the_others_are_not(plain: Lake) -> None:
    labels = plain.read("labels").where("content_id LIKE 'secret-%'").select("work_key").collect()
    keys = {row.work_key for row in labels}
    assert len(keys) == 2 and files_with(plain.tables, "secret-1") and files_with(plain.tables, "nothing of use")
    result = erase(plain, "secret-1", "secret-2", "unknown", vacuum=True)
    assert (result.ids, result.found, result.rows["labels"], result.rows["reasoning"], result.shared) == (3, 2, 2, 3, 0)
    assert result.vacuumed and result.status.exit_code == 0
    assert plain.read("labels").count() == 42 and plain.read("reasoning").count() == 41
    assert not plain.read("reasoning").where(f"work_key IN {tuple(keys)}").count()
    # Neither the id, nor the model's answer, nor the work key: not in data, not in the tables' own logs.
    for text in ("secret-1", "secret-2", "nothing of use", *keys):
        assert not files_with(plain.tables, text), text
    assert files_with(plain.tables, "copy-1")
    assert plain.spark.conf.get(RETENTION_CHECK, "true") == "true"
    assert plain.label().pending == 2  # they are still in the source


@pytest.mark.slow
def test_reasoning_is_erased_with_the_last_id_of_its_content(plain: Lake) -> None:
    first = erase(plain, "copy-1")
    assert (first.rows["labels"], first.rows["reasoning"], first.shared) == (1, 0, 1)
    last = erase(plain, "copy-2")
    assert (last.rows["labels"], last.rows["reasoning"], last.shared) == (1, 1, 0)
    again = erase(plain, "copy-1", "copy-2")
    assert (again.found, set(again.rows.values()), again.status.exit_code) == (0, {0}, 0)


@pytest.mark.slow
def test_without_vacuum_the_files_stay_and_the_history_contains_no_id(plain: Lake) -> None:
    result = erase(plain, "secret-1")
    assert not result.vacuumed and files_with(plain.tables, "secret-1")
    history = plain.spark.sql(f"DESCRIBE HISTORY delta.`{plain.tables}/labels`").drop("timestamp").collect()
    assert "secret-1" not in str(history) and "erased_ids" in str(history)


@pytest.mark.slow
def test_during_a_run_nothing_is_vacuumed_and_the_command_has_to_be_repeated(plain: Lake) -> None:
    staging = Staging(plain.spark, str(plain.tables / "_staging"))
    staging.touch("another", "alive")
    driver = Driver.this_process().model_copy(update={"machine": "elsewhere"})
    staging.write(manifest(driver), "another")
    result = erase(plain, "secret-1", vacuum=True)
    assert (result.under_way, result.status.exit_code, result.vacuumed, result.rows["labels"]) == (
        ("another",),
        6,
        False,
        1,
    )
    staging.clear("another")
    assert erase(plain, "secret-1", vacuum=True).vacuumed
    assert not files_with(plain.tables, "secret-1")


@pytest.mark.slow
def test_the_command_reports_what_it_erased(plain: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    listed = plain.folder / "ids"
    listed.write_text("secret-2\n\np1\n")
    (plain.folder / "conf.yaml").write_text("engine: {kind: scripted}\n")
    command = ["maintain", "erase", "--config", str(plain.folder / "conf.yaml"), "--output", str(plain.tables)]
    assert run_command([*command, "--ids", "secret-1,p0", "--ids-file", str(listed), "--vacuum", "--json"]) == 0
    printed = capsys.readouterr()
    # One answer could not be read, and had a second look.
    assert json.loads(printed.out.splitlines()[-1])["rows"] == {
        "reasoning": 5, "labels": 4, "review_items": 0, "decisions": 0, "gold": 0,
    }  # fmt: skip
    assert "4 ids requested, 4 with labels" in printed.err and "labelled again" in printed.err
    assert "secret" not in printed.err
    assert run_command(command) == 2 and "--ids" in capsys.readouterr().err
    assert run_command([*command[:-1], str(plain.folder / "nowhere"), "--ids", "x"]) == 4
    assert "There are no label tables" in capsys.readouterr().err
    assert not (plain.folder / "nowhere").exists()


@pytest.mark.slow
def test_optimizing_changes_no_row_and_labelling_still_works(plain: Lake) -> None:
    plain.write([("new", "a table, newer")])
    plain.label()
    before = sorted(map(str, plain.read("labels").collect()))
    assert optimize_tables(plain.spark, plain.config())["labels"] >= 2
    assert sorted(map(str, plain.read("labels").collect())) == before
    plain.write([("newest", "a table, newest")])
    time.sleep(0.1)
    assert plain.label().written == 1


@pytest.mark.slow
def test_compacted_files_say_which_keys_they_do_not_have(plain: Lake) -> None:
    keys = plain.spark.range(50_000).selectExpr("sha2(cast(id AS STRING), 256) AS work_key", "uuid() AS run_id")
    with bloom_filters(plain.spark, ["work_key"]):  # a file with few values has a dictionary in place of the filter
        keys.coalesce(1).write.parquet(str(plain.folder / "with"))
    keys.coalesce(1).write.parquet(str(plain.folder / "without"))
    for name, columns in (("with", [("work_key",)]), ("without", [])):
        metadata = f"parquet_metadata('{plain.folder / name}/*.parquet')"
        found = duckdb.sql(f"SELECT DISTINCT path_in_schema FROM {metadata} WHERE bloom_filter_length > 0").fetchall()
        assert found == columns
