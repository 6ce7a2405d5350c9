"""The queue: blind first, a second row after the verdict, reasons, undo, leases, what is left."""

import pytest

from safeguard_spark.policy.document import parse_policy
from safeguard_spark.review.queue import _CALIBRATION, _NEXT, _OPEN
from tests.unit.review.world import FLAGGED, START, TEXT, World

pytestmark = pytest.mark.unit

VERDICT = ("The model wrote this rationale.", "high confidence", "verdict")


def test_a_person_decides_blind_then_sees_the_verdict(world: World) -> None:
    world.draw("a bicycle")
    with world.serving() as desk:
        ada = desk.person()
        page = ada.get("/queue/market")
        assert ada.content == "a bicycle" and ada.left == 1
        assert "Counterfeit goods" in page and "No replicas, no rifles." in page
        assert not any(word in page for word in VERDICT)
        page = ada.decide("safe")
        assert "The model wrote this rationale." in page and "you differ" not in page
        assert "Nothing is left" in ada.next()
    (row,) = world.decisions
    assert (row["answer"], row["violation"], row["is_blind"], row["stage"]) == ("safe", False, True, "first")
    assert row["content_id"] == "p0" and row["policy_hash"] and row["collection"] == "posts"


def test_who_differs_gives_a_reason_and_may_change_the_answer(world: World) -> None:
    world.draw("a replica", **FLAGGED)
    with world.serving() as desk:
        ada = desk.person()
        ada.get("/queue/market")
        assert "you differ" in ada.decide("safe")
        assert "Say why" in ada.next() and ada.status == 422
        assert "Say why" in ada.decide("safe") and ada.status == 422
        assert "Say why" in ada.decide("violation", "M2") and ada.status == 422  # another rule is another answer
        ada.decide("violation", "M1")
    first, second = world.decisions
    assert (first["answer"], first["is_blind"]) == ("safe", True)
    assert (second["answer"], second["rule_ids"], second["is_blind"]) == ("violation", ["M1"], False)


def test_a_reason_that_was_given_at_once_is_not_asked_for_again(world: World) -> None:
    world.draw("a replica", "a chair", **FLAGGED)
    with world.serving() as desk:
        ada = desk.person()
        ada.get("/queue/market")
        ada.decide("safe", reason="It is an advice")
        ada.next()
        assert ada.content == "a chair"
    assert [row["reason"] for row in world.decisions] == ["It is an advice"]


@pytest.mark.parametrize("answer", ["unsure", "gap"])
def test_unsure_and_gap_decide_nothing_and_need_no_reason(world: World, answer: str) -> None:
    world.draw("a replica", **FLAGGED)
    with world.serving() as desk:
        ada = desk.person()
        ada.get("/queue/market")
        ada.decide(answer, "M1")
        assert "Nothing is left" in ada.next()
    assert [(row["answer"], row["violation"], row["rule_ids"]) for row in world.decisions] == [(answer, None, [])]


def test_an_undone_decision_is_taken_back_and_its_item_comes_back_no_longer_blind(world: World) -> None:
    world.draw("a bicycle", "a chair")
    with world.serving() as desk:
        ada = desk.person()
        ada.get("/queue/market")
        ada.decide("violation", "M1", reason="slip")
        ada.next()
        assert ada.content == "a chair" and ada.left == 1
        ada.undo()
        assert ada.content == "a bicycle" and ada.left == 2
        ada.decide("safe")
        ada.next()
        assert ada.content == "a chair"
    first, withdrawal, second = world.decisions
    assert withdrawal["answer"] == "withdrawn" and withdrawal["withdraws"] == first["decision_id"]
    assert withdrawal["violation"] is None
    assert (second["answer"], second["is_blind"]) == ("safe", False)


def test_undo_after_a_second_row_takes_back_that_row_alone(world: World) -> None:
    world.draw("a replica", **FLAGGED)
    with world.serving() as desk:
        ada = desk.person()
        ada.get("/queue/market")
        ada.decide("safe")
        ada.decide("violation", "M1")
        assert "Nothing is left" in ada.html
        assert "you differ" in ada.undo()
        assert "Nothing is left" not in ada.html
    assert [row["answer"] for row in world.decisions] == ["safe", "violation", "withdrawn"]


