"""The manifests that ship: readable, without data that is not ours, and right about the files that are here."""

import subprocess
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa
import pytest

from safeguard_spark.authoring.cases import cases_path
from safeguard_spark.demo import content
from safeguard_spark.evaluation.set_files import read_rows
from safeguard_spark.evaluation.sets import FileFormat, GoldenSet, find_set, set_versions, verify_file
from safeguard_spark.policy.ref import locate_policy, policy_names
from tools.rooms import ROOT

pytestmark = pytest.mark.unit

SETS, PUBLIC_DATA = ROOT / "sets", ROOT.parent / "shared" / "data"
REFS = [f"{name}@{version}" for name, versions in set_versions(SETS).items() for version in versions]
OURS = [ref for ref in REFS if "-cases@" in ref]


class Answers(NamedTuple):
    """How many contents of a set violate a policy, do not, or are unknown."""

    positive: int
    negative: int
    unknown: int


def answers(golden_set: GoldenSet, data: Path) -> dict[str, Answers]:
    """The answers of every policy in the mapping, over all rows. The SQL here means the same in DuckDB and Spark."""
    assert golden_set.manifest.file_format is not None
    contents = pa.Table.from_pylist(read_rows(data, golden_set.manifest.file_format))
    assert contents.num_rows
    counts = {}
    for policy, expression in golden_set.manifest.mapping.items():
        query = f"""SELECT count(*) FILTER (gold), count(*) FILTER (NOT gold), count(*) FILTER (gold IS NULL)
            FROM (SELECT CAST({expression} AS BOOLEAN) AS gold FROM contents)"""
        counts[policy] = Answers(*duckdb.sql(query).fetchall()[0])
    return counts


@pytest.mark.parametrize("ref", REFS)
def test_a_shipped_manifest_is_complete(ref: str) -> None:
    manifest = find_set(ref, SETS).manifest
    assert manifest.description and manifest.contamination
    assert manifest.download or "policies/" in manifest.location
    assert "://" not in (manifest.download or "") and "http" not in manifest.description
    if manifest.pairs_with:
        find_set(manifest.pairs_with, SETS)


def test_no_data_ships_with_the_manifests() -> None:
    listed = subprocess.run(("git", "ls-files", "sets"), cwd=ROOT, capture_output=True, text=True, check=True)
    assert {Path(name).name for name in listed.stdout.split()} == {"set.yaml"}


def test_the_cases_of_the_newest_version_of_every_policy_are_a_set() -> None:
    policies = [locate_policy(name, ROOT / "policies") for name in policy_names(ROOT / "policies")]
    newest = {str(cases_path(file)) for file in policies}
    assert len(newest) == len(OURS) == 10
    assert {str(find_set(ref, SETS).data_file()) for ref in OURS} == newest


@pytest.mark.parametrize("ref", OURS)
def test_the_cases_of_a_policy_show_both_sides(ref: str) -> None:
    golden_set = find_set(ref, SETS)
    ((policy, counts),) = answers(golden_set, golden_set.data_file()).items()
    assert ref == f"{policy}-cases@{golden_set.manifest.version}"
    assert counts.positive >= 8 and counts.negative >= 8 and counts.unknown == 0


def test_the_demos_answers_are_a_set_of_the_rows_that_it_makes(tmp_path: Path) -> None:
    manifest = find_set("demo-posts@1", SETS).manifest
    rows = read_rows(content.write(tmp_path / "posts.parquet", count=400), FileFormat.parquet)
    columns = {manifest.id_column, str(manifest.conversation_column), *manifest.mapping.values(), *manifest.slices}
    assert columns <= set(rows[0]) and manifest.file_format is None
    assert 50 < sum(row[manifest.mapping["marketplace"]] for row in rows) < 200


@pytest.mark.skipif(not PUBLIC_DATA.is_dir(), reason="the public sets are not here")
def test_openai_moderation_has_522_positives_and_unknown_categories() -> None:
    golden_set = find_set("openai-moderation@2022", SETS)
    data = PUBLIC_DATA / "openai-moderation-2022.jsonl.gz"
    verify_file(golden_set.manifest, data)
    counts = answers(golden_set, data)
    assert counts["moderation"] == Answers(522, 1_158, 0)
    assert counts["hate"] == Answers(162, 609, 909) and counts["violence-graphic"] == Answers(24, 1_423, 233)
    assert all(sum(count) == 1_680 for count in counts.values()) and len(counts) == 9


@pytest.mark.skipif(not PUBLIC_DATA.is_dir(), reason="the public sets are not here")
def test_hatecheck_has_29_functionalities() -> None:
    golden_set = find_set("hatecheck@2021", SETS)
    data = PUBLIC_DATA / "hatecheck.csv"
    verify_file(golden_set.manifest, data)
    assert answers(golden_set, data) == {"hate": Answers(2_563, 1_165, 0)}
    assert golden_set.manifest.file_format is not None
    rows = read_rows(data, golden_set.manifest.file_format)
    assert len({row["functionality"] for row in rows}) == 29
    assert len({row[golden_set.manifest.id_column] for row in rows}) == len(rows) == 3_728


@pytest.mark.skipif(not PUBLIC_DATA.is_dir(), reason="the public sets are not here")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("age-restricted-goods-and-services", Answers(30, 38, 0)),
        ("dangerous-content", Answers(47, 35, 0)),
        ("graphic-violent-content", Answers(23, 15, 0)),
    ],
)
def test_the_teen_safety_packs_have_two_items_in_a_row(name: str, expected: Answers) -> None:
    golden_set = find_set(f"teen-{name}", SETS)
    data = PUBLIC_DATA / "policies/roost-teen-safety/datasets" / f"{name}.csv"
    verify_file(golden_set.manifest, data)
    assert answers(golden_set, data) == {name: expected}
