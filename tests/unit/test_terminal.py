"""What a model or a content says reaches a terminal escaped: it moves no cursor, rings no bell and begins no line."""

from pathlib import Path

import pytest

from safeguard_spark.authoring.cases import Case
from safeguard_spark.authoring.check_output import diagnostic_text
from safeguard_spark.authoring.diagnostics import SourceFile
from safeguard_spark.authoring.verify import CaseResult, Finding, Verification, verification_text
from safeguard_spark.authoring.verify_output import answers_text, side_by_side, verification_html
from safeguard_spark.evaluation.html import html_table
from safeguard_spark.labelling.verdict import Outcome, Verdict
from safeguard_spark.policy.document import parse_policy
from safeguard_spark.policy.positions import Span
from safeguard_spark.terminal import as_lines, counted, in_own_lines, one_line
from tests.build import labeler
from tests.unit.commands import Safeguard
from tests.unit.samples import POLICY, edited, write_policy

pytestmark = pytest.mark.unit

# A window title, a cursor that goes up, C1's CSI, a carriage return, a right-to-left mark, line and page breaks.
HOSTILE = "ok\x1b]0;pwned\x07 \x1b[2A\x9b7m\rPASSED\u2067\u2028gate met\n\x0cmarket@1.0.0 passed\u200b"
SHOWN = r"ok\x1b]0;pwned\x07 \x1b[2A\x9b7m\rPASSED\u2067\u2028gate met\n\x0cmarket@1.0.0 passed\u200b"


def test_a_line_stays_one_line_and_visible_text_of_any_language_stays_as_it_is() -> None:
    assert one_line(HOSTILE) == SHOWN
    assert as_lines([HOSTILE, ""]) == SHOWN + "\n"
    assert in_own_lines("a\n\tb\r\n") == "a\n\\tb\\r\n"
    assert in_own_lines(SHOWN) == SHOWN
    for text in ("Ärger, 禁止, ممنوع, запрещено", "कि", "👍🏽 ok"):
        assert one_line(text) == text


def verification(said: str) -> Verification:
    """One failed case, in which everything that a model can write says the same."""
    verdict = Verdict(
        Outcome.labelled, violation=True, category=said, rule_ids=(said,), rationale=said, reasoning=said,
        raw_output=said,
    )  # fmt: skip
    one = Case(id="a", text="x", violation=False, why=said)
    return Verification(parse_policy(POLICY), labeler(), (CaseResult(one, verdict, Finding.false_alarm),))


def test_what_a_model_said_is_on_one_line_in_every_report_of_verify() -> None:
    bad, good = verification(HOSTILE), verification("fine")
    assert f": {SHOWN}\n" in verification_text(bad)
    for report in (verification_text, lambda v: side_by_side([v, v], ["a", "b"])):
        text = report(bad)
        assert text.count("\n") == report(good).count("\n")
        assert text.replace("\n", "").isprintable()
    page = verification_html([bad], ["a"], with_answers=True)
    assert page.replace("\n", "").isprintable()
    answers = answers_text(bad)
    assert answers.replace("\n", "").isprintable()
    assert "\n      \\x0cmarket@1.0.0 passed" in answers  # a line of the answer is a line, and stands under its name


def test_a_cell_of_a_page_shows_what_is_invisible() -> None:
    table = html_table(("id", "text"), [(HOSTILE, "a\n\u202eb")])
    assert SHOWN in table and "a\n\\u202eb" in table


def test_a_diagnostic_shows_neither_its_line_nor_its_message_raw() -> None:
    line = "name: \x1b[31mred\u202e"
    text = diagnostic_text(SourceFile("a.md", line).diagnose("bad-value", Span(1, 7, 3), f"no {HOSTILE}", HOSTILE))
    assert text.replace("\n", "").isprintable()
    assert text.count("\n") == 4


def test_an_import_and_an_error_message_show_what_a_pack_says_escaped(safeguard: Safeguard) -> None:
    Path("pack").mkdir()
    Path("pack/policy.md").write_text("# Pets\n## P1 Cruelty\nNo.\n", encoding="utf-8")
    Path("pack/golden.csv").write_text("text,label\nhello,P1\nbye,x\x1b[2Jy\u202e\n", encoding="utf-8")
    ran = safeguard("import", "pack")
    assert r"x\x1b[2Jy\u202e" in ran.out and ran.out.replace("\n", "").isprintable()
    write_policy(Path("policies"), edited(POLICY, ("1.0.0", '"1\\e[2J"')), version="9.9.9")
    ran = safeguard("show-prompt", "market@9.9.9", "hi")
    assert ran.code == 3
    assert ran.err.replace("\n", "").isprintable()


def test_a_policy_that_others_wrote_is_listed_and_compared_on_lines_of_its_own(safeguard: Safeguard) -> None:
    write_policy(Path("policies"))
    changed = edited(
        POLICY,
        ("1.0.0", "1.1.0"),
        ("description: What may be offered.", r'description: "a\e[2J\nspam@9.9.9  published"'),
        ("are safe.", "are safe\u202e, and \u2028so is \x85this."),
    )
    write_policy(Path("policies"), changed, version="1.1.0")
    compared, listed = safeguard("diff", "market", "1.0.0", "1.1.0"), safeguard("list")
    assert (compared.code, listed.code) == (0, 0)
    assert r"\u202e" in compared.out and r"a\x1b[2J\nspam@9.9.9  published" in listed.out
    assert (compared.out + listed.out).replace("\n", "").isprintable()
    assert not any(line.startswith("spam@") for line in listed.out.splitlines())


def test_a_count_agrees_with_its_noun_and_its_verb() -> None:
    assert [counted(n, "row is", "rows are") for n in (0, 1, 2, 1200)] == [
        "0 rows are", "1 row is", "2 rows are", "1,200 rows are",
    ]  # fmt: skip
