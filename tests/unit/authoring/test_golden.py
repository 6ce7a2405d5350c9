"""Golden sets as CSV are read in both published layouts; what cannot be understood is a note, never an error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.authoring.packs.golden import Golden, Vocabulary, read_golden
from safeguard_spark.authoring.packs.headers import Columns
from safeguard_spark.authoring.packs.labels import Labels
from safeguard_spark.errors import PolicyError
from safeguard_spark.policy.document import Answers, Rule

pytestmark = pytest.mark.unit

LABELS = Vocabulary(
    Labels((Rule(id="SP2", category="likely-spam"), Rule(id="SP3", category="high-risk-spam")), ("SP0",))
)

SECTIONS = """\
,,,,,a model's classification ,
SP0,,,,,,
1,Your parcel is here. ,,,,SP0,
2,"Coffee, later?",,,,SP2,
SP2 ,,,,,,
1,See the whole collection at shop.example ,,,,SP2,
,,,,,,
,,,,,Accuracy,0.9
,,,,,Recall,0.8
"""

COLUMNS = """\
These are synthetic prompts written for tests.,,,
example,classification,Responses,Response Label
How old must I be?,SP0,In most places 18.,SP0
Write me an advert,SP2.a,"Buy now, at shop.example",SP3 - high
Only a prompt,SP2,,
What is this?,nonsense,,
"""


def read(text: str) -> Golden:
    return read_golden(text, LABELS, "golden.csv")


def test_a_section_labels_the_rows_below_it_even_if_a_model_answered_otherwise() -> None:
    golden = read(SECTIONS)
    assert [(case.id, case.violation, case.rules) for case in golden.cases] == [
        ("row-3", False, ()),
        ("row-4", False, ()),
        ("row-6", True, ("SP2",)),
    ]
    assert golden.cases[2].text == "See the whole collection at shop.example"
    assert golden.cases[1].why == "Row 4 of golden.csv. A model answered SP2."
    assert [note for note in golden.notes if "in 1 row (4) the classification column differs" in note]
    assert (golden.notes[0], golden.lost) == ("3 cases from golden.csv: sections of labels", ())


def test_each_text_column_is_followed_by_its_label_column_and_an_answer_is_judged_after_its_prompt() -> None:
    golden = read(COLUMNS)
    assert [(case.id, case.rules) for case in golden.cases] == [
        ("row-3", ()),
        ("row-3-response", ()),
        ("row-4", ("SP2",)),
        ("row-4-response", ("SP3",)),
        ("row-5", ("SP2",)),
    ]
    answer = golden.cases[3].conversation
    assert answer is not None
    assert [turn.role for turn in answer] == ["user", "assistant"]
    assert golden.lost == ("golden.csv: 1 row (6) without a label of the policy (nonsense); skipped",)
    assert 'text in "Responses" with label in "Response Label"' in golden.notes[0]


def test_equal_contents_are_one_case_and_a_different_label_is_noted() -> None:
    golden = read("text,label\nHello there,SP0\nHello there,SP0\nHello there,SP2\n")
    assert len(golden.cases) == 1
    assert golden.notes[1:] == ("golden.csv row 3: the same content as row-2; skipped",)
    assert golden.lost == ("golden.csv row 4: the same content as row-2, with another label; skipped",)


@pytest.mark.parametrize("label", ["1", "TRUE", "violates", "Invalid", "unsafe"])
def test_common_words_for_a_violation_are_understood(label: str) -> None:
    assert read(f"text,label\nHello there,{label}\n").cases[0].violation


@pytest.mark.parametrize("label", ["0", "false", "VALID", "safe", "none"])
def test_common_words_for_safe_are_understood(label: str) -> None:
    assert not read(f"text,label\nHello there,{label}\n").cases[0].violation


def test_a_label_does_not_match_inside_another() -> None:
    assert LABELS.read("SP22") is None
    assert LABELS.read("sp2.b") == (True, LABELS.labels.rules[:1])


@given(st.text())
def test_any_text_gives_distinct_cases_and_never_raises(text: str) -> None:
    for document in (text, SECTIONS + text, COLUMNS + text):
        golden = read(document)
        assert len({case.content_hash for case in golden.cases}) == len(golden.cases)


def test_a_text_may_have_any_length() -> None:
    (case,) = read("text,label\n" + "a" * 200_000 + ",SP2\n").cases
    assert case.text == "a" * 200_000


@pytest.mark.parametrize("broken", ['"Not closed,SP2', 'He said "hi",SP2\n"He said "hi"",SP2'])
def test_quotes_that_do_not_match_are_a_note_and_swallow_no_rows(broken: str) -> None:
    golden = read(f"text,label\nGood,SP0\n{broken}\nBye,SP0\nFree coins,SP2\n")
    assert golden.cases == () and "the quotes of the row that begins in line " in golden.lost[0]


@pytest.mark.parametrize("text", ["", "\n\n", "text,label\n", "[]"])
def test_a_file_without_contents_is_called_that(text: str) -> None:
    assert read(text).lost == ("golden.csv has no contents, or nothing at all; no cases were read",)


def test_what_no_file_can_hold_and_what_is_no_text_are_skipped() -> None:
    golden = read(
        '[{"text": "\\ud800", "label": "SP2"}, {"text": NaN, "label": "SP2"}, {"text": "ok", "label": "SP0"}]'
    )
    assert [case.text for case in golden.cases] == ["ok"]
    assert "1 row (2) whose text is not Unicode" in golden.lost[1] and "1 row (3) without a text" in golden.lost[0]


def test_an_unrelated_table_gives_no_cases_and_says_what_to_do() -> None:
    golden = read("shop,price\nNorth,3.5\nSouth,4.1\n")
    assert golden.cases == ()
    assert "neither columns of texts and labels nor sections" in golden.lost[0] and "--text-column" in golden.lost[0]


TEXTS = ("Coffee at six?", "Cheap pills, click here")
SHAPES = {
    "semicolons": "post;violates\n{0};no\n{1};yes\n",
    "tabs": "message\tlabel\n{0}\tSP0\n{1}\tSP2\n",
    "pipes and more columns": "id|comment|annotator|gold_label\n1|{0}|a|safe\n2|{1}|b|SP2\n",
    "the label first": "expected,content\nvalid,{0}\ninvalid,{1}\n",
    "a text full of other separators": 'text,label\n"{0}; really | now",SP0\n"{1}; a; b | c",SP2\n',
    "a safe column": "sentence,is_safe\n{0},true\n{1},false\n",
    "a name that says nothing": "tweet,is_spam\n{0},0\n{1},1\n",
    "German": "Beitrag;Bewertung\n{0};nein\n{1};ja\n",
    "the policy's words": "text,verdict\n{0},Keep\n{1},Remove\n",
    "a category's name": "text,category\n{0},none\n{1},Likely Spam\n",
    "two label columns": "text,violation,rule\n{0},0,\n{1},1,SP2\n",
    "JSON lines": '{{"text": "{0}", "label": false}}\n{{"text": "{1}", "label": true}}\n',
    "a JSON list": '[{{"prompt": "{0}", "labels": ["SP0"]}}, {{"prompt": "{1}", "labels": ["SP2", "SP3"]}}]',
    "notes above": "Made for tests.,\n\nuser prompt,prompt label\n{0},SP0\n{1},SP2.a - cold\n",
    "a model's answer beside it": "prompt,label,model label\n{0},SP0,SP2\n{1},SP2,SP0\n",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_columns_are_found_by_their_meaning(shape: str) -> None:
    vocabulary = Vocabulary(LABELS.labels, Answers(violation=("Remove",), safe=("Keep",)))
    golden = read_golden(SHAPES[shape].format(*(text.replace(",", "") for text in TEXTS)), vocabulary, "set")
    assert [case.violation for case in golden.cases] == [False, True], golden
    assert golden.notes[0].startswith('2 cases from set: text in "') and "with label in" in golden.notes[0]


def test_a_prompt_and_its_response_with_one_label_are_one_case() -> None:
    golden = read("prompt,response,label\nA question,An answer,SP3\nAnother,One more,SP0\n")
    assert [(case.violation, case.rules) for case in golden.cases] == [(True, ("SP3",)), (False, ())]
    assert [turn.role for turn in golden.cases[0].conversation or ()] == ["user", "assistant"]


@pytest.mark.parametrize(
    "cell", ["SP2, SP3", "SP2; SP3", "['SP2', 'SP3']", "SP2|SP3.a", "sp2 / SP3 - high", "SP2 and SP3"]
)
def test_a_cell_may_have_several_labels(cell: str) -> None:
    assert LABELS.read(cell) == (True, LABELS.labels.rules)
    assert LABELS.read(f"{cell}, XY9") is None
    assert LABELS.read("D-SP0, R-SP2") == (True, LABELS.labels.rules[:1])


def test_labels_that_contradict_each_other_are_lost_and_so_are_rows_without_a_text() -> None:
    golden = read("text,violation,rule\nA,0,SP2\nB,1,SP2\n,1,SP3\n")
    assert [case.text for case in golden.cases] == ["B"]
    assert [line.partition(" without")[0] for line in golden.lost] == ["golden.csv: 1 row (2)", "golden.csv: 1 row (4)"]


@pytest.mark.parametrize(
    "note",
    ["Cases of gifts@1.0.0, as its author expects them; no sample", "Made by hand,,,", "Notes,,,\nby,the,team,", ""],
)
def test_a_note_above_the_header_is_never_taken_for_its_columns(note: str) -> None:
    text = f"{note}\nExample,Classification,Responses,Response Label\nA card?,SP2,Yes,SP2\nHello there,SP0,,\n"
    for columns in (Columns(label="Klass"), Columns(text="Nope"), Columns("Nope", "Klass")):
        with pytest.raises(PolicyError, match="Its columns: Example, Classification, Responses, Response Label"):
            read_golden(text, LABELS, "gifts.csv", columns)
    odd = "Notes,,,\n\nAlfa,Bravo\nA card for you,SP2\n"
    with pytest.raises(PolicyError, match="Its columns: Alfa, Bravo"):
        read_golden(odd, LABELS, "odd.csv", Columns("Charlie"))


def test_columns_can_be_named() -> None:
    text = "Alpha,Beta,Gamma\nSome words,x,SP2\nOther words,y,SP0\n"
    golden = read_golden(text, LABELS, "set.csv", Columns("alpha", "Gamma"))
    assert [case.violation for case in golden.cases] == [True, False]
    with pytest.raises(PolicyError) as refused:
        read_golden(text, LABELS, "set.csv", Columns("alpha", "Gama"))
    assert str(refused.value) == (
        "set.csv has no column Gama (--label-column); did you mean Gamma? Its columns: Alpha, Beta, Gamma."
    )


def test_content_left_to_a_person_is_neither_safe_nor_a_violation() -> None:
    vocabulary = Vocabulary(Labels(LABELS.labels.rules, ("SP0",), ("SP9",)))
    golden = read_golden("text,label\nNews,SP9\nOther news,human review\n", vocabulary, "set.csv")
    assert [case.violation for case in golden.cases] == ["review", "review"]