def test_an_item_is_open_to_one_person_and_comes_back_after_15_minutes(world: World) -> None:
    world.draw("a bicycle", "a chair")
    with world.serving(**world.users(ada="reviewer", ben="reviewer", cy="reviewer")) as desk:
        ada, ben, cy = (desk.person(name) for name in ("ada", "ben", "cy"))
        ada.get("/queue/market")
        world.clock.now += 14 * 60
        ada.get("/queue/market")  # renews
        ben.get("/queue/market")
        assert (ada.content, ben.content) == ("a bicycle", "a chair")
        assert "Nothing is left" in cy.get("/queue/market")
        world.clock.now += 14 * 60
        ben.get("/queue/market")
        world.clock.now += 2 * 60  # 16 minutes since the bicycle was renewed, 2 since the chair
        cy.get("/queue/market")
        assert cy.content == "a bicycle"
        assert "Nothing was recorded" in ada.decide("safe") and ada.status == 409
        cy.decide("safe")
    (row,) = world.decisions
    assert row["seconds"] == 0 and row["decided_at"].timestamp() == pytest.approx(START + 30 * 60, abs=1)


def test_a_form_that_is_sent_twice_is_recorded_once(world: World) -> None:
    world.draw("a replica", "a chair", **FLAGGED)
    with world.serving() as desk:
        ada = desk.person()
        page = ada.get("/queue/market")
        ada.decide("safe", reason="advice")
        ada.html = page
        ada.decide("safe", reason="advice")
        assert ada.status == 200
    assert len(world.decisions) == 1


def test_a_page_that_is_left_open_in_another_tab_changes_nothing_and_says_why(world: World) -> None:
    world.draw("a bicycle", "a chair", "a table")
    with world.serving() as desk:
        ada = desk.person()
        ada.get("/queue/market")
        undecided = ada.html
        ada.decide("safe")
        decided = ada.html
        ada.next()
        assert ada.content == "a chair"
        ada.html = decided
        ada.next()
        assert ada.status == 200 and ada.content == "a chair"  # not the one after it
        ada.html = undecided
        assert "You have decided this item already" in ada.decide("violation", reason="r") and ada.status == 409
        ada.get("/queue/market")
        world.clock.now += 16 * 60
        assert "after 15 minutes" in ada.decide("safe") and ada.status == 409
    assert [row["answer"] for row in world.decisions] == ["safe"]


def test_a_second_person_judges_a_share_without_being_told(world: World) -> None:
    world.draw("a bicycle")
    with world.serving(second_share=1.0, **world.users(ada="reviewer", ben="reviewer", cy="reviewer")) as desk:
        ada, ben, cy = (desk.person(name) for name in ("ada", "ben", "cy"))
        shown_first = ada.get("/queue/market")
        ada.decide("safe")
        assert "Nothing is left" in ada.next()
        shown_second = ben.get("/queue/market")
        ids = ("token", "item_id", "decision_id")
        for person, page in ((ada, shown_first), (ben, shown_second)):
            person.html = page
        hide = {person: [person.hidden(name) for name in ids] for person in (ada, ben)}
        for person in (ada, ben):
            for value in hide[person]:
                person.html = person.html.replace(value, "")
        assert ada.html.replace("ada", "ben") == ben.html
        ben.html = shown_second
        ben.decide("violation", "M2", reason="a weapon")
        assert "Nothing is left" in ben.next() and "Nothing is left" in cy.get("/queue/market")
    assert [row["stage"] for row in world.decisions] == ["first", "second"]
    assert len({row["reviewer"] for row in world.decisions}) == 2


def test_calibration_items_are_mixed_in_and_everybody_judges_them(world: World) -> None:
    world.draw(*(f"post {number}" for number in range(120)))
    world.draw("known", purpose="calibration", known_violation=True, known_rule_ids=["M1"])
    with world.serving(**world.users(ada="reviewer", ben="reviewer")) as desk:
        for name in ("ada", "ben"):
            person = desk.person(name)
            person.get("/queue/market")
            assert person.left == (120 if name == "ada" else 61)  # a calibration item is not counted
            for _ in range(60):
                person.decide("safe", reason="r")
                person.next()
    stages = [(row["reviewer"], row["stage"]) for row in world.decisions]
    assert sum(stage == "calibration" for _, stage in stages) == 2
    assert len({reviewer for reviewer, stage in stages if stage == "calibration"}) == 2


