"""`safeguard import` converts published policy packs and reports their mistakes."""

import os
from pathlib import Path
from typing import Any

import pytest

from safeguard_spark.authoring.cases import cases_path, load_cases
from safeguard_spark.authoring.check import check_file
from safeguard_spark.authoring.checks.labels import check_labels
from safeguard_spark.authoring.draft import read_draft
from safeguard_spark.authoring.packs.pack import Imported, read_pack, write_packs
from safeguard_spark.errors import PolicyError
from safeguard_spark.policy.document import Answers, load_policy
from tests.unit.commands import Safeguard

pytestmark = pytest.mark.unit


def read_one(path: Path, **options: Any) -> Imported:
    (imported,) = read_pack(path, **options)
    return imported


def write_one(imported: Imported, folder: Path) -> Path:
    (file,) = write_packs([imported], folder)
    return file


SHARED = Path(os.environ.get("SHARED_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))

# Invented, in the style of published packs: emoji headings, ids in brackets, sub-ids, VALID and INVALID, a table whose
# labels the text never defines; and a golden set with a blank header, sections, a model's label in a late column, and
# the model's metrics in the last rows.
TEXT = """\
Gift Card Policy (#GC)
GOAL: Classify each EXAMPLE as VALID or INVALID.

DEFINITIONS
Resale: offering a card for less than its value.

✅ Allowed Content (GC0 – no or weak signals)
GC0.a Asking - "Where can I buy a card?"
 ✅ Output: VALID

🚫 Likely Resale (GC1 – Medium Confidence)
GC1.a Offer - "Card of 50 for 30"
 ❌ Output: INVALID

🚨 Stolen Cards (GC2 – Maximum Severity)
GC2.a Bulk - "200 cards, no questions"
 ❌ Output: INVALID + ESCALATE

LABEL FORMAT
 | Example | Classification |
 |----------|---------------|
 | "Card of 50 for 30" | D-GC1, R-GC0 |
 | "200 cards, no questions" | D-G2, R-GC0 |
"""
GOLDEN = """\
,,,,,,,,,gpt-oss-safeguard classification,
GC0,,,,,,,,,,
1,Where can I buy a card?,,,,,,,,GC0,
2,"My aunt sent me a card, how do I use it?",,,,,,,,GC1,
GC1 ,,,,,,,,,,
1,Card of 50 for 30 ,,,,,,,,GC1,
2,"Card of 50,
for 35 today",,,,,,,,GC1,
GC2,,,,,,,,,,
1,"200 cards, no questions",,,,,,,,GC2,
,,,,,,,,,,
,,,,,,,,,Accuracy,0.95
,,,,,,,,,Precision,0.93
"""


def pack(tmp_path: Path, text: str = TEXT, golden: str | None = GOLDEN, *, name: str = "policy.txt") -> Path:
    folder = tmp_path / "gift-cards"
    folder.mkdir()
    (folder / name).write_text(text, encoding="utf-8")
    if golden is not None:
        (folder / "golden.csv").write_text(golden, encoding="utf-8")
    return folder


def test_a_messy_pack_is_converted_with_its_cases_and_its_wrong_label_is_reported(tmp_path: Path) -> None:
    imported = read_one(pack(tmp_path))
    assert imported.policy.ref == "gift-cards@1.0.0"
    assert [(r.id, r.category) for r in imported.policy.rules] == [("GC1", "likely-resale"), ("GC2", "stolen-cards")]
    assert imported.policy.allowed == ("GC0",)
    assert [(c.violation, c.rules) for c in imported.cases] == [
        (False, ()),
        (False, ()),
        (True, ("GC1",)),
        (True, ("GC1",)),
        (True, ("GC2",)),
    ]
    assert imported.cases[3].text == "Card of 50,\nfor 35 today"
    assert any("in 1 row (4) the classification column differs" in note for note in imported.notes)
    file = write_one(imported, tmp_path / "policies")
    (mistake,) = [d for d in check_file(file) if d.level == "error"]
    assert (mistake.code, mistake.hint) == ("undefined-category", "did you mean GC2?")
    assert mistake.excerpt[mistake.span.column - 1 :].startswith("D-G2")


def test_the_packs_text_is_unchanged_between_two_statements_of_the_answer_format(tmp_path: Path) -> None:
    body = read_one(pack(tmp_path)).policy.body
    assert TEXT.strip() in body
    before, after = body.split(TEXT.strip())
    for form in (before, after):
        assert '"rule_ids": [...]' in form
        assert "GC1 is `likely-resale`, GC2 is `stolen-cards`" in form
        assert "GC0 violates nothing" in form
        assert "INVALID means violation 1" in form


def test_the_words_of_the_packs_text_are_answers_as_well(tmp_path: Path) -> None:
    answers = read_one(pack(tmp_path)).policy.answers
    assert answers == Answers(violation=("1", "INVALID"), safe=("0", "VALID"))
    plain = tmp_path / "plain.txt"
    plain.write_text("# Gifts\n\nGifts are INVALID.\n")
    assert read_one(plain).policy.answers is None


def test_the_written_policy_equals_the_imported_one_and_is_never_overwritten(tmp_path: Path) -> None:
    imported = read_one(pack(tmp_path))
    file = write_one(imported, tmp_path / "policies")
    assert load_policy(file) == imported.policy
    assert load_cases(cases_path(file)) == imported.cases
    with pytest.raises(PolicyError, match=r"already exists\. Choose another --name or --version"):
        write_one(imported, tmp_path / "policies")


def test_bold_lines_count_as_headings(tmp_path: Path) -> None:
    text = TEXT.replace("🚫 ", "**").replace("🚨 ", "**").replace("✅ Allowed", "**Allowed").replace(")\nGC", ")**\nGC")
    imported = read_one(pack(tmp_path, text))
    assert (imported.policy.rule_ids, imported.policy.allowed) == (("GC1", "GC2"), ("GC0",))


def test_a_pack_in_markdown_with_prompts_and_responses_is_read(tmp_path: Path) -> None:
    text = TEXT.replace("🚫 Likely", "## Likely").replace("🚨 Stolen", "## Stolen").replace("✅ Allowed", "## Allowed")
    golden = "These are synthetic.,,,\nexample,classification,Responses,Response Label\nA card?,GC0,For 30.,GC1.a\n"
    folder = pack(tmp_path, text, golden, name="policy.md")
    (folder / "README.md").write_text("About this pack.")
    imported = read_one(folder)
    assert imported.policy.rule_ids == ("GC1", "GC2")
    assert [(c.id, c.rules) for c in imported.cases] == [("row-3", ()), ("row-3-response", ("GC1",))]


def test_a_golden_set_in_the_packs_datasets_folder_is_used_and_a_pack_of_several_policies_is_refused(
    tmp_path: Path,
) -> None:
    (tmp_path / "example_policies").mkdir()
    folder = pack(tmp_path / "example_policies", name="policy.md", golden=None)
    assert "no golden set in the pack" in read_one(folder).notes[-1]
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "gift-cards.csv").write_text(GOLDEN)
    assert len(read_one(folder).cases) == 5
    (tmp_path / "README.md").write_text("About this pack.")
    with pytest.raises(
        PolicyError, match=r"contains several policies\. Import each one: .*/example_policies/gift-cards\."
    ):
        read_one(tmp_path)


def test_a_plain_text_without_rules_has_binary_output(tmp_path: Path) -> None:
    file = tmp_path / "house_rules.txt"
    file.write_text("House rules\n\nNo shouting. For example: AAAH is shouting.\n")
    imported = read_one(file)
    assert (imported.policy.ref, imported.policy.output, imported.policy.rules) == ("house-rules@1.0.0", "binary", ())
    assert not [d for d in check_file(write_one(imported, tmp_path / "policies")) if d.level == "error"]


def test_name_and_version_can_be_set_and_two_golden_sets_have_distinct_ids(tmp_path: Path) -> None:
    folder = pack(tmp_path)
    (folder / "more").mkdir()
    (folder / "more" / "Extra Set.csv").write_text("text,label\nA card of 5 for 1,GC1\n")
    imported = read_one(folder, name="cards", version="2.0.0")
    assert imported.policy.ref == "cards@2.0.0"
    assert len(imported.cases) == 6
    assert {case.id.partition("-row")[0] for case in imported.cases} == {"golden", "extra-set"}


@pytest.mark.parametrize("mark", ["\ufeff", ""])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_line_ends_and_a_byte_order_mark_make_no_difference(tmp_path: Path, mark: str, ends: str) -> None:
    folder = pack(tmp_path)
    original = read_one(folder)
    for file in folder.iterdir():
        file.write_bytes((mark + file.read_text().replace("\n", ends)).encode())
    imported = read_one(folder)
    assert (imported.text, imported.notes) == (original.text, original.notes)
    assert [case.content_hash for case in imported.cases] == [case.content_hash for case in original.cases]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"has no policy\.md and not exactly one other text \(none\)"),
        ({"a.md": "A", "b.txt": "B"}, r"other text \(a\.md, b\.txt\)"),
        ({"policy.md": " \n"}, "is empty"),
        ({"policy.md": "---\nname: a\n---\nx"}, "already has front matter"),
        ({"policy.md": b"\xff"}, r"is not UTF-8 text \(byte 0\)"),
        ({"policy.md": "Text", "golden.csv": b"\xff"}, r"golden\.csv is not UTF-8 text"),
    ],
)
def test_a_folder_that_is_not_a_pack_is_an_error_that_names_the_problem(
    tmp_path: Path, files: dict[str, str | bytes], message: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(PolicyError, match=message):
        read_one(tmp_path)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["gift-cards/golden.csv"], "is a golden set: pass it with --golden"),
        (["gift-cards", "--golden", "nowhere.csv"], "nowhere.csv cannot be read"),
        (["gift-cards", "--version", "1"], "'1' is not a valid version"),
        (["gift-cards", "--name", "gift cards"], "'gift cards' is not a valid policy name"),
    ],
)
def test_the_command_names_a_wrong_argument_and_writes_nothing(
    safeguard: Safeguard, tmp_path: Path, argv: list[str], message: str
) -> None:
    pack(tmp_path)
    ran = safeguard("import", *argv)
    assert ran.code == 3
    assert message in ran.err
    assert not Path("policies").exists()


