"""A caret is printed under the words of a problem, and a report's exit code follows from its problems."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.authoring.check_output import WIDTH, report_github, report_json, report_summary, report_text
from safeguard_spark.authoring.diagnostics import CHECKS, Diagnostic, Report, SourceFile, in_order, nearest
from safeguard_spark.policy.positions import Span

pytestmark = pytest.mark.unit


def diagnose(line: str, word: str, code: str = "vague-word", message: str = "a message") -> Diagnostic:
    return SourceFile("policy.md", line).diagnose(code, Span(1, line.index(word) + 1, len(word)), message, "a hint")


def rendered(line: str, word: str) -> tuple[str, str]:
    """The excerpt and the caret line, without the margin."""
    _, excerpt, caret, _ = report_text(Report(1, (diagnose(line, word),))).split("\n")[:4]
    return excerpt[4:], caret[4:]


@pytest.mark.parametrize(
    ("line", "columns"),
    [("so generally safe", 3), ("\tso generally safe", 4), ("漢字 generally", 5), ("e\u0301 generally", 2)],
    ids=["plain", "tab", "wide", "combining"],
)
def test_the_caret_is_under_the_word_as_a_terminal_shows_it(line: str, columns: int) -> None:
    assert rendered(line, "generally")[1] == " " * columns + "^" * 9


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "Zs"]), max_size=400), st.integers(0, 400))
def test_a_long_line_is_cropped_around_the_word(text: str, where: int) -> None:
    line = text[:where] + "@here@" + text[where:]
    excerpt, caret = rendered(line, "@here@")
    assert len(excerpt) <= WIDTH
    assert excerpt[len(caret) - 6 : len(caret)] == "@here@"


def test_a_message_cannot_break_a_github_annotation() -> None:
    diagnostic = SourceFile("a,b:c.md", "x").diagnose("todo", Span(1, 1, 1), "100%\nsure")
    line = report_github(Report(1, (diagnostic,))).split("\n")[0]
    assert line == "::warning file=a%2Cb%3Ac.md,line=1,col=1,endColumn=2,title=todo::100%25%0Asure"


def test_a_json_report_has_every_field() -> None:
    report = json.loads(report_json(Report(2, (diagnose("so generally", "generally"),))))
    assert (report["policies"], report["errors"], report["warnings"]) == (2, 0, 1)
    assert report["diagnostics"] == [
        {
            "file": "policy.md", "line": 1, "column": 4, "length": 9, "level": "warning", "code": "vague-word",
            "message": "a message", "hint": "a hint",
        }
    ]  # fmt: skip


def test_errors_fail_and_warnings_fail_only_if_strict() -> None:
    warned, failed = (
        Report(1, (diagnose("a", "a"),)),
        Report(1, (diagnose("a", "a", "unknown-key"), diagnose("a", "a"))),
    )
    assert [r.exit_code(strict) for r in (warned, failed, Report(1, ())) for strict in (False, True)] == [
        0,
        3,
        3,
        3,
        0,
        0,
    ]
    assert report_summary(failed) == "1 policy checked: 1 error and 1 warning."
    assert report_summary(Report(2, ())) == "2 policies checked: no problems."


def test_problems_are_in_the_order_of_the_file_without_duplicates() -> None:
    source = SourceFile("a.md", "x\ny")
    second, first = source.diagnose("todo", Span(2), "b"), source.diagnose("todo", Span(1, 9), "a")
    assert list(in_order([second, first, second])) == [first, second]


def test_a_position_outside_the_file_has_no_excerpt() -> None:
    assert SourceFile("a.md", "x").diagnose("todo", Span(9), "far").excerpt == ""


def test_the_nearest_name_is_suggested_or_all_if_names_are_short() -> None:
    assert nearest("counterfiet", ["counterfeit", "stolen"]) == "did you mean counterfeit?"
    assert nearest("M9", ["M2", "M1"]) == "defined: M1, M2"
    assert nearest("M9", []) == "defined: none"


def test_every_check_has_a_summary_of_one_sentence() -> None:
    assert all(check.summary.endswith(".") and "\n" not in check.summary for check in CHECKS.values())
