"""What people decided leaves the console: as gold, as drafts of cases, as answers to appeals."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from safeguard_spark.authoring.cases import load_cases
from safeguard_spark.config.load import build_config
from safeguard_spark.errors import ConfigError
from safeguard_spark.review.export import Exported, Target, export_decisions
from safeguard_spark.schema import GOLD
from tests.unit.commands import Safeguard
from tests.unit.review.world import FLAGGED, POLICY, START, World

pytestmark = pytest.mark.unit

APPEALED = datetime.fromtimestamp(START, UTC)


def export(world: World, target: Target, policy: str | None = None) -> Exported:
    return export_decisions(build_config(world.config()), target, policy)


@pytest.fixture
def decided(world: World) -> World:
    """A false alarm, a miss, a right label, a gap, a conversation, an appeal, and one that nobody has judged."""
    world.draw("a fake replica", **FLAGGED)
    world.draw("hidden rifle", "a table", "a gap")
    turns = [["user", "Is it real?"], [None, "No, a replica"]]
    world.draw_rows([{"content": json.dumps({"turns": turns})}])
    appeal = {"purpose": "appeal", "appeal_id": "a1", "appealed_at": APPEALED, "appeal_reason": "It is real!"}
    world.draw("a real watch", **{**FLAGGED, "stratum": None}, **appeal)
    answers = {"a fake replica": "safe", "hidden rifle": "violation", "a table": "safe", "a gap": "gap"}
    with world.serving() as desk:
        ada = desk.person()
        ada.get("/queue/market")
        for _ in range(6):
            answer = answers.get(ada.content, "violation" if "real?" in ada.content else "safe")
            ada.decide(answer, *(["M2"] if answer == "violation" else []), reason="because")
            ada.next()
    world.draw("not judged")
    return world


def test_gold_has_one_row_per_decided_content_with_its_probability(decided: World) -> None:
    exported = export(decided, Target.gold)
    rows = {row["content_id"]: row for row in decided.rows(GOLD)}
    assert exported.rows == len(rows) == 5 and set(rows) == {"p0", "p1", "p2", "p4", "p5"}
    assert {id: row["violation"] for id, row in rows.items()} == {
        "p0": False, "p1": True, "p2": False, "p4": True, "p5": False,
    }  # fmt: skip
    assert (rows["p1"]["rule_ids"], rows["p1"]["model_violation"], rows["p1"]["text"]) == (
        ["M2"],
        False,
        "hidden rifle",
    )
    assert rows["p1"]["inclusion_probability"] == 0.1 and rows["p5"]["inclusion_probability"] is None
    assert rows["p4"]["text"] is None
    assert json.loads(rows["p4"]["conversation"]) == [
        {"role": "user", "text": "Is it real?"}, {"role": None, "text": "No, a replica"},
    ]  # fmt: skip
    assert export(decided, Target.gold).rows == len(decided.rows(GOLD)) == 5  # replaced, not appended


def test_cases_are_drafts_of_the_overturned_labels(decided: World) -> None:
    exported = export(decided, Target.cases)
    (file,) = map(Path, exported.files)
    cases = {case.id: case for case in load_cases(file)}
    assert exported.rows == len(cases) == 4 and file.name == "cases-market-1.0.0.yaml"
    by_text = {case.content.judged_text: case for case in cases.values()}
    assert by_text["a fake replica"].violation is False and by_text["a fake replica"].why == "because"
    assert (by_text["hidden rifle"].violation, by_text["hidden rifle"].rules) == (True, ("M2",))
    assert by_text["No, a replica"].conversation is not None
    with pytest.raises(ConfigError, match=r"--policy markets: no item is of it\. Did you mean market\?"):
        export(decided, Target.cases, "markets")
    with pytest.raises(ConfigError, match=r"--policy gifts: no item is of it\. Policies with items: market\."):
        export(decided, Target.appeals, "gifts")


def test_appeals_are_answered_as_json_lines(decided: World) -> None:
    exported = export(decided, Target.appeals)
    (file,) = map(Path, exported.files)
    (line,) = map(json.loads, file.read_text().splitlines())
    assert exported.rows == 1 and file.name == "appeals-market.jsonl" and file.stat().st_mode & 0o077 == 0
    assert {**line, "decided_at": ""} == {
        "appeal_id": "a1", "collection": "posts", "content_id": "p5", "policy": "market",
        "policy_version": POLICY.version, "appealed_at": APPEALED.isoformat(), "decided_at": "", "overturned": True,
        "violation": False, "rule_ids": [], "reason": "because",
    }  # fmt: skip


def test_what_two_people_differ_about_is_left_out_until_it_is_adjudicated(world: World) -> None:
    world.draw("a bicycle")
    people = {**world.users(ada="reviewer", ben="reviewer", ann="lead"), "second_share": 1.0}
    with world.serving(**people) as desk:
        for name, answer in (("ada", "safe"), ("ben", "violation")):
            person = desk.person(name)
            person.get("/queue/market")
            person.decide(answer, reason="r")
            person.next()
    exported = export(world, Target.gold)
    assert (exported.rows, exported.disputed, world.rows(GOLD)) == (0, 1, [])
    with world.serving(**people) as desk:
        ann = desk.person("ann")
        ann.get("/adjudication")
        ann.post("/adjudication", item_id=ann.hidden("item_id"), decision_id=ann.hidden("decision_id"),
                 answer="violation", rule=["M1"], reason="it is one")  # fmt: skip
    exported = export(world, Target.gold)
    (row,) = world.rows(GOLD)
    assert exported.disputed == 0 and (row["violation"], row["rule_ids"], row["stage"]) == (
        True,
        ["M1"],
        "adjudication",
    )


def test_the_command_says_where_the_files_are_and_never_what_is_in_them(decided: World, safeguard: Safeguard) -> None:
    config = decided.folder / "run.yaml"
    config.write_text(yaml.safe_dump(decided.config()))
    for target, words in (("gold", "5 decided contents"), ("cases", "4 overturned"), ("appeals", "1 decided appeals")):
        ran = safeguard("review", "export", "--config", str(config), "--to", target, "--json")
        assert ran.code == 0 and words in ran.err and json.loads(ran.out)["rows"] == int(words[0])
        assert "replica" not in ran.err + ran.out and "because" not in ran.err + ran.out
    assert safeguard("review", "export", "--config", str(config), "--to", "elsewhere").code == 2


def test_what_is_not_there_to_export_is_named(world: World, safeguard: Safeguard) -> None:
    world.draw("a bicycle")
    with world.serving() as desk:
        ada = desk.person()
        ada.get("/queue/market")
        ada.decide("gap")
        ada.next()
    config = world.folder / "run.yaml"
    config.write_text(yaml.safe_dump(world.config()))
    for target, words in (("gold", "No content has"), ("cases", "No label is overturned"), ("appeals", "No appeal is")):
        ran = safeguard("review", "export", "--config", str(config), "--to", target, "--policy", "market")
        assert ran.code == 0 and words in ran.err


def test_without_decisions_there_is_nothing_to_export(world: World, safeguard: Safeguard) -> None:
    config = world.folder / "run.yaml"
    config.write_text(yaml.safe_dump(world.config()))
    ran = safeguard("review", "export", "--config", str(config), "--to", "gold")
    assert ran.code == 4 and "safeguard review sample" in ran.err


def test_what_was_taken_back_leaves_the_next_export(decided: World) -> None:
    appealed_without_a_time = {"purpose": "appeal", "appeal_id": "a2", "appeal_reason": "r"}
    decided.draw("no time", **appealed_without_a_time)
    with decided.serving() as desk:
        ada = desk.person()
        ada.get("/queue/market")
        ada.decide("safe", reason="r")
    (file,) = map(Path, export(decided, Target.appeals).files)
    assert [json.loads(line)["appealed_at"] for line in file.read_text().splitlines()] == [APPEALED.isoformat(), None]
    assert export(decided, Target.gold).rows == 6 and export(decided, Target.cases).files
    with decided.serving() as desk:
        ada = desk.person()
        ada.get("/queue/market")
        for _ in range(7):
            ada.undo()
    assert export(decided, Target.gold).rows == len(decided.rows(GOLD)) == 0
    for target in (Target.cases, Target.appeals):
        assert export(decided, target).files == () and not list(file.parent.glob(f"{target}*"))


def test_what_was_taken_back_leaves_the_next_export_of_its_policy_and_other_policies_keep_theirs(
    decided: World,
) -> None:
    (appeals,) = map(Path, export(decided, Target.appeals, "market").files)
    (cases,) = map(Path, export(decided, Target.cases, "market").files)
    others = [appeals.with_name("appeals-market-2.jsonl"), cases.with_name("cases-market-2-1.0.0.yaml")]
    older = cases.with_name("cases-market-0.9.0.yaml")
    for file in (*others, older):
        file.write_text("")
    with decided.serving() as desk:
        ada = desk.person()
        ada.get("/queue/market")
        for _ in range(6):
            ada.undo()
    for target in (Target.appeals, Target.cases):
        assert export(decided, target, "market").files == ()
    assert sorted(appeals.parent.iterdir()) == sorted(others)


def test_exports_that_cannot_be_written_are_refused_in_one_sentence(decided: World, safeguard: Safeguard) -> None:
    config = decided.folder / "run.yaml"
    config.write_text(yaml.safe_dump(decided.config(folder="/proc/nothing")))
    ran = safeguard("review", "export", "--config", str(config), "--to", "cases")
    assert ran.code == 2 and "The console cannot write to /proc/nothing" in ran.err and "review.folder" in ran.err
