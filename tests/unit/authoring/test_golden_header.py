"""A golden set without a header is told so in one sentence; its first content is never taken for names of columns."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.authoring.packs.golden import Golden, Vocabulary, read_golden
from safeguard_spark.authoring.packs.headers import Columns
from safeguard_spark.authoring.packs.labels import Labels
from safeguard_spark.errors import PolicyError
from safeguard_spark.policy.document import Rule

pytestmark = pytest.mark.unit
LABELS = Vocabulary(Labels((Rule(id="SP1", category="bulk"), Rule(id="SP2", category="scam")), ("SP0",)))
SENTENCE = "golden.csv has no header: add a first line with the names of its columns ({}); no cases were read"


def read(text: str, columns: Columns = Columns()) -> Golden:
    return read_golden(text, LABELS, "golden.csv", columns)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('"Buy now, cheap",SP1\nhello my friend,safe\n"Rings, new",SP1\nsee you,safe\n', "text, label"),
        ("Buy now,1\nhello my friend,0\n", "text, label"),
        ("Answer this message\tyes\nhello my friend\tno\nsome other prompt\tyes\n", "text, label"),
        ("1,Buy now,SP1\n2,hello my friend,safe\n", "id, text, label"),
        ("SP2;Buy now;2026\nSP0;hello my friend;2025\n", "label, text, column 3"),
    ],
)
def test_it_is_one_sentence_with_what_to_write(text: str, names: str) -> None:
    assert read(text) == Golden(lost=(SENTENCE.format(names),))
    with pytest.raises(PolicyError, match=r"has no header: .*\)\.$"):
        read(text, Columns(text="content"))


@pytest.mark.parametrize(
    "text",
    [
        "text,violation\nBuy now,violation\nhello my friend,safe\n",
        "Foo,safe\nBuy now,no\nhello my friend,yes\n",
        "prompt,SP1,SP2\nBuy now,1,0\nhello my friend,0,0\n",
        "Foo,Bar\nBuy now,SP1\nhello my friend,safe\n",
        "user message,label\nBuy now,label\nBuy this,SP1\nhello my friend,safe\n",
    ],
)
def test_a_header_that_could_be_a_label_is_a_header(text: str) -> None:
    assert len(read(text).cases) == 2


TEXTS = st.lists(st.text("abcdefg '", min_size=12).filter(str.strip), min_size=2, max_size=6, unique_by=str.strip)


@given(TEXTS, st.lists(st.sampled_from(["SP1", "SP2", "SP0", "1", "0", "yes", "no"]), min_size=6, max_size=6))
def test_the_same_rows_are_all_cases_with_a_header_and_none_without(texts: list[str], labels: list[str]) -> None:
    rows = [[text, label] for text, label in zip(texts, labels, strict=False)]
    for header in (["content", "label"], []):
        file = io.StringIO()
        csv.writer(file, delimiter=";").writerows([header, *rows] if header else rows)
        golden = read(file.getvalue())
        if header:
            assert len(golden.cases) == len(rows), golden.lost
        else:
            assert not golden.cases
