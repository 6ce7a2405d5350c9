"""Who may use the console, from where, and what replies and logs carry."""

import contextlib
import logging
import pwd
import re
import unicodedata
from typing import Any

import pytest

from safeguard_spark.errors import ConfigError
from safeguard_spark.review import screens
from tests.unit.review.world import FLAGGED, HEADER, World

pytestmark = pytest.mark.unit

SECRET = "zebra-in-a-hat"  # a content that must not leave the page


def test_off_loopback_the_console_needs_a_proxy_that_names_the_user(world: World) -> None:
    for host in ("0.0.0.0", "192.0.2.7", "::", "review.example.org"):
        with pytest.raises(ConfigError, match=r"review\.user_header"), world.console(host=host):
            pass
    with pytest.raises(ConfigError, match=r"review\.users"), world.console(host="0.0.0.0", user_header=HEADER):
        pass


PATHS = ("/", "/queue", "/queue/market", "/static/console.css", "/nothing")


@pytest.mark.parametrize("path", PATHS)
def test_no_page_without_a_name_off_loopback(world: World, path: str) -> None:
    world.draw(SECRET)
    with world.serving(host="0.0.0.0", proxies=["192.0.2.1"], **world.users(ada="lead")) as desk:
        strangers = {
            "nobody": desk.person(peer="192.0.2.1"),
            "no role": desk.person("eve", peer="192.0.2.1"),
            "not the proxy": desk.person("ada", peer="192.0.2.9"),
            "this machine": desk.person("ada", peer="127.0.0.1"),
        }
        for person in strangers.values():
            assert SECRET not in person.get(path) and person.status == 403
        ada = desk.person("ada", peer="192.0.2.1")
        ada.get(path)
        assert ada.status == (404 if path == "/nothing" else 200)


def test_a_header_that_comes_twice_is_not_the_proxys(world: World) -> None:
    with world.serving(**world.users(ada="lead")) as desk:
        reply = desk.person().client.get("/queue", headers=[(HEADER, "ada"), (HEADER, "eve")])
        assert reply.status_code == 403


ODD_NAMES = ("Zoe\u0308 Müller", "李雷", "o'brien@example.org", "x" * 300, "محمد", "=cmd|' /C calc'!A1")


@pytest.mark.parametrize("name", ODD_NAMES, ids=range(len(ODD_NAMES)))
def test_a_name_is_known_in_whatever_spelling_a_proxy_sends_it(world: World, name: str) -> None:
    world.draw("a bicycle")
    with world.serving(**world.users(**{name: "lead"})) as desk:
        spellings = {unicodedata.normalize(form, name).encode() for form in ("NFC", "NFD")}
        with contextlib.suppress(UnicodeEncodeError):
            spellings.add(name.encode("latin-1"))
        client = desk.person().client
        pages = [client.get("/reviewers", headers=[(HEADER.encode(), spelling)]) for spelling in spellings]
        assert {page.status_code for page in pages} == {200}
        reviewers = {desk.console.users.sender([s.decode("latin-1")], "127.0.0.1").reviewer for s in spellings}
        assert len(reviewers) == 1
        assert client.get("/queue", headers=[(HEADER.encode(), name.encode() + b"2")]).status_code == 403


