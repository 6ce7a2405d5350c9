"""What a pack has is in the policy and its cases, or is listed as lost; a label keeps its meaning."""

from pathlib import Path

import pytest

from safeguard_spark.authoring.packs.pack import Imported, read_pack
from safeguard_spark.errors import PolicyError

pytestmark = pytest.mark.unit

TEXT = """# Ticket resale

Answer 1 or 0.

## TR1: Price above the print
Asks for more than the printed price.

## TR2: Fake ticket
Sells a ticket that does not exist.

## Permitted (TR0)
Gives a ticket away.
"""
ROWS = "text,label\nRow 3, twice the price,TR1\n"


def imported(folder: Path, files: dict[str, str | bytes], text: str = TEXT) -> Imported:
    pack = folder / "tickets"
    for name, content in {"policy.md": text, **files}.items():
        file = pack / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    (one,) = read_pack(pack)
    return one


def verdicts(one: Imported) -> list[tuple[str | None, object, tuple[str, ...]]]:
    return [(case.text, case.violation, case.rules) for case in one.cases]


@pytest.mark.parametrize(
    "name",
    ["prices.xlsx", "golden.parquet", "golden.csv.gz", "appendix.docx", "rules.pdf", "config.yml", "page.html",
     "annex/venues.md", "annex/deep/er/list.txt", "policies/concerts.md"],
)  # fmt: skip
def test_a_file_that_is_not_imported_is_lost(tmp_path: Path, name: str) -> None:
    one = imported(tmp_path, {name: b"PK\x03 venue"})
    assert [lost.startswith(name) for lost in one.lost] == [True]


@pytest.mark.parametrize(
    "name", ["README.md", "LICENSE", "docs/README.md", "logo.png", "eval/run.py", ".git/config", "CHANGELOG.md"]
)
def test_what_is_about_a_pack_is_not_lost(tmp_path: Path, name: str) -> None:
    assert imported(tmp_path, {name: "about"}).lost == ()


def test_a_file_without_an_ending_that_is_no_text_is_lost_as_well(tmp_path: Path) -> None:
    (lost,) = imported(tmp_path, {"data/blob": b"\xff\xf0\x00"}).lost
    assert lost.startswith("data/blob: a file of this kind")


def test_of_many_files_the_first_are_named_and_the_rest_counted(tmp_path: Path) -> None:
    one = imported(tmp_path, {f"annex/{number}.txt": "x" for number in range(33)})
    assert one.lost[-1] == "13 more files"


@pytest.mark.parametrize(
    ("rows", "kept"),
    [
        ("label,text\nTR1,Row 3, twice the price\nTR0,Free\n", "Free"),
        ("text,label\nFree,TR0\nRow 3, twice the price,TR1\n", "Free"),
        ("text;label\nFree;TR0\nRow 3; twice; the price;TR1\n", "Free"),
    ],
)
def test_a_row_with_a_separator_outside_quotes_is_lost_and_not_cut(tmp_path: Path, rows: str, kept: str) -> None:
    one = imported(tmp_path, {"golden.csv": rows})
    assert [text for text, _, _ in verdicts(one)] == [kept]
    assert "more cells than the header" in one.lost[0]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("golden.tsv", "text\tlabel\nFree\tTR0\nTwice\tTR1\n".encode("utf-16")),
        ("golden.csv", "Testo,Etichetta\nFree,TR0\nTwice,TR1\n"),
        ("golden.csv", "본문;판정\nFree;TR0\nTwice;TR1\n"),
        ("golden.csv", "nr,Oordeel,Bericht\n7,TR0,Free\n9,TR1,Twice\n"),
        ("golden.json", '{"v": 2, "examples": [{"text": "Free", "label": "TR0"}, {"text": "Twice", "label": "TR1"}]}'),
        ("golden.json", '{\n "x1": {"text": "Free", "label": "TR0"},\n "x2": {"text": "Twice", "label": "TR1"}\n}'),
    ],
)  # fmt: skip
def test_a_golden_set_is_read_as_people_save_it(tmp_path: Path, name: str, content: str | bytes) -> None:
    one = imported(tmp_path, {name: content})
    assert verdicts(one) == [("Free", False, ()), ("Twice", True, ("TR1",))]
    assert one.lost == ()


