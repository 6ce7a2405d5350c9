"""Golden sets as CSV are read in both published layouts; what cannot be understood is a note, never an error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.authoring.cases_csv import Golden, Labels, read_golden
from safeguard_spark.policy.document import Rule

pytestmark = pytest.mark.unit

LABELS = Labels((Rule(id="SP2", category="likely-spam"), Rule(id="SP3", category="high-risk-spam")), ("SP0",))

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
    (note,) = golden.notes
    assert "in 1 row (4)" in note


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
    assert golden.notes == ("golden.csv row 6: no label of the policy; skipped",)


def test_equal_contents_are_one_case_and_a_different_label_is_noted() -> None:
    golden = read("text,label\nHello there,SP0\nHello there,SP0\nHello there,SP2\n")
    assert len(golden.cases) == 1
    assert golden.notes == (
        "golden.csv row 3: the same content as row-2; skipped",
        "golden.csv row 4: the same content as row-2, with another label; skipped",
    )


@pytest.mark.parametrize("label", ["1", "TRUE", "violates", "Invalid", "unsafe"])
def test_common_words_for_a_violation_are_understood(label: str) -> None:
    assert read(f"text,label\nHello there,{label}\n").cases[0].violation


@pytest.mark.parametrize("label", ["0", "false", "VALID", "safe", "none"])
def test_common_words_for_safe_are_understood(label: str) -> None:
    assert not read(f"text,label\nHello there,{label}\n").cases[0].violation


def test_a_label_does_not_match_inside_another() -> None:
    assert LABELS.read("SP22") is None
    assert LABELS.read("sp2.b") == (True, LABELS.rules[0])


@given(st.text())
def test_any_text_gives_distinct_cases_and_never_raises(text: str) -> None:
    for document in (text, SECTIONS + text, COLUMNS + text):
        golden = read(document)
        assert len({case.content_hash for case in golden.cases}) == len(golden.cases)


def test_a_cell_too_large_for_csv_is_a_note() -> None:
    golden = read("text,label\n" + "a" * 200_000 + ",SP2\n")
    assert golden.cases == ()
    assert "is not CSV" in golden.notes[0]


def test_an_unrelated_table_gives_no_cases_and_a_note() -> None:
    golden = read("functionality,test_case,label_gold\nF1,Some text of a benchmark,1\nF2,Another text,0\n")
    assert golden.cases == ()
    assert golden.notes == ("golden.csv has neither a header with text and label columns nor sections of labels",)
