"""A pack that `export-pack` writes is read back by `import` as the policy it was made of, or says what is not."""

import csv
from pathlib import Path

import pytest

from safeguard_spark.authoring.cases import Case, CaseTurn, cases_path, load_cases
from safeguard_spark.authoring.packs.export import HEADER, export_pack, write_pack
from safeguard_spark.authoring.packs.pack import read_pack, write_packs
from safeguard_spark.policy.document import Policy, load_policy, parse_policy
from tests.unit.commands import Safeguard
from tools.rooms import ROOT

pytestmark = pytest.mark.unit
SHIPPED = sorted((ROOT / "policies").glob("*/*/policy.md"))


def as_read(policy: Policy, cases: tuple[Case, ...]) -> tuple[object, ...]:
    """What a pack holds of a policy and its cases."""
    rules = [(rule.id, rule.category, rule.title) for rule in policy.rules]
    expected = sorted((case.content_hash, str(case.violation), sorted(case.rules)) for case in cases)
    return policy.policy_hash, rules, expected


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: "@".join(file.parts[-3:-1]))
def test_a_shipped_policy_survives_or_says_what_does_not(file: Path, tmp_path: Path) -> None:
    policy, cases = load_policy(file), load_cases(cases_path(file))
    pack = export_pack(policy, cases)
    (tmp_path / "policy.md").write_text(pack.text)
    (tmp_path / "set.csv").write_text(pack.golden)
    (read,) = read_pack(tmp_path, name=policy.name)
    told = [line for line in pack.lost if "a pack has no place" not in line]
    assert (as_read(read.policy, read.cases) == as_read(policy, cases)) == (told == [])


PACK = """\
# Betting Policy

## Likely Bets (BT2 - Medium)
Offers a wager for money.

## Not a bet (BT0)
News about sports.

## Odds by request - requires human review (BT9)
Asks what the odds are.
"""
GOLDEN = """\
Notes on this set; made by hand
Prompt;Prompt label;Response;Response label
Ten on red?;BT2;Sure, ten on red.;BT2
Who won?;BT0;;
"What are, by chance, the odds?";BT9;;
Bet you;BT2;I do not bet.;BT0
"""


def test_a_pack_that_was_imported_is_exported_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "policy.md").write_text(PACK)
    (tmp_path / "golden.csv").write_text(GOLDEN)
    (first,) = read_pack(tmp_path, name="bets")
    assert len(first.cases) == 6 and first.lost == ()
    pack = export_pack(first.policy, first.cases)
    assert (pack.text, pack.lost) == (PACK, ())
    rows = list(csv.reader(pack.golden.splitlines()))
    assert tuple(rows[1]) == HEADER
    assert [row for row in rows[2:] if row[0] == "Ten on red?"] == [["Ten on red?", "BT2", "Sure, ten on red.", "BT2"]]
    (file,) = write_packs([first], tmp_path / "policies")
    assert load_policy(file).policy_hash == first.policy.policy_hash


def test_what_a_reader_of_the_pack_could_not_know_is_listed() -> None:
    policy = load_policy(ROOT / "policies/spam/1.1.0/policy.md")
    odd = Case(
        id="three-turns",
        conversation=tuple(CaseTurn(role=role, text=f"{role} speaks") for role in ("user", "tool", "user")),
        violation=True,
        rules=("SP2",),
        why="",
    )
    pack = export_pack(policy.model_copy(update={"allowed": ("SP0",)}), [odd])
    (no_place, allowed) = pack.lost
    assert no_place == (
        "owner, description, labeler, languages, severities, ids of cases: a pack has no place for them"
    )
    assert allowed == "allowed is imported without SP0: the text does not say that it means safe content"
    reason = export_pack(policy, [odd.model_copy(update={"id": "row-7", "why": "Because."})]).lost[0]
    assert "severities, reasons of cases (why): a pack" in reason
    alone = export_pack(policy.model_copy(update={"body": "Answer 1 or 0."}), ())
    assert alone.golden == "" and "rule SP1 is not found in the text" in alone.lost


TALKS = """\
---
name: talks
version: 1.0.0
description: Imported from elsewhere.
output: full
rules:
  - {{id: TA1, category: insults, title: Insults}}
  - {{id: TA2, category: threats, title: Threats}}
review: [Escalate]
---
# Talks
{}
## Insults (TA1)
Names.

## Threats (TA2)
Harm.
"""
ASKS = "Answer VIOLATES if a rule is broken, SAFE if none is, ESCALATE if you are in doubt.\n"


def test_cases_for_a_person_are_lost_and_named_if_the_text_has_no_such_answer(safeguard: Safeguard) -> None:
    cases = (
        Case(id="row-3", text="You fool", violation=True, rules=("TA1",), why=""),
        Case(id="row-4", text="A novel with a threat", violation="review", why=""),
        Case(id="row-5", text="Hello", violation=False, why=""),
    )
    silent = export_pack(parse_policy(TALKS.format("")), cases)
    assert silent.lost == (
        "1 of 3 cases are not imported: a person must decide them, which is no answer of the text: row-4",
        "review is imported without Escalate: the text does not say that it means what a person must decide",
        "the text is imported with an answer format before and after it",
    )
    write_pack(silent, "talks", Path("pack"))
    refused = safeguard("import", "pack", "--name", "theirs", "--strict")
    assert refused.code == 6 and not Path("policies").exists()
    assert "LOST talks.csv: 1 row (4) that a person must decide, which is no answer that the text asks" in refused.out
    assert safeguard("import", "pack", "--name", "theirs").code == safeguard("check", "theirs").code == 0
    asked = export_pack(parse_policy(TALKS.format(ASKS).replace("Escalate", "ESCALATE")), cases)
    assert not any("person" in line for line in asked.lost)
    Path("other").mkdir()
    write_pack(asked, "talks", Path("other/pack"))
    (read,) = read_pack(Path("other/pack"), name="talks")
    assert [case.violation for case in read.cases] == [True, "review", False]


def test_the_command_writes_two_files_and_overwrites_none(safeguard: Safeguard) -> None:
    assert safeguard("new", "ours", "--from", "threats").code == 0
    done = safeguard("export-pack", "ours@1.0.0", "pack")
    assert done.code == 0 and done.out.startswith("Wrote pack/policy.md and pack/ours.csv.\n  LOST owner"), done
    again = safeguard("export-pack", "ours", "pack")
    assert (again.code, again.err) == (3, "Error: pack/policy.md already exists. Name another folder.\n")
    assert safeguard("import", "pack", "--name", "theirs").code == 0
    assert Path("policies/theirs/1.0.0/cases.yaml").read_text().count("- id:") == len(
        load_cases(Path("policies/ours/1.0.0/cases.yaml"))
    )
