"""One mistake is one problem of `safeguard check`, in the author's words; what only follows from it is not reported."""

import re
from pathlib import Path

import pytest

from safeguard_spark.authoring.check import check_file, check_paths
from safeguard_spark.authoring.diagnostics import by_cause
from safeguard_spark.authoring.languages import language_of
from safeguard_spark.authoring.verify import required_cases
from safeguard_spark.errors import PolicyError
from safeguard_spark.policy.layout import policy_refs, stray_files
from tests.unit.samples import CASES, POLICY, edited, write_policy

pytestmark = pytest.mark.unit

REVERSED = CASES.replace("cases:\n", "", 1)
DUTCH = (
    "De advertentie mag niet worden geplaatst als de verkoper een dier uit het wild aanbiedt, want dat is verboden. "
)
POLISH = "Ogłoszenie narusza zasady, jeżeli sprzedawca oferuje zwierzę schwytane w naturze albo odmawia spotkania. "
ITALIAN = "La vendita di un animale con una visita è permessa, ma una vendita senza visita del compratore non lo è. "


@pytest.mark.parametrize(
    ("policy_edits", "case_edits", "code", "words"),
    [
        ([], [(CASES, f"{CASES}cases:\n{REVERSED}")], "duplicate-key", "cases"),
        ([("id: M2,", "id: M2, id: M8,")], [], "duplicate-key", "id"),
        ([("labeler:", "rules: [{id: X1, category: other}]\nlabeler:")], [], "duplicate-key", "rules"),
        ([("category: stolen", "category: 3")], [], "bad-value", "3"),
        ([("id: M2", "id: ~")], [], "bad-value", "~"),
        ([("version: 1.0.0", "version: v1")], [], "bad-value", "v1"),
        ([], [("text: My old watch, with its box", "text: #watch")], "bad-value", "id: old-watch"),
        ([], [("    text: My old watch, with its box", "    conversation: [{role: user}]")], "missing-key", "{"),
        ([], [("    why: It says they were taken.", "    reason: It says they were taken.")], "unknown-key", "reason"),
        ([], [("    rules: [M2]", "    rulez: [M2]")], "unknown-key", "rulez"),
        ([("labeler:", "allowed: [' ']\nlabeler:")], [], "bad-value", "' '"),
        ([], [("id: old-watch", "id: old-w\N{CYRILLIC SMALL LETTER A}tch")], "look-alike", "old-w"),
    ],
)
def test_one_mistake_is_one_problem(
    tmp_path: Path, policy_edits: list[tuple[str, str]], case_edits: list[tuple[str, str]], code: str, words: str
) -> None:
    problems = check_file(write_policy(tmp_path, edited(POLICY, *policy_edits), edited(CASES, *case_edits)))
    assert [d.code for d in problems] == [code], [d.message for d in problems]
    assert problems[0].excerpt[problems[0].span.column - 1 :].startswith(words)


@pytest.mark.parametrize(
    "text",
    [
        "text: My old watch\n      ring 555 #evenings\n      or write",
        "text: |\n      My old watch\n    # evenings\n      or write",
        "text: >\n      My old watch\n# evenings\n      or write",
    ],
)
def test_a_text_that_a_comment_interrupts_is_told_so(tmp_path: Path, text: str) -> None:
    (problem,) = check_file(write_policy(tmp_path, POLICY, CASES.replace("text: My old watch, with its box", text)))
    assert "a comment begins" in problem.message
    assert problem.excerpt.strip() == "or write"


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("'false'", "must be true, false or review, not the text `false`: leave out the quotes"),
        ('"True"', "must be true, false or review, not the text `True`: leave out the quotes"),
        ("'1'", "must be true, false or review, not the text `1`: leave out the quotes"),
        ("0", "must be true, false or review, not the number 0"),
        ("maybe", "must be true, false or review, not `maybe`"),
    ],
)
def test_a_verdict_that_is_a_text_or_a_number_is_refused_with_what_to_write(
    tmp_path: Path, written: str, words: str
) -> None:
    file = write_policy(tmp_path, POLICY, edited(CASES, ("violation: false", f"violation: {written}")))
    (problem,) = check_file(file)
    assert (problem.code, problem.excerpt.strip()) == ("bad-value", f"violation: {written}")
    assert problem.message.endswith(words)
    with pytest.raises(PolicyError, match=re.escape(words)):
        required_cases(file)


