"""A comparison as text, and as one page that downloads nothing and runs no scripts."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from safeguard_spark.evaluation.comparison.compare import Comparison, Pair, VerdictKey, compare_pairs
from safeguard_spark.evaluation.comparison.html import comparison_page
from safeguard_spark.evaluation.comparison.report import (
    ComparisonReport,
    Example,
    HumanAgreement,
    comparison_metrics,
    comparison_text,
    report_json,
    report_text,
)
from safeguard_spark.relabel.rules import RuleChanges

pytestmark = pytest.mark.unit

SAFE, NO_VERDICT = VerdictKey(False), VerdictKey(None)
WEAPON, SPAM = VerdictKey(True, "weapons", ("M2",)), VerdictKey(True, "spam", ("M4",))


def example_comparison() -> Comparison:
    pairs = [
        Pair(WEAPON, SAFE, 150), Pair(WEAPON, WEAPON, 350), Pair(SPAM, SPAM, 195), Pair(SPAM, SAFE, 5),
        Pair(SAFE, SPAM, 4), Pair(SAFE, SAFE, 1290), Pair(SAFE, NO_VERDICT, 3), Pair(WEAPON, SPAM, 3),
    ]  # fmt: skip
    noise = [Pair(WEAPON, WEAPON, 245), Pair(WEAPON, SAFE, 4), Pair(SAFE, SAFE, 695), Pair(SPAM, SPAM, 95),
             Pair(SAFE, SPAM, 4)]  # fmt: skip
    changes = RuleChanges(changed=("M2",), categories=("weapons",), new_categories=("weapons",))
    return compare_pairs(("market@1.0.0", "market@1.1.0"), pairs, noise, changes=changes)


def example_report(coverage: str, *examples: Example) -> ComparisonReport:
    return ComparisonReport(example_comparison(), None, coverage, None, examples)


def test_the_text_of_a_comparison_is_the_golden_one(golden: Callable[[str, str], None]) -> None:
    golden("relabel/comparison.txt", comparison_text(example_comparison(), "plan p1 covers every content"))


def test_the_page_is_well_formed_and_escapes_hostile_text() -> None:
    hostile = '<script>alert("x")</script><img src=http://example.org/a.png>'
    report = example_report(hostile, Example(hostile, "weapons (M2)", "none", hostile), Example("p2", "none", "spam"))
    agreement = HumanAgreement(hostile, 3, None, None)
    text = comparison_page(replace(report, agreement=(agreement,)))
    assert (
        text.count("&lt;script&gt;") == 4
        and "<script" not in text
        and "http://" not in re.sub(r"&lt;.*?&gt;", "", text)
    )
    open_tags: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert tag not in ("script", "link", "iframe")
            assert not [name for name, _ in attrs if name in ("src", "href")]
            if tag != "meta":
                open_tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert open_tags.pop() == tag

    Reader().feed(text)
    assert not open_tags


def test_bars_are_as_wide_as_their_flips() -> None:
    text = comparison_page(example_report("all"))
    bars = dict(re.findall(r'<div class="bar"><b>(\w+)</b><div>(.*?)</div>', text))
    assert set(bars) == {"weapons", "spam", "M2", "M4"}
    segments = re.findall(r'class="(\w+)" style="width: ([\d.]+)%" title="[\w ]+: (\d+)"', bars["weapons"])
    assert segments == [("permissive", "98.04", "150"), ("moved", "1.96", "3")]
    assert 'style="width: 2.61%" title="stricter: 4"' in bars["spam"]


def test_the_text_of_a_content_is_in_a_report_only_if_it_was_requested() -> None:
    shown = example_report("all", Example("p1", "weapons (M2)", "none", "a rifle"))
    hidden = shown.without_texts()
    assert "a rifle" in comparison_page(shown) and "p1: weapons (M2) -> none: a rifle" in report_text(shown)
    for text in (comparison_page(hidden), report_text(hidden), json.dumps(report_json(shown))):
        assert "p1" in text and "a rifle" not in text
    assert 'class="text"' not in comparison_page(hidden)


def test_an_example_is_one_line_on_a_terminal_whatever_its_id_and_text_are() -> None:
    hostile = example_report("all", Example("p\x1b[1A\n1", "weapons\u2066", "none", "a\x07 ri\u200ffle"))
    text, plain = report_text(hostile), report_text(example_report("all", Example("p", "weapons", "none", "a rifle")))
    assert r"  p\x1b[1A\n1: weapons\u2066 -> none: a\x07 ri\u200ffle" in text
    assert text.count("\n") == plain.count("\n")
    page = comparison_page(hostile)
    assert r"ri\u200ffle" in page and page.replace("\n", "").isprintable()


def test_the_metrics_of_a_comparison_are_its_rates_and_counts() -> None:
    metrics = comparison_metrics(example_comparison())
    assert metrics["compared"] == 2000 and 0 < metrics["noise"] < metrics["flipped"] < 1
