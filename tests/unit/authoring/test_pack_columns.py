"""Columns and entries of a pack's golden set, on the command line and for programs."""

import json
from pathlib import Path
from typing import Any

import pytest

from safeguard_spark.authoring.packs.pack import read_pack
from tests.unit.commands import Safeguard

pytestmark = pytest.mark.unit


def options(**columns: Any) -> list[str]:
    return [word for name, value in columns.items() for word in (f"--{name}-column", value)]


def test_a_strict_import_that_loses_nothing_writes_and_one_that_does_says_so_to_programs(safeguard: Safeguard) -> None:
    Path("bets.txt").write_text("# Bets\n## Odds (BT1 - high)\nNo.\n")
    Path("set.csv").write_text("text,label\nTen on red,BT1\nMaybe,BT7\n")
    for _ in range(2):
        ran = safeguard("import", "bets.txt", "--golden", "set.csv", "--strict", "--json")
        value = json.loads(ran.out)
        assert (ran.code, value["file"], value["check"]["errors"], len(value["lost"])) == (6, None, 0, 1)
    assert not Path("policies").exists()
    Path("set.csv").write_text("text,label\nTen on red,BT1\n")
    ran = safeguard("import", "bets.txt", "--golden", "set.csv", "--strict", "--json")
    assert (ran.code, json.loads(ran.out)["file"]) == (0, "policies/bets/1.0.0/policy.md")


@pytest.mark.parametrize(
    ("entries", "lost"),
    [
        ('["read me", {"text": "Ten on red", "label": "BT1"}, [1, 2], {"text": "Hi"}]', ("2 rows (2, 4)", "1 row (5)")),
        ('{"text": "Ten on red", "label": "BT1"}\nnull\n{"text": "Hi"}\n', ("1 row (3)", "1 row (4)")),
    ],
    ids=["array", "lines"],
)
def test_entries_of_json_that_are_no_objects_are_listed_by_their_row(
    tmp_path: Path, entries: str, lost: tuple[str, str]
) -> None:
    (tmp_path / "bets.txt").write_text("# Bets\n## Odds (BT1 - high)\nNo.\n")
    (tmp_path / "set.json").write_text(entries)
    (imported,) = read_pack(tmp_path / "bets.txt", golden=tmp_path / "set.json")
    assert [case.text for case in imported.cases] == ["Ten on red"]
    others, unlabelled = lost
    assert f"set.json: {others} that are no JSON objects; skipped" in imported.lost
    assert f"set.json: {unlabelled} without a label of the policy (no label); skipped" in imported.lost


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (("--text-column", "Postt"), "no column Postt (--text-column); did you mean post? Its columns: post, verdict"),
        (("--label-column", "zzz"), "set.csv has no column zzz (--label-column). Its columns: post, verdict, n."),
        (("--text-column", "q", "--label-column", "r"), "no column q (--text-column) and no column r (--label-column)"),
    ],
)
@pytest.mark.parametrize("text", ["post,verdict,n\nTen on red,BT1,1\n", '[{"post": "Ten", "verdict": "BT1", "n": 1}]'])
def test_a_named_column_that_is_not_there_is_an_error_that_names_those_there_are(
    safeguard: Safeguard, named: tuple[str, ...], message: str, text: str
) -> None:
    Path("bets.txt").write_text("# Bets\n## Odds (BT1 - high)\nNo.\n")
    Path("set.csv").write_text(text)
    ran = safeguard("import", "bets.txt", "--golden", "set.csv", *named)
    assert (ran.code, message in ran.err, Path("policies").exists()) == (3, True, False), ran.err
    assert "add --golden" in safeguard("import", "bets.txt", *named).err
    assert not Path("policies").exists()


def test_columns_of_a_golden_set_can_be_named_on_the_command_line(safeguard: Safeguard) -> None:
    Path("bets.txt").write_text("# Bets\n## Odds (BT1 - high)\n## Allowed talk (BT0 - none)\n")
    Path("set.csv").write_text("q1,q2,q3\nWho wins?,BT0,no\nTen on red,BT1,yes\n")
    ran = safeguard("import", "bets.txt", "--golden", "set.csv", "--strict")
    assert (ran.code, "--text-column and --label-column" in ran.out) == (6, True)
    named = options(text="q1", label="q2")
    ran = safeguard("import", "bets.txt", "--golden", "set.csv", "--strict", "--version", "1.0.1", *named)
    assert ran.code == 0 and '2 cases from set.csv: text in "q1" with label in "q2"; not used: q3' in ran.out