def test_numbers_with_an_exponent_are_numbers(tmp_path: Path) -> None:
    text = edited(POLICY, ("labeler:", "gate: {min_recall: 9e-1}\nlabeler:"))
    assert not check_file(write_policy(tmp_path, text))
    (problem,) = check_file(write_policy(tmp_path, text.replace("9e-1", "'0.9'")))
    assert problem.message.endswith("must be a number, not the text `0.9`: leave out the quotes")


def test_curly_quotes_are_told_apart_from_quotes(tmp_path: Path) -> None:
    cases = CASES.replace("text: My old watch, with its box", "text: “My old watch: with its box”")
    (problem,) = check_file(write_policy(tmp_path, POLICY, cases))
    assert problem.hint.endswith('"…"')


@pytest.mark.parametrize(
    "category", ["vente-forcée", "赝品ＳＮＳ販売", "VPN-реклама", "نسخ-مزيفة", "satış-İ", "поддельный-M"]
)
def test_a_name_in_its_own_letters_is_no_look_alike(tmp_path: Path, category: str) -> None:
    policy, cases = (text.replace("counterfeit", category) for text in (POLICY, CASES))
    assert [d.message for d in check_file(write_policy(tmp_path, policy, cases))] == []


@pytest.mark.parametrize(
    "text", [DUTCH, POLISH, ITALIAN, "広告が規則に違反するかを判断する。" * 3, "يخالف الإعلان القاعدة " * 9]
)
def test_a_text_in_a_language_without_a_list_is_told_by_its_words(text: str) -> None:
    assert language_of(text * 5, []) is None


@pytest.mark.parametrize("text", ["Flag spam. Answer 1 or 0.", "Decide whether the text is spam, and of that kind."])
def test_a_short_text_is_taken_for_english(text: str) -> None:
    language = language_of(text, [])
    assert language is not None
    assert language.code == "en"


@pytest.mark.parametrize(
    "name", ["policy.md.txt", "Policy.docx", "policy.md.bak", "cases.yaml.txt", "cases.csv", "cases.yml"]
)
def test_a_file_that_is_named_like_another_is_reported_for_the_policy_by_itself_as_well(
    tmp_path: Path, name: str
) -> None:
    file = write_policy(tmp_path)
    right = file if name.lower().startswith("policy") else file.with_name("cases.yaml")
    right.rename(file.with_name(name))
    folder = file.parents[2]
    paths = [[folder], [file]] if file.exists() else [[folder]]
    for one in paths:
        codes = [d.code for d in check_paths(one, folder).diagnostics]
        assert codes == ["wrong-folder"]


def test_a_hidden_folder_is_read_by_no_command(tmp_path: Path) -> None:
    file = write_policy(tmp_path)
    folder = file.parents[2]
    (folder / ".old").mkdir()
    file.parents[1].rename(folder / ".old" / "market")
    other = write_policy(tmp_path)
    assert check_paths([folder], folder).policies == len(policy_refs(folder)) == 1
    assert other.exists()


def test_a_policy_that_is_not_read_is_reported_once(tmp_path: Path) -> None:
    file = write_policy(tmp_path)
    folder = file.parents[2]
    (folder / "team" / "old").mkdir(parents=True)
    file.parent.rename(folder / "team" / "old" / "1.0.0")
    assert [d.code for d in check_paths([folder], folder).diagnostics] == ["wrong-folder"]


@pytest.mark.parametrize("name", ["lock.json", "lock/market@1.0.0.json", "lock/rooms@2.0.0.json"])
@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ('{\n<<<<<<< ours\n "lock": 2\n', "merge-conflict", 2),
        ("[1]", "unreadable", 1),
        ('{"lock": 9}', "unreadable", 1),
    ],
)
def test_a_lock_that_cannot_be_read_is_reported_once_and_in_its_own_file(
    tmp_path: Path, name: str, text: str, code: str, line: int
) -> None:
    write_policy(tmp_path)
    write_policy(tmp_path, POLICY.replace("version: 1.0.0", "version: 1.1.0"), version="1.1.0")
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    (problem,) = check_paths([tmp_path]).diagnostics
    assert (problem.code, problem.span.line, Path(problem.file)) == (code, line, file)
    assert problem.hint


