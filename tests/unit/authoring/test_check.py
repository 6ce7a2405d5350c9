"""`safeguard check` reports every problem of every policy at its position, and never crashes."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from safeguard_spark.authoring.check import check_file, check_paths
from safeguard_spark.authoring.check_output import report_github, report_json, report_text
from safeguard_spark.authoring.diagnostics import CHECKS, Diagnostic
from safeguard_spark.authoring.publish import publish_candidates
from safeguard_spark.errors import PolicyError
from safeguard_spark.policy.document import load_policy
from tests.unit.samples import CASES, FORM, POLICY, edited, write_policy

pytestmark = pytest.mark.unit
Change = tuple[str, str]

CYRILLIC_A, CYRILLIC_EM = "\N{CYRILLIC CAPITAL LETTER A}", "\N{CYRILLIC CAPITAL LETTER EM}"
OMICRON, QUOTED = "\N{GREEK SMALL LETTER OMICRON}", "\N{LEFT DOUBLE QUOTATION MARK}M0\N{RIGHT DOUBLE QUOTATION MARK}"
# code, changes to the policy, changes to the cases (None: no cases), and the words at the problem's position.
PLANTED: list[tuple[str, list[Change], list[Change] | None, str]] = [
    ("unreadable", [("owner: trust@example.org", "owner: [trust")], [], "[trust"),
    ("unreadable", [], [("cases:\n", "cases: [\n")], "[" ),
    ("unknown-key", [("output: full", "ouput: full")], [], "ouput"),
    ("unknown-key", [], [("category: stolen", "categry: stolen")], "categry"),
    ("unknown-key", [("owner:", "body: x\nowner:")], [], "body"),
    ("missing-key", [("version: 1.0.0\n", "")], [], "n"),
    ("missing-key", [], [("    violation: false\n", "")], "i"),
    ("duplicate-key", [("owner:", "name: market\nowner:")], [], "name"),
    ("bad-value", [("severity: high", "severity: grave")], [], "grave"),
    ("bad-value", [], [("violation: false", "violation: perhaps")], "perhaps"),
    ("bad-value", [("version: 1.0.0", "version: 1.0")], [], "1.0"),
    ("bad-value", [("category: stolen", "category: none")], [], "none"),
    ("bad-value", [("labeler:", "allow: [undefined-rule]\nlabeler:")], [], "undefined-rule"),
    ("bad-value", [(POLICY.split("---\n", 2)[2], "\n")], [], ""),
    ("merge-conflict", [("Second-hand", "<<<<<<< HEAD\nSecond-hand")], [], "<<<<<<<"),
    ("merge-conflict", [("owner:", "||||||| 4f2\nowner:")], [], "|||||||"),
    ("merge-conflict", [], [("  - id: old", ">>>>>>> feature/new cases\n  - id: old")], ">>>>>>>"),
    ("cut-text", [], [("text: My old watch, with its box", "text: My old watch #vintage, with its box")], "#vintage"),
    ("cut-text", [], [("why: It is called", "why: In line # 2 it is called")], "# 2"),
    ("cut-text", [("What may be offered.", "Offers, see rule #1")], [], "#1"),
    ("cut-text", [("trust@example.org", "Trust & Safety #emea")], [], "#emea"),
    ("look-alike", [("id: M1", "id: \N{CYRILLIC CAPITAL LETTER EM}1a")], [], "\N{CYRILLIC CAPITAL LETTER EM}"),
    ("look-alike", [("id: M1", "id: \N{CYRILLIC CAPITAL LETTER EM}1")], [], "\N{CYRILLIC CAPITAL LETTER EM}"),
    ("look-alike", [("id: M2", "id: M\N{ZERO WIDTH SPACE}2")], [], "M\N{ZERO WIDTH SPACE}"),
    ("look-alike", [("category: stolen", "category: st\N{GREEK SMALL LETTER OMICRON}len")], [], "st"),
    ("look-alike", [("id: M2", "id: M\N{FULLWIDTH DIGIT TWO}")], [], "M\N{FULLWIDTH DIGIT TWO}"),
    ("look-alike", [("category: stolen", "category: stolen\N{EN DASH}goods")], [], "stolen\N{EN DASH}"),
    ("look-alike", [("category: stolen", "category: stolen\N{VARIATION SELECTOR-16}")], [], "stolen"),
    ("look-alike", [("category: stolen", "category: st\N{ARMENIAN SMALL LETTER OH}len")], [], "st"),
    ("look-alike", [("category: stolen", "category: sto\N{COMBINING ACUTE ACCENT}len")], [], "sto"),
    ("look-alike", [("labeler:", f"allowed: [{QUOTED}]\nlabeler:")], [], QUOTED),
    ("look-alike", [("labeler:", f"review: [{CYRILLIC_A}sk]\nlabeler:")], [], f"{CYRILLIC_A}sk"),
    ("look-alike", [("labeler:", f"answers: {{violation: [{CYRILLIC_A}sk], safe: [O]}}\nlabeler:")], [], CYRILLIC_A),
    ("look-alike", [("M2 (stolen)", f"{CYRILLIC_EM}2 (stolen)")], [], f"{CYRILLIC_EM}2"),
    ("look-alike", [("M2 (stolen)", f"M2 (st{OMICRON}len)")], [], f"st{OMICRON}len"),
    ("ambiguous-name", [("id: M2", "id: m_1")], [], "m_1"),
    ("ambiguous-name", [("category: stolen", "category: Counter-Feit")], [], "Counter-Feit"),
    ("ambiguous-name", [("category: stolen", "category: m-1")], [], "m-1"),
    ("ambiguous-name", [("labeler:", "allowed: [M0, STOLEN]\nlabeler:")], [], "STOLEN"),
    ("bad-value", [("category: stolen", "category: 'None'")], [], "'None'"),
    ("bad-value", [("category: stolen", "category: \"Null\"")], [], '"Null"'),
    ("bad-value", [("id: M2", "id: safe")], [], "safe"),
    ("bad-value", [("category: stolen", "category: off")], [], "off"),
    ("bad-value", [("category: stolen", "category: 2025-01-31")], [], "2025"),
    ("bad-value", [("id: M2", "id: 0x10")], [], "0x10"),
    ("bad-value", [("labeler:", "review: [Counterfeit]\nlabeler:")], [], "Counterfeit"),
    ("bad-value", [("labeler:", "review: [Ask, benign, safe]\nlabeler:")], [], "safe"),
    ("bad-value", [("category: stolen", "category: Review"), ("labeler:", "review: [Ask]\nlabeler:")], [], "Review"),
    ("bad-value", [("labeler:", "allowed: ['']\nlabeler:")], [], "''"),
    ("bad-value", [("labeler:", "gate: {min_recall: true}\nlabeler:")], [], "true"),
    ("bad-value", [("labeler:", "gate: {max_unreadable_rate: '0.1'}\nlabeler:")], [], "'0.1'"),
    ("bad-value", [("labeler: {effort: low}", "labeler: {max_tokens: yes}")], [], "yes"),
    ("unreadable", [], [("text: My old watch", "text: &amp My old watch")], "&amp"),
    ("unreadable", [], [("why: It is called", "why: ! It is called")], "! It"),
    ("unreadable", [("owner: trust@example.org", "owner: &trust team")], [], "&trust"),
    ("unreadable", [], [("  - id: old", "=======\n  - id: old")], "======="),
    ("wrong-folder", [("version: 1.0.0", "version: 2.0.0")], [], "2.0.0"),
    ("no-rules", [(POLICY[POLICY.index("rules:") : POLICY.index("labeler:")], "")], None, "---"),
    ("duplicate-rule", [("id: M2", "id: M1")], [], "M1"),
    ("undefined-rule", [("Second-hand goods", "M7 and second-hand goods")], [], "M7"),
    (
        "undefined-category",
        [("## Output", "| Text | Category |\n|---|---|\n| A | fake |\n| B | stolen |\n\n## Output")],
        [],
        "fake",
    ),
    ("undefined-category", [("## Output", 'For example {"category": "fakes"}\n\n## Output')], [], "fakes"),
    ("untold-rule", [("M2 (stolen)", "M2"), ("`stolen` or ", "")], [], "stolen"),
    ("no-output-format", [(FORM, "Say so."), (FORM, "Say so.")], [], "# Market"[0]),
    ("incomplete-output-format", [(', "confidence": "low|medium|high"', "")] * 2, [], "Decide whether the offer"),
    ("output-format-once", [(f"## Output format\n\n{FORM}\n", "")], [], "Decide whether the offer"),
    ("missing-section", [("## Definitions", "## Ideas")], [], "#"),
    ("no-examples", [("## Examples\n", "## More\n")], [], "#"),
    ("one-sided-examples", [('- "My old watch, box included" -> 0\n', "")], [], "## Examples"),
    ("vague-word", [("are safe.", "are generally safe.")], [], "generally"),
    ("todo", [("are safe.", "are TODO safe.")], [], "TODO"),
    ("todo", [("title: Stolen goods", "title: TODO")], [], "TODO"),
    ("todo", [], [("why: It is called a replica.", "why: TODO")], "TODO"),
    ("long", [("are safe.", "are safe." + " A word more." * 400)], [], "#"),
    ("too-long", [("are safe.", "are safe." + " A word more." * 4000)], [], "#"),
    ("control-token", [("are safe.", "are <|end|> safe.")], [], "<|end|>"),
    ("template-braces", [("are safe.", "are {{safe}}.")], [], "{{safe}}"),
    ("template-braces", [("are safe.", "are {% safe %}.")], [], "{% safe %}"),
    ("no-cases", [], None, "---"),
    ("no-cases", [], [(CASES, "cases: []\n")], "c"),
    ("one-sided-cases", [], [(CASES[CASES.index("  - id: old") :], "")], "c"),
    ("untested-rule", [], [(CASES[CASES.index("  - id: found") : CASES.index("  - id: old")], "")], "M2"),
    ("duplicate-case-id", [], [("id: old-watch", "id: replica-watch")], "replica-watch"),
    ("duplicate-case", [], [("\n  - id: old", CASES[7:].replace("replica-", "next-", 1) + "  - id: old")], "next-"),
    ("contradicting-cases", [], [("My old watch, with its box", "Replica watch, nobody can tell")], "old-watch"),
    ("inconsistent-case", [], [("violation: false", "violation: false\n    rules: [M1]")], "false"),
    ("inconsistent-case", [], [("category: stolen", "category: counterfeit")], "counterfeit"),
    ("inconsistent-case", [], [("category: stolen", "category: none")], "none"),
    ("unknown-case-rule", [], [("rules: [M2]", "rules: [M2, M9]")], "M9"),
    ("unknown-case-rule", [], [("category: stolen", "category: theft")], "theft"),
    ("case-without-rule", [], [("    rules: [M2]\n", "")], "true"),
    ("unexplained-case", [], [("    why: It says they were taken.\n", "")], "found-on-a-truck"),
]  # fmt: skip


def diagnostics_of(file: Path, code: str) -> list[Diagnostic]:
    return [diagnostic for diagnostic in check_file(file) if diagnostic.code == code]


def test_a_policy_without_problems_has_none(tmp_path: Path) -> None:
    assert check_file(write_policy(tmp_path)) == ()


@pytest.mark.parametrize(("code", "policy_edits", "case_edits", "words"), PLANTED)
def test_each_problem_is_reported_at_its_position(
    tmp_path: Path, code: str, policy_edits: list[Change], case_edits: list[Change] | None, words: str
) -> None:
    cases = None if case_edits is None else edited(CASES, *case_edits)
    file = write_policy(tmp_path, edited(POLICY, *policy_edits), cases)
    diagnostics = diagnostics_of(file, code)
    assert diagnostics, [d.code for d in check_file(file)]
    marked = [diagnostic.excerpt[diagnostic.span.column - 1 :] for diagnostic in diagnostics]
    assert any(text.startswith(words) for text in marked), marked


def test_every_code_has_an_example() -> None:
    in_other_tests = {"published-changed", "labeler-changed", "lock-behind"}
    assert {code for code, *_ in PLANTED} | in_other_tests == set(CHECKS)


def test_ten_mistakes_are_ten_diagnostics_at_their_lines_in_one_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, golden: Callable[[str, str], None]
) -> None:
    duplicate = "  - {id: M1, category: counterfeit, title: Duplicate}\n"
    text = edited(
        POLICY,
        ("owner:", "ownr:"),
        ("labeler:", f"{duplicate}labeler:"),
        ("Decide whether", "<|start|>Decide whether"),
        ("Second-hand goods are safe.", "M7 (other): anything else.\nSecond-hand goods are generally safe."),
        ('- "My old watch, box included" -> 0', '- "Handbag, same label, tenth of the price" -> 1 M1'),
        (f"## Output format\n\n{FORM}\n", "## Labels\n\n| Text | Category |\n|---|---|\n| Fake bag | fake |\n"),
    )
    again = "\n  - id: watch-again\n    text: My old watch, with its box\n    violation: true\n    rules: [M9]\n"
    write_policy(tmp_path / "policies", text, f"{CASES}{again}    why: A\n")
    monkeypatch.chdir(tmp_path)
    report = check_paths([Path("policies")])

    def line_of(words: str, file: str = text) -> int:
        return next(number for number, line in enumerate(file.split("\n"), 1) if words in line)

    assert {(Path(d.file).name, d.code, d.span.line) for d in report.diagnostics} == {
        ("policy.md", "unknown-key", line_of("ownr:")),
        ("policy.md", "duplicate-rule", line_of("Duplicate")),
        ("policy.md", "control-token", line_of("<|start|>")),
        ("policy.md", "output-format-once", line_of("<|start|>")),
        ("policy.md", "undefined-rule", line_of("M7 (other)")),
        ("policy.md", "vague-word", line_of("generally")),
        ("policy.md", "one-sided-examples", line_of("## Examples")),
        ("policy.md", "undefined-category", line_of("Fake bag")),
        ("cases.yaml", "contradicting-cases", line_of("watch-again", CASES + again)),
        ("cases.yaml", "unknown-case-rule", line_of("[M9]", CASES + again)),
    }
    assert len(report.diagnostics) == 10
    golden("check/ten-mistakes.txt", report_text(report))
    golden("check/ten-mistakes.json", report_json(report))
    golden("check/ten-mistakes.github.txt", report_github(report))


def test_a_renamed_rule_is_one_problem_and_not_one_for_each_place_that_names_it(tmp_path: Path) -> None:
    cases = "".join(
        f"  - id: c{n}\n    text: Replica {n}\n    violation: true\n    category: counterfeit\n    rules: [M1]\n"
        f"    why: R.\n\n"
        for n in range(60)
    )
    renamed = edited(POLICY, ("id: M1", "id: K1"), ("M1 (counterfeit): offers", "K1 (counterfeit): offers"))
    report = check_paths([write_policy(tmp_path, renamed, f"{CASES}\n{cases}")])
    assert {d.code for d in report.diagnostics} == {"unknown-case-rule", "undefined-rule", "untested-rule"}
    text = report_text(report)
    assert text.count("names rule M1, which the policy does not define") == 1
    assert re.search(r"= the same in 61 more places, by line: cases\.yaml \d+, \d+, .* and 51 more\n", text)
    assert text.endswith("1 policy checked: 62 errors and 1 warning.\n")
    assert report_github(report).count("::error") == 1
    assert len(json.loads(report_json(report))["diagnostics"]) == 63


def test_a_table_may_have_a_rules_title_next_to_its_id_but_not_alone(tmp_path: Path) -> None:
    table = "## Labels\n\n| Rule | Category | Text |\n|---|---|---|\n| `{}` | {} | Fake |\n\n## Criteria"

    def codes(*cells: str) -> list[str]:
        text = edited(POLICY, ("title: Stolen goods", "title: Stolen / found"), ("## Criteria", table.format(*cells)))
        return [d.code for d in check_file(write_policy(tmp_path, text))]

    assert codes("M2", "Stolen / found") == []
    assert codes("M1", "Stolen / found") == ["undefined-category"] * 2
    assert codes("M2", "Stolen / lost") == ["undefined-category"] * 2


@pytest.mark.parametrize(
    "change",
    [("rules:\n", "rule:\n"), ("category: counterfeit", "categroy: counterfeit"), ("- {id: M1,", "- {ids: M1,")],
)
def test_a_mistake_in_the_list_of_rules_hides_what_only_follows_from_it(
    tmp_path: Path, change: tuple[str, str]
) -> None:
    diagnostics = check_file(write_policy(tmp_path, edited(POLICY, change)))
    assert diagnostics[0].code in ("unknown-key", "missing-key")
    assert not {d.code for d in diagnostics} & {"unknown-case-rule", "undefined-rule", "undefined-category", "no-rules"}


def test_a_merge_conflict_is_the_only_problem_of_its_file_and_is_not_published(tmp_path: Path) -> None:
    both = "<<<<<<< ours\nM1 (counterfeit): offers a fake.\n=======\nM1 (stolen): offers loot.\n>>>>>>> theirs\n"
    file = write_policy(tmp_path, edited(POLICY, ("M1 (counterfeit): offers a replica.\n", both)))
    assert [d.code for d in check_file(file)] == ["merge-conflict"]
    ready, problems = publish_candidates([file], file.parents[2])
    assert (ready, [d.code for d in problems.diagnostics]) == ([], ["merge-conflict"])
    file.write_text(edited(POLICY, ("Market\n", "Market\n=======\n")))  # a heading in Markdown
    assert check_file(file) == ()


def test_a_name_that_only_looks_like_a_rule_is_named_by_its_characters(tmp_path: Path) -> None:
    twin = "\N{CYRILLIC CAPITAL LETTER EM}2"
    (problem,) = diagnostics_of(write_policy(tmp_path, cases=edited(CASES, ("[M2]", f"[{twin}]"))), "unknown-case-rule")
    assert "it looks like M2, but has U+041C (cyrillic capital letter em)" in problem.hint
    key = edited(POLICY, ("owner:", "own\N{SOFT HYPHEN}er:"))
    (problem,) = diagnostics_of(write_policy(tmp_path, key), "unknown-key")
    assert "it looks like owner, but has U+00AD (soft hyphen)" in problem.hint


def test_an_id_in_the_letters_of_another_language_is_no_look_alike(tmp_path: Path) -> None:
    cyrillic = edited(POLICY, ("category: stolen", "category: \u043a\u0440\u0430\u0434\u0435\u043d\u043e\u0435"))
    assert diagnostics_of(write_policy(tmp_path, cyrillic), "look-alike") == []


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (edited(POLICY, ("---\n# Market", "\n# Market")), 11, "the front matter has no end"),
        (edited(POLICY, ("---\n# Market", "\N{EM DASH}\n# Market")), 11, "the line that ends the front matter is not"),
        ("\n\n" + POLICY, 3, "the line that begins the front matter is not the first line"),
        (edited(POLICY, ("---\nname", "----\nname")), 1, "the line that begins the front matter is not three hyphens"),
        (POLICY.removeprefix("---\n"), 1, "the file does not begin with front matter"),
        ("# Only a text\n", 1, "the file does not begin with front matter"),
    ],
)
def test_a_missing_line_of_hyphens_is_reported_where_it_is_missing(
    tmp_path: Path, text: str, line: int, message: str
) -> None:
    (problem,) = diagnostics_of(write_policy(tmp_path, text), "unreadable")
    assert problem.span.line == line and problem.message.startswith(message)
    assert "type three hyphens, `---`, on a line of their own" in problem.hint


def test_a_text_that_a_comment_swallows_whole_is_said_to_be_a_comment(tmp_path: Path) -> None:
    cases = edited(CASES, ("text: Replica watch, nobody can tell", "text: #replica watch, nobody can tell"))
    (problem,) = diagnostics_of(write_policy(tmp_path, cases=cases), "bad-value")
    assert "YAML reads `#replica watch, nobody can tell` as a comment" in problem.message


def test_a_title_with_a_comma_is_told_to_be_quoted(tmp_path: Path) -> None:
    text = edited(POLICY, ("title: Stolen goods", "title: Stolen, found or borrowed goods"))
    (problem,) = diagnostics_of(write_policy(tmp_path, text), "unknown-key")
    assert problem.hint.startswith("a text with a comma must be in quotes")


def test_a_warning_that_the_author_allows_is_not_reported(tmp_path: Path) -> None:
    vague = edited(POLICY, ("are safe.", "are usually safe."))
    assert [d.code for d in check_file(write_policy(tmp_path, vague))] == ["vague-word"]
    allowed = edited(vague, ("labeler:", "allow: [vague-word]\nlabeler:"))
    assert check_file(write_policy(tmp_path, allowed)) == ()


def test_a_line_that_introduces_examples_counts_as_a_heading(tmp_path: Path) -> None:
    assert check_file(write_policy(tmp_path, edited(POLICY, ("## Examples\n", "Examples:\n")))) == ()


def test_a_single_file_elsewhere_needs_neither_folders_nor_cases(tmp_path: Path) -> None:
    file = tmp_path / "draft.md"
    file.write_text(POLICY)
    assert check_file(file) == ()


def test_text_that_is_not_utf_8_is_marked_at_the_first_bad_byte(tmp_path: Path) -> None:
    file = write_policy(tmp_path)
    file.write_bytes(POLICY.replace("Replica**", "R\udcff**").encode("utf-8", "surrogateescape"))
    (problem,) = (d for d in check_file(file) if d.code == "unreadable")
    assert problem.excerpt[problem.span.column - 1] == "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("form", "codes"),
    [
        ("Answer Violating or Non-violating.", set()),
        ("Answer 0 or 1.", {"no-output-format"}),
        ("Answer Violating, else say nothing.", {"no-output-format"}),
    ],
)
def test_the_words_of_a_binary_policy_are_its_answer_format(tmp_path: Path, form: str, codes: set[str]) -> None:
    words = ("output: full", "output: binary\nanswers: {violation: [Violating], safe: [Non-violating]}")
    text = edited(POLICY, words, (f"Answer with one JSON object:\n{FORM}", form), (FORM, form))
    assert {d.code for d in check_file(write_policy(tmp_path, text))} == codes


def test_a_path_without_a_policy_is_an_error_that_names_the_path(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="does not exist"):
        check_paths([tmp_path / "nowhere"])
    with pytest.raises(PolicyError, match=r"contains no policy\.md"):
        check_paths([tmp_path])


def test_a_policy_given_twice_is_checked_once(tmp_path: Path) -> None:
    file = write_policy(tmp_path)
    assert check_paths([file, tmp_path]).policies == 1


anything = st.text(max_size=300)
lines = st.lists(
    st.sampled_from([*POLICY.split("\n"), *CASES.split("\n"), "---", "| a | category |", "|---|---|", "```", "x: *a"]),
    max_size=40,
).map("\n".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(front=anything | lines, body=anything | lines, cases=anything | lines)
def test_check_never_raises_on_any_text(tmp_path: Path, front: str, body: str, cases: str) -> None:
    file = tmp_path / "market" / "1.0.0" / "policy.md"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(f"---\n{front}\n---\n{body}".encode("utf-8", "surrogatepass"))
    file.with_name("cases.yaml").write_bytes(cases.encode("utf-8", "surrogatepass"))
    report = check_paths([file])
    assert all(d.code in CHECKS for d in report.diagnostics)
    report_text(report), report_json(report), report_github(report)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, len(POLICY) - 1), st.text(max_size=3)), max_size=4))
def test_a_file_without_errors_can_be_loaded(tmp_path: Path, changes: list[tuple[int, str]]) -> None:
    text = POLICY
    for position, replacement in changes:
        text = text[:position] + replacement + text[position + 1 :]
    file = write_policy(tmp_path, text.encode("utf-8", "replace").decode())
    if not any(d.level == "error" for d in check_file(file)):
        load_policy(file)