def test_a_user_without_a_name_on_this_machine_can_review(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose user is a number."""
    world.draw("a bicycle")
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: {}[uid])
    with world.serving() as desk:
        ada = desk.person()
        assert "a bicycle" in ada.get("/queue/market")


def test_on_loopback_another_name_of_this_machine_is_refused(world: World) -> None:
    world.draw(SECRET)
    with world.serving() as desk:
        ada = desk.person()
        for host, status in (("127.0.0.1:8765", 200), ("localhost", 200), ("[::1]:1", 200), ("evil.example", 421)):
            reply = ada.client.get("/queue/market", headers={"host": host})
            assert reply.status_code == status and (SECRET in reply.text) == (status == 200)


OTHER_SITES: tuple[dict[str, str], ...] = (
    {"origin": "https://evil.example"},
    {"origin": "http://127.0.0.1:9999"},
    {"origin": "null"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
)


@pytest.mark.parametrize("headers", OTHER_SITES, ids=lambda headers: "-".join(headers.values()))
def test_a_form_from_another_site_is_refused_even_with_the_token(world: World, headers: dict[str, str]) -> None:
    world.draw("a bicycle")
    with world.serving() as desk:
        ada = desk.person()
        ada.get("/queue/market")
        fields = {"item_id": ada.hidden("item_id"), "decision_id": ada.hidden("decision_id"), "answer": "safe"}
        ada.post("/queue/market", headers=headers, **fields)
        assert ada.status == 403
    assert world.decisions == []


def test_a_form_without_the_token_of_this_person_and_session_is_refused(world: World) -> None:
    world.draw("a bicycle")
    with world.serving(**world.users(ada="reviewer", ben="reviewer")) as desk:
        ada, ben = desk.person("ada"), desk.person("ben")
        for person in (ben, ada):
            person.get("/queue/market")
        fields = {"item_id": ada.hidden("item_id"), "decision_id": ada.hidden("decision_id"), "answer": "safe"}
        for token in ("", "0" * 64, ben.hidden("token"), "é"):
            ada.post("/queue/market", **{**fields, "token": token})
            assert ada.status == 403
    assert world.decisions == []


def test_a_form_that_is_too_large_is_refused(world: World) -> None:
    with world.serving() as desk:
        ada = desk.person()
        ada.get("/queue")
        ada.post("/queue/market", reason="x" * (17 << 20))
        assert ada.status == 413


def test_every_reply_forbids_scripts_storing_and_framing(world: World) -> None:
    world.draw("a bicycle")
    with world.serving() as desk:
        ada = desk.person()
        for path in PATHS:
            ada.get(path)
            headers = ada.response.headers
            assert "default-src 'none'" in headers["content-security-policy"]
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["cache-control"] == "no-store" and headers["referrer-policy"] == "same-origin"
            cookie = headers["set-cookie"]
            assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Secure" not in cookie


def test_behind_a_proxy_the_cookie_is_for_https_alone(world: World) -> None:
    with world.serving(host="0.0.0.0", **world.users(ada="lead")) as desk:
        ada = desk.person("ada")
        ada.get("/queue")
        assert "; Secure" in ada.response.headers["set-cookie"]


def test_what_a_role_may_not_do_is_refused(world: World) -> None:
    world.draw(SECRET)
    with world.serving(**world.users(ann="author")) as desk:
        ann = desk.person("ann")
        for path in ("/queue", "/queue/market"):
            assert SECRET not in ann.get(path) and ann.status == 403
        ann.post("/queue/market", action="decide", answer="safe")
        assert ann.status == 403


def test_pages_need_nothing_from_elsewhere(world: World) -> None:
    world.draw("see https://example.org/x and <img src=https://example.org/y>")
    with world.serving() as desk:
        page = desk.person().get("/queue/market")
        addresses = re.findall(r'(?:href|src|action)="([^"]*)"', page)
        assert addresses and all(address.startswith(("/", "#", "?")) for address in addresses)
        assert not re.search(r"<(?:style|script)[^>]*>[^<]|\bon\w+=|style=", page)


def test_no_content_and_no_reason_is_in_logs_or_addresses(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: Any
) -> None:
    world.draw(SECRET, **FLAGGED)
    caplog.set_level(logging.DEBUG)

    def fails(*_: object) -> None:
        raise ValueError(f"cannot show {SECRET}")

    with world.serving() as desk:
        ada = desk.person()
        assert SECRET in ada.get("/queue/market")
        ada.decide("safe", reason=f"because {SECRET}")
        addresses = [str(reply.url) for reply in [*ada.response.history, ada.response]]
        monkeypatch.setattr(screens.queue, "_minutes", fails)
        assert "Something went wrong" in ada.get("/queue/market") and ada.status == 500
        assert SECRET not in ada.html
    own = [record.getMessage() for record in caplog.records if record.name.startswith(("safeguard", "uvicorn"))]
    assert own == ["GET /queue failed: ValueError"]
    assert not any(SECRET in text for text in [*own, *addresses, *capsys.readouterr()])


def test_reviewers_are_kept_under_pseudonyms(world: World) -> None:
    world.draw("a bicycle")
    with world.serving(**world.users(**{"ada@example.org": "reviewer"})) as desk:
        ada = desk.person("ada@example.org")
        ada.get("/queue/market")
        ada.decide("safe")
    assert re.fullmatch(r"[0-9a-f]{16}", world.decisions[0]["reviewer"])
    everything = b"".join(file.read_bytes() for file in world.output.rglob("*") if file.is_file())
    assert b"ada@" not in everything
