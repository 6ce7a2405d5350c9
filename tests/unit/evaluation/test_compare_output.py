"""A comparison for people, and as one page that fetches nothing and runs nothing."""

import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from safeguard_spark.evaluation.comparison.compare import Comparison, Pair, VerdictKey, compare_pairs
from safeguard_spark.evaluation.comparison.html import Shown, comparison_page
from safeguard_spark.evaluation.comparison.text import comparison_metrics, comparison_text
from safeguard_spark.relabel.rules import RuleChanges

pytestmark = pytest.mark.unit

SAFE, NO_VERDICT = VerdictKey(False), VerdictKey(None)
WEAPON, SPAM = VerdictKey(True, "weapons", ("M2",)), VerdictKey(True, "spam", ("M4",))


def found() -> Comparison:
    pairs = [
        Pair(WEAPON, SAFE, 150), Pair(WEAPON, WEAPON, 350), Pair(SPAM, SPAM, 195), Pair(SPAM, SAFE, 5),
        Pair(SAFE, SPAM, 4), Pair(SAFE, SAFE, 1290), Pair(SAFE, NO_VERDICT, 3), Pair(WEAPON, SPAM, 3),
    ]  # fmt: skip
    noise = [Pair(WEAPON, WEAPON, 245), Pair(WEAPON, SAFE, 4), Pair(SAFE, SAFE, 695), Pair(SPAM, SPAM, 95),
             Pair(SAFE, SPAM, 4)]  # fmt: skip
    changes = RuleChanges(changed=("M2",), categories=("weapons",), new_categories=("weapons",))
    return compare_pairs(("market@1.0.0", "market@1.1.0"), pairs, noise, changes=changes)


def test_a_comparison_is_shown_as_it_was_approved(golden: Callable[[str, str], None]) -> None:
    golden("relabel/comparison.txt", comparison_text(found(), "plan p1 covers every content"))


def test_the_page_is_whole_and_takes_hostile_text_as_text() -> None:
    hostile = '<script>alert("x")</script><img src=http://example.org/a.png>'
    examples = [Shown(hostile, "weapons (M2)", "none", hostile), Shown("p2", "none", "spam")]
    text = comparison_page(found(), hostile, examples, [hostile])
    assert "<script" not in text and "http://" not in re.sub(r"&lt;.*?&gt;", "", text)
    open_tags: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert tag not in ("script", "link", "iframe")
            sources = [value for name, value in attrs if name in ("src", "href")]
            assert all(str(value).startswith("data:image/png;base64,") for value in sources)
            if tag not in ("meta", "img"):
                open_tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert open_tags.pop() == tag

    Reader().feed(text)
    assert not open_tags and text.count("data:image/png") == 2


def test_ids_alone_are_shown_unless_the_text_was_asked_for() -> None:
    text = comparison_page(found(), "all", [Shown("p1", "weapons (M2)", "none")])
    assert "p1" in text and 'class="text"' not in text


def test_mlflow_gets_numbers() -> None:
    numbers = comparison_metrics(found())
    assert numbers["compared"] == 2000 and 0 < numbers["noise"] < numbers["flipped"] < 1
