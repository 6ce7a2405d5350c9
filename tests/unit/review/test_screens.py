"""The screens besides the queue: adjudication, reviewers, search, try, policies."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from safeguard_spark.review.console import REFRESH_S
from safeguard_spark.review.tables import arrow_schema
from safeguard_spark.schema import ACTIVATIONS, LABELS, REASONING
from tests.unit.review.world import FLAGGED, POLICY, START, TEXT, Desk, World

pytestmark = pytest.mark.unit

TEAM = {"ada": "reviewer", "ben": "reviewer", "lea": "lead", "ann": "author"}
WHEN = datetime.fromtimestamp(START, UTC)
SCREENS = ("/adjudication", "/reviewers", "/search", "/try", "/policies", "/policies/market/1.0.0")


def judged_by_two(desk: Desk, world: World, one: str, other: str) -> None:
    """Ada and Ben judge the first item."""
    for name, answer in (("ada", one), ("ben", other)):
        person = desk.person(name)
        person.get("/queue/market")
        world.clock.now += 1
        person.decide(answer, reason=f"{name}'s reason")


def test_two_who_differ_are_adjudicated_by_a_lead(world: World) -> None:
    world.draw("a bicycle")
    with world.serving(second_share=1.0, **world.users(**TEAM)) as desk:
        lea = desk.person("lea")
        assert "No two people differ" in lea.get("/adjudication")
        judged_by_two(desk, world, "safe", "violation")
        page = lea.get("/adjudication")
        assert "ada&#39;s reason" in page and "ben&#39;s reason" in page and "a bicycle" in page
        lea.decide("violation")
        assert lea.status == 422  # without a reason
        world.clock.now += 1
        assert "No two people differ" in lea.decide("violation", "M2", reason="a weapon")
        assert "0.0 %" in lea.get("/reviewers")
    row = world.decisions[-1]
    assert (row["stage"], row["rule_ids"], row["is_blind"]) == ("adjudication", ["M2"], False)


def test_an_adjudication_that_is_sent_twice_is_recorded_once(world: World) -> None:
    world.draw("a bicycle")
    with world.serving(second_share=1.0, **world.users(**TEAM)) as desk:
        judged_by_two(desk, world, "safe", "violation")
        lea = desk.person("lea")
        page = lea.get("/adjudication")
        for _ in range(2):
            lea.html = page
            assert "No two people differ" in lea.decide("safe", reason="a bicycle") and lea.status == 200
    assert [row["stage"] for row in world.decisions] == ["first", "second", "adjudication"]


def test_an_adjudication_is_not_changed_in_the_queue(world: World) -> None:
    world.draw("a bicycle")
    with world.serving(second_share=1.0, **world.users(**TEAM)) as desk:
        judged_by_two(desk, world, "safe", "violation")
        world.draw("a chair")
        world.clock.now += REFRESH_S
        lea = desk.person("lea")
        lea.get("/queue/market")
        lea.decide("safe")
        lea.get("/adjudication")
        lea.decide("safe", reason="a bicycle")
        assert lea.get("/queue/market") and "a bicycle" not in lea.html
        lea.undo()
        assert lea.content == "a chair"
    assert [(row["stage"], row["answer"]) for row in world.decisions[2:]] == [
        ("first", "safe"),
        ("adjudication", "safe"),
        ("first", "withdrawn"),
    ]


def test_two_who_agree_are_not_adjudicated(world: World) -> None:
    world.draw("a bicycle")
    with world.serving(second_share=1.0, **world.users(**TEAM)) as desk:
        judged_by_two(desk, world, "safe", "safe")
        lea = desk.person("lea")
        assert "No two people differ" in lea.get("/adjudication")
        assert "100.0 % (2.5 to 100.0), n = 1" in lea.get("/reviewers")


def test_a_reviewers_recall_on_known_items_has_bounds(world: World) -> None:
    world.draw(*(f"post {number}" for number in range(80)))
    world.draw("known", purpose="calibration", known_violation=True, known_rule_ids=["M1"])
    with world.serving(**world.users(**TEAM)) as desk:
        ada = desk.person("ada")
        ada.get("/queue/market")
        for _ in range(60):
            ada.decide("violation" if ada.content == "known" else "safe", reason="r")
            ada.next()
        page = desk.person("lea").get("/reviewers")
    assert "100.0 % (2.5 to 100.0), n = 1" in page and "not measurable" in page


@pytest.mark.parametrize("path", SCREENS)
def test_a_reviewer_sees_no_screen_that_would_tell_the_verdict(world: World, path: str) -> None:
    world.draw("a replica", **FLAGGED)
    with world.serving(**world.users(**TEAM)) as desk:
        ada, lea = desk.person("ada"), desk.person("lea")
        assert "replica" not in ada.get(path) and ada.status == 403
        ada.get("/queue/market")
        ada.post(path, content_id="p0", content="a replica", one=POLICY.ref)
        assert ada.status in (403, 404) and "rationale" not in ada.html
        lea.get(path)
        assert lea.status == 200


def row_of(table: Any, **columns: Any) -> dict[str, Any]:
    return {name: columns.get(name) for name in arrow_schema(table).names}


def test_search_shows_the_history_of_a_content_and_no_address_has_its_id(world: World) -> None:
    world.draw("a bicycle")
    label = {
        "collection": "posts", "content_id": "p0", "policy": "market", "policy_version": "1.0.0", "work_key": "k",
        "labeler": "demo/low", "outcome": "labelled", "violation": True, "rule_ids": ["M1"], "attempt": 1,
        "rationale": "an old rationale", "labelled_at": WHEN,
    }  # fmt: skip
    world.tables.append(LABELS, [row_of(LABELS, **label), row_of(LABELS, **{**label, "content_id": "p9"})])
    world.tables.append(REASONING, [row_of(REASONING, work_key="k", reasoning="it thought so", labelled_at=WHEN)])
    activation = {"policy": "market", "policy_version": "1.0.0", "activated_at": WHEN}
    world.tables.append(ACTIVATIONS, [row_of(ACTIVATIONS, **activation)])
    with world.serving() as desk:
        lea = desk.person()
        lea.get("/queue/market")
        lea.decide("safe", reason="<b>no</b>")
        page = lea.post("/search", content_id=" p0 ")
        for text in ("a bicycle", "an old rationale", "it thought so", "&lt;b&gt;no", "1.0.0 from 2026-"):
            assert text in page
        assert "p0" not in str(lea.response.url)
        assert "Nothing is known" in lea.post("/search", content_id="p7' OR 1=1 --")


def test_search_asks_which_collection_is_meant_and_never_shows_two_contents_as_one(world: World) -> None:
    world.draw_rows(
        {"content_id": "7", "collection": name, "content": json.dumps({"text": f"content of {name}"})}
        for name in ("posts", "comments")
    )
    common = {"content_id": "7", "policy": "market", "labelled_at": WHEN, "rule_ids": [], "outcome": "labelled"}
    world.tables.append(
        LABELS,
        [
            row_of(LABELS, **common, collection="posts", work_key="k1", rationale="label of posts"),
            row_of(LABELS, **common, source="comments", work_key="k2", rationale="label of comments"),  # an old row
            row_of(LABELS, **common, collection="mails", work_key="k3", rationale="label of mails"),
        ],
    )
    world.tables.append(
        REASONING,
        [row_of(REASONING, work_key=f"k{n}", reasoning=f"thought {n}", labelled_at=WHEN) for n in (1, 2, 3)],
    )
    with world.serving() as desk:
        lea = desk.person()
        lea.get("/queue/market")
        lea.decide("safe", reason="decided once")
        asked = lea.post("/search", content_id="7")
        assert re.findall('name="collection" value="([^"]*)"', asked) == ["comments", "mails", "posts"]
        assert not re.search("content of|label of|thought|decided once", asked)
        pages = {name: lea.post("/search", content_id="7", collection=name) for name in ("posts", "comments", "mails")}
        assert re.findall("content of|label of|thought", lea.post("/search", content_id="7", collection="none")) == []
    for number, (name, page) in enumerate(pages.items(), 1):
        assert re.findall(r"label of (\w+)", page) == [name] and re.findall(r"thought (\d)", page) == [str(number)]
        assert re.findall(r"content of (\w+)", page) == ([] if name == "mails" else [name])
    assert sum("decided once" in page for page in pages.values()) == 1


def test_try_shows_what_two_versions_say_with_prompt_and_tokens(world: World) -> None:
    world.add_policy(TEXT.replace("1.0.0", "1.1.0").replace("No replicas", "No fakes"))
    with world.serving() as desk:
        lea = desk.person()
        lea.get("/try")
        page = lea.post("/try", content="a replica <i>", one="market@1.0.0", other="market@1.1.0")
        assert page.count("of M1") == 2 and page.count("prompt tokens") == 2
        assert "No replicas" in page and "No fakes" in page and "a replica &lt;i&gt;" in page
        assert "<i>" not in page and "replica" not in str(lea.response.url)
        for fields in ({"content": " ", "one": "market@1.0.0"}, {"content": "x", "one": "market@9.9.9"}):
            lea.post("/try", **fields)
            assert lea.status == 422
    assert world.decisions == []


def test_a_policy_shows_rules_check_cases_changes_overturns_and_gaps(world: World) -> None:
    world.add_policy(TEXT.replace("1.0.0", "1.1.0").replace("No replicas", "No fakes"))
    cases = "cases:\n  - {id: fake-watch, text: 'a <u>replica</u>', violation: true, rules: [M1], why: it is one}\n"
    (world.folder / "policies/market/1.1.0/cases.yaml").write_text(cases)
    world.draw("a replica", "a chair", **FLAGGED)
    with world.serving() as desk:
        lea = desk.person()
        lea.get("/queue/market")
        lea.decide("safe", reason="advice")
        lea.next()
        lea.decide("gap", reason="chairs are not mentioned")
        page = " ".join(lea.get("/policies/market/1.0.0").split())
        assert "Counterfeit goods" in page and "chairs are not mentioned" in page
        assert '<td>high</td><td class="number">2</td><td class="number">1</td>' in page
        page = lea.get("/policies/market/1.1.0")
        assert "fake-watch" in page and "a &lt;u&gt;replica" in page and "+ No fakes" in page
        assert "No problems" not in page  # the text names no rule
        for path in ("/policies/market/9.9.9", "/policies/%2e%2e/passwd"):
            lea.get(path)
            assert lea.status == 404
