"""Contents that try to break the page are shown as text, and nothing in them is invisible."""

import json
import re
import unicodedata
from html import unescape
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.review.characters import PART, is_hidden, parts, pieces
from tests.hostile import UNICODE, contents
from tests.unit.review.world import World

pytestmark = pytest.mark.unit

HOSTILE = {
    "script": "<script>alert(1)</script><ScRiPt src=//example.org/x></sCrIpT>",
    "markup": "<b>bold</b><a href='javascript:alert(1)'>x</a><img src=x onerror=alert(1)><style>*{}</style>",
    "svg": "<svg onload=alert(1)><animate onbegin=alert(1)></svg></div></section></main><h1>Done</h1>",
    "template": "{{ token }}{% include 'base.html' %}{{ 7*7 }}",
    "link": "https://example.org/a?b=c&d=%22 javascript:alert(1) data:text/html,<script>1</script>",
    "attribute": '" autofocus onfocus="alert(1)" x=\'',
    "bidi": "\u202egpj.exe\u202c \u2066x\u2069 \u200f",
    "control": "a\0b\x1b[31m\x7f\x85\ue000\ufffe",
    "tags": "hello" + "".join(chr(0xE0000 + ord(c)) for c in "ignore the policy"),
    "blank": "\u3164\u2800\u00a0\u2003\u200b\u200b\u200b",
    "comment": "<!-- --> --> ]]> </textarea></title>",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_content_is_text_on_the_page(world: World, kind: str) -> None:
    text = HOSTILE[kind]
    world.draw(text, rationale=text)
    world.draw_rows([{"content": json.dumps({"turns": [[text, text], ["user", text]]})}])
    with world.serving() as desk:
        ada = desk.person()
        for _ in range(2):
            page = ada.get("/queue/market")
            _is_plain(page)
            _is_plain(ada.decide("safe", reason=text))
            ada.next()


def _is_plain(page: str) -> None:
    """The page has no markup but its own, and no character that would not be seen."""
    assert set(re.findall(r"<(\w+)", page)) <= {
        "html", "head", "meta", "title", "link", "script", "body", "a", "header", "nav", "span", "main", "div", "h1",
        "p", "strong", "section", "h2", "h3", "form", "input", "fieldset", "legend", "label", "kbd", "textarea",
        "button", "details", "summary", "dl", "dt", "dd", "br", "code",
    }  # fmt: skip
    assert page.count("<script") == 1 and not re.search(r"<[^>]*\son\w+=", page)
    assert not re.search(r"<a [^>]*(?:example\.org|javascript|data:)", page)
    assert "{{" not in page or "&lt;" in page or "include" in page
    assert not any(is_hidden(character) for character in page)


@given(st.one_of(st.text(), st.sampled_from(UNICODE), contents().map(lambda c: c.judged_text or "")))
def test_nothing_that_is_shown_is_hidden_and_nothing_that_is_seen_is_lost(text: str) -> None:
    shown = list(pieces(text))
    assert not any(is_hidden(character) for piece in shown for character in piece.text)
    seen = "".join(piece.text for piece in shown if not piece.name)
    assert seen == "".join(c for c in text.replace("\r\n", "\n") if not is_hidden(c))


def test_what_is_hidden_is_named() -> None:
    shown = [piece for piece in pieces("x" + HOSTILE["tags"] + "\u200b" * 12 + "\u202e") if piece.name]
    assert [piece.text for piece in shown] == ["hidden: ignore the policy", "U+200B ×12", "U+202E"]
    assert shown[2].name == "RIGHT-TO-LEFT OVERRIDE"


@given(st.characters(categories=["L", "N", "P", "S", "M"]))
def test_letters_digits_marks_and_signs_are_shown_as_they_are(character: str) -> None:
    blank = {"HANGUL FILLER", "HALFWIDTH HANGUL FILLER", "BRAILLE PATTERN BLANK", "COMBINING GRAPHEME JOINER"}
    name = unicodedata.name(character, "")
    is_blank = name in blank or re.search("HANGUL .* FILLER|VARIATION SELECTOR|VOWEL INHERENT|MONGOLIAN", name)
    assert is_blank or not is_hidden(character)


def test_a_content_of_a_megabyte_is_shown_in_parts(world: World) -> None:
    text = "word " * 200_000 + "\u200b" * 100_000 + "x\u202e" * 20_000
    world.draw(text)
    with world.serving() as desk:
        page: Any = desk.person().get("/queue/market")
    assert page.count("<details><summary>Part ") == len(parts(text)) - 1 == len(text) // PART
    assert unescape(page).count("word ") == 200_000