def test_a_broken_line_of_json_is_lost_and_the_others_are_read(tmp_path: Path) -> None:
    lines = '{"text": "Free", "label": "TR0"}\n{"text": "Twice", "label":\n{"text": "Dear", "label": "TR1"}\n'
    one = imported(tmp_path, {"golden.jsonl": lines})
    assert [text for text, _, _ in verdicts(one)] == ["Free", "Dear"]
    assert one.lost == ("golden.jsonl: 1 row (3) that are no JSON objects; skipped",)


@pytest.mark.parametrize(
    ("listed", "allowed"),
    [
        ("## Forbidden\n- `TR1`: Dear\n- `TR2`: Fake\n\n## Permitted\n- `TR0`: gift\n", ("TR0",)),
        ("## What is unsafe\n* **TR1** Dear\n* **TR2** Fake\n\n### Not a violation\n* **TR0** Gift\n", ("TR0",)),
        ("## Not allowed\n1. TR1: Dear\n2. TR2: Fake\n3. TR0: Gift\n", ()),
        ("## Safe and unsafe\n- TR1: Dear\n- TR2: Fake\n- TR0: Safe\n", ("TR0",)),
    ],
)
def test_a_label_in_a_list_is_safe_if_the_nearest_heading_says_so(
    tmp_path: Path, listed: str, allowed: tuple[str, ...]
) -> None:
    one = imported(tmp_path, {}, f"# Safe tickets\n\nAnswer 1 or 0.\n\n{listed}")
    assert one.policy.allowed == allowed
    assert set(one.policy.rule_ids) == {"TR0", "TR1", "TR2"} - set(allowed)


def test_a_word_without_a_meaning_is_refused_in_a_later_sentence_of_the_line(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="whether LIMIT means"):
        imported(tmp_path, {}, "# Tickets\n\nClassify the offer by these rules. Answer KEEP, LIMIT or REMOVE.\n")


def test_the_section_of_another_flag_is_left_out_wherever_its_heading_names_it(tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    pack.mkdir()
    text = 'Return {"D": 0 or 1, "F": 0 or 1}.\n\n## Dear (D)\nToo much.\n\n## Fake (F - high)\nNo ticket.\n'
    (pack / "policy.md").write_text(text)
    of_d, of_f = (one.policy.body for one in read_pack(pack, name="tickets", split=True))
    assert ("Too much." in of_d, "No ticket." in of_d) == (True, False)
    assert ("Too much." in of_f, "No ticket." in of_f) == (False, True)


@pytest.mark.parametrize(
    "asked",
    [
        "Answer with one of: touting, fraud, none.",
        "Return a severity: low, medium or high.",
        "Label each offer as FAIR, DEAR, FAKE or OTHER.",
        "Antworte mit GRÜN, GELB oder ROT.",
        "Responde BIEN o MAL.",
        "Réponds « VERT » ou « ROUGE ».",
    ],
)
def test_words_whose_meaning_is_not_known_are_refused(tmp_path: Path, asked: str) -> None:
    with pytest.raises(PolicyError, match="Ask in the text for one of"):
        imported(tmp_path, {}, f"# Tickets\n\nNo tickets above the price.\n\n{asked}\n")


@pytest.mark.parametrize(
    ("asked", "violation", "safe"),
    [
        ("Antworte mit „Verstoß“ oder „erlaubt“.", "Verstoß", "erlaubt"),
        ("Réponds « interdit » ou « autorisé ».", "interdit", "autorisé"),
        ("Responda PROIBIDO ou PERMITIDO.", "PROIBIDO", "PERMITIDO"),
    ],
)
def test_words_of_other_languages_are_answers(tmp_path: Path, asked: str, violation: str, safe: str) -> None:
    rows = f"text,label\nTwice,{violation}\nFree,{safe}\n"
    one = imported(tmp_path, {"golden.csv": rows}, f"# Tickets\n\nNo tickets above the price.\n\n{asked}\n")
    assert one.policy.answers is not None
    assert (one.policy.answers.violation, one.policy.answers.safe) == ((violation,), (safe,))
    assert [(text, expected) for text, expected, _ in verdicts(one)] == [("Twice", True), ("Free", False)]


@pytest.mark.parametrize(
    "asked", ["Answer with one of: TR1, TR2, TR0.", "Answer one of: safe, unsafe.", "Reply: yes or no."]
)
def test_labels_and_known_words_are_not_refused(tmp_path: Path, asked: str) -> None:
    assert imported(tmp_path, {}, TEXT.replace("Answer 1 or 0.", asked)).policy.rule_ids == ("TR1", "TR2")