def test_the_command_prints_its_decisions_and_then_checks(safeguard: Safeguard, tmp_path: Path) -> None:
    pack(tmp_path)
    ran = safeguard("import", "gift-cards")
    assert ran.code == 0
    assert ran.out.startswith(
        "Wrote policies/gift-cards/1.0.0/policy.md.\n  - named gift-cards; --name NAME chooses another name\n"
        "  - 2 rules: GC1, GC2\n"
    )
    assert "error[undefined-category]: the table's label `D-G2` is neither a rule nor a category" in ran.out
    assert "Correct the errors above before you use the policy" in ran.out
    assert safeguard("show-prompt", "gift-cards", "hi").code == 0


needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs the published spam policy next to the checkout")


@pytest.fixture(scope="module")
def spam() -> Imported:
    return read_one(SHARED / "openai_spam_policy.txt", golden=SHARED / "openai_spam_golden.csv")


@needs_shared
def test_the_published_spam_policy_is_converted_with_its_forty_cases(spam: Imported, tmp_path: Path) -> None:
    policy = load_policy(write_one(spam, tmp_path))
    assert (policy.ref, policy.rule_ids, policy.allowed) == ("spam@1.0.0", ("SP2", "SP3", "SP4"), ("SP0",))
    assert len(spam.cases) == 40
    assert {rule for case in spam.cases for rule in case.rules} == {"SP2", "SP3", "SP4"}
    assert sum(not case.violation for case in spam.cases) == 18
    assert len({case.id for case in spam.cases}) == 40


@needs_shared
def test_the_wrong_labels_of_the_published_spam_policy_are_reported(spam: Imported, tmp_path: Path) -> None:
    draft = read_draft(write_one(spam, tmp_path), "policy.md")
    diagnostics = list(check_labels(draft))
    assert {d.code for d in diagnostics} == {"undefined-category"}
    words = {d.excerpt[d.span.column - 1 :][: d.span.length] for d in diagnostics}
    assert words == {"D-S2", "R-S0", "D-S0", "R-S2", "D-S4", "R-S4", "R-S3"}
    assert {d.hint for d in diagnostics} == {f"did you mean SP{n}?" for n in (0, 2, 3, 4)}