def test_a_file_of_cases_stands_for_its_policy(tmp_path: Path) -> None:
    cases = write_policy(tmp_path, POLICY, CASES.replace("rules: [M2]", "rules: [M5]")).with_name("cases.yaml")
    report = check_paths([cases])
    assert (report.policies, [d.code for d in report.diagnostics]) == (1, ["unknown-case-rule", "untested-rule"])


def test_a_key_mistyped_in_every_case_is_one_problem_with_its_places(tmp_path: Path) -> None:
    file = write_policy(tmp_path, POLICY, CASES.replace("why:", "whyy:"))
    assert len(by_cause(check_file(file))) == 1 < len(check_file(file))


@pytest.mark.parametrize(
    ("policy_edits", "case_edits", "message", "hint"),
    [
        ([], [("rules: [M2]", "rules: M2")], "`rules` of case found-on-a-truck must", "write `rules: [M2]`"),
        ([("labeler:", "languages: de\nlabeler:")], [], "`languages` must", "write `languages: [de]`"),
        ([("labeler:", "languages: [d\N{CYRILLIC SMALL LETTER IE}]\nlabeler:")], [], "entry 1", "U+0435"),
        ([("severity: high", "severity: high\N{ZERO WIDTH SPACE}")], [], "`severity` of rule 1", "U+200B"),
        ([], [("text: My old watch, with its box", "conversation: My watch")], "`conversation` of", "a list of turns"),
    ],
)
def test_a_value_of_another_type_is_told_what_to_write_in_its_place(
    tmp_path: Path,
    policy_edits: list[tuple[str, str]],
    case_edits: list[tuple[str, str]],
    message: str,
    hint: str,
) -> None:
    problems = check_file(write_policy(tmp_path, edited(POLICY, *policy_edits), edited(CASES, *case_edits)))
    (problem,) = [d for d in problems if d.code == "bad-value"]
    assert problem.message.startswith(message)
    assert hint in problem.hint


@pytest.mark.parametrize("version", ["01.0.0", "1.00.0", "1.0.007", "\N{ARABIC-INDIC DIGIT ONE}.0.0"])
def test_a_version_has_one_spelling(tmp_path: Path, version: str) -> None:
    file = write_policy(tmp_path, POLICY.replace("version: 1.0.0", f"version: {version}"), version=version)
    problems = check_paths([tmp_path], tmp_path).diagnostics
    assert sorted(d.code for d in problems) == ["bad-value", "wrong-folder"]
    assert policy_refs(tmp_path) == []
    (stray,) = stray_files(tmp_path)
    assert stray.path == file
    assert re.search(r"for example 1\.0\.(0|7)$", stray.hint)


@pytest.mark.parametrize("written", ["M2 (sto\N{SOFT HYPHEN}len)", "M2 (stol\N{CYRILLIC SMALL LETTER IE}n)"])
def test_a_word_that_an_answer_would_not_be_read_by_is_a_look_alike(tmp_path: Path, written: str) -> None:
    (problem,) = check_file(write_policy(tmp_path, edited(POLICY, ("M2 (stolen)", written))))
    assert problem.code == "look-alike"


@pytest.mark.parametrize("written", ["M2 (Stolen)", "M2 (ＳＴＯＬＥＮ)", "M\N{FULLWIDTH DIGIT TWO} (stolen)"])
def test_a_word_that_is_read_as_its_label_is_none(tmp_path: Path, written: str) -> None:
    problems = check_file(write_policy(tmp_path, edited(POLICY, ("M2 (stolen)", written))))
    assert "look-alike" not in {d.code for d in problems}


@pytest.mark.parametrize("name", ["cases.yml", "Case.json", "cases.yaml.txt"])
def test_verify_names_the_file_that_is_meant_to_be_the_cases(tmp_path: Path, name: str) -> None:
    file = write_policy(tmp_path)
    cases = file.with_name("cases.yaml")
    cases.rename(file.with_name(name))
    with pytest.raises(PolicyError, match=rf"{name} is not read.*rename it cases.yaml"):
        required_cases(file)