def test_who_has_judged_a_content_never_gets_it_as_a_calibration_item(world: World) -> None:
    world.draw("known", content_hash="c1")
    known = {"purpose": "calibration", "known_violation": True, "known_rule_ids": []}
    world.draw("known", content_hash="c1", **known)
    world.draw("other", content_hash="c2", **known)
    world.draw(*(f"post {number}" for number in range(150)))
    with world.serving(**world.users(ada="reviewer", ben="reviewer")) as desk:
        for name in ("ada", "ben"):
            person = desk.person(name)
            person.get("/queue/market")
            for _ in range(75):
                person.decide("safe", reason="r")
                person.next()
    by_person: dict[str, list[str]] = {}
    for row in world.decisions:
        by_person.setdefault(row["reviewer"], []).append(row["content_hash"])
    # The first item is the content that is known too: it goes to one of them, who never sees it again.
    assert sorted(hashes.count("c1") for hashes in by_person.values()) == [1, 1]
    assert [hashes.count("c2") for hashes in by_person.values()] == [1, 1]


def test_appeals_come_first(world: World) -> None:
    world.draw("a bicycle")
    world.draw("appealed", purpose="appeal", appeal_reason="I disagree with <this>", **{**FLAGGED, "stratum": None})
    with world.serving() as desk:
        ada = desk.person()
        ada.get("/queue/market")
        assert ada.content == "appealed" and "I disagree" not in ada.html
        assert "I disagree with &lt;this&gt;" in ada.decide("violation", "M1")


def test_contents_of_severe_policies_are_blurred_whatever_the_verdict(world: World) -> None:
    text = TEXT.replace("name: market", "name: arms").replace("low", "critical")
    world.add_policy(text)
    hashes = {"policy": "arms", "policy_hash": parse_policy(text).policy_hash}
    world.draw("a bicycle")
    world.draw("a chair", **hashes)
    world.draw("a rifle", **{**FLAGGED, **hashes})
    with world.serving() as desk:
        ada = desk.person()
        assert 'id="unblur"' not in ada.get("/queue/market")
        for content in ("a chair", "a rifle"):
            assert 'id="unblur"' in ada.get("/queue/arms") and ada.content == content
            ada.decide("violation", "M1", reason="r")
            ada.post("/queue/arms", item_id=ada.hidden("item_id"), action="next")


def test_a_break_is_suggested_after_45_minutes(world: World) -> None:
    world.draw(*(f"post {number}" for number in range(40)))
    with world.serving() as desk:
        ada = desk.person()
        ada.get("/queue/market")
        for _ in range(20):
            world.clock.now += 140
            assert "without a break" not in ada.decide("safe")
            ada.next()
        world.clock.now += 60
        assert "for 45 minutes without a break" in ada.get("/queue/market")
        world.clock.now += 360
        assert "without a break" not in ada.get("/queue/market")


def test_an_answer_that_does_not_exist_is_refused(world: World) -> None:
    world.draw("a bicycle")
    with world.serving() as desk:
        ada = desk.person()
        ada.get("/queue/market")
        for answer, rule in (("", ""), ("withdrawn", ""), ("violation", "M9")):
            ada.decide(answer, *([rule] if rule else []))
            assert ada.status == 422
    assert world.decisions == []


def test_without_items_the_queue_says_so(world: World) -> None:
    with world.serving() as desk:
        assert "no items" in desk.person().get("/queue")
        assert "Nothing is left" in desk.person().get("/queue/market")


def test_no_query_of_the_queue_reads_every_decision_for_every_item(world: World) -> None:
    with world.console() as console:
        values = {"reviewer": "r", "policy": "market", "slot": "calibration:r"}
        for query in (f"SELECT count(*) {_OPEN}", _NEXT, _CALIBRATION):
            named = {name: value for name, value in values.items() if f":{name}" in query}
            plan = console.journal.connection.execute(f"EXPLAIN QUERY PLAN {query}", named).fetchall()
            assert not [step["detail"] for step in plan if step["detail"].startswith("SCAN d")]
