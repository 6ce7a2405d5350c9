"""Cases survive a round trip, are written in a readable layout, and equal contents have equal hashes."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from safeguard_spark.authoring.cases import SCHEMA_LINE, Case, CaseTurn, dump_cases, load_cases
from safeguard_spark.errors import PolicyError
from safeguard_spark.labelling.content import from_text, text_hash
from tests.unit.samples import CASES

pytestmark = pytest.mark.unit

# What YAML can hold: no control characters except line breaks and tabs, no single surrogates.
yaml_text = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t\x85=", exclude_characters="\ufffe\uffff"),
    max_size=60,
)
turns = st.lists(st.builds(CaseTurn, role=yaml_text, text=yaml_text), min_size=1, max_size=3).map(tuple)


@st.composite
def any_case(draw: st.DrawFn) -> Case:
    content = {"text": draw(yaml_text)} if draw(st.booleans()) else {"conversation": draw(turns)}
    name = draw(yaml_text.filter(bool))
    rules = tuple(draw(st.lists(yaml_text, max_size=2)))
    return Case(id=name, violation=draw(st.booleans()), rules=rules, why=draw(yaml_text), **content)


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "cases.yaml"
    file.write_bytes(text.encode())
    return file


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(any_case(), max_size=3).map(tuple))
def test_cases_are_read_as_they_were_written(tmp_path: Path, cases: tuple[Case, ...]) -> None:
    assert load_cases(write(tmp_path, dump_cases(cases))) == cases


def test_cases_are_written_in_a_readable_layout() -> None:
    cases = (
        Case(id="a", text="two\nlines", violation=True, rules=("M1", "M2"), why="Both."),
        Case(id="b", conversation=(CaseTurn(role="user", text="Hi"),), violation=False),
    )
    assert dump_cases(cases) == SCHEMA_LINE.format("cases") + (
        "cases:\n  - id: a\n    text: |-\n      two\n      lines\n    violation: true\n    rules: [M1, M2]\n"
        "    why: Both.\n\n  - id: b\n    conversation:\n    - role: user\n      text: Hi\n    violation: false\n"
    )


def test_a_case_has_the_content_hash_of_a_row_with_the_same_text(tmp_path: Path) -> None:
    first = load_cases(write(tmp_path, CASES))[0]
    assert first.content == from_text("Replica watch, nobody can tell")
    assert first.content_hash == text_hash("Replica watch, nobody can tell")


def test_the_category_none_means_no_category() -> None:
    assert Case(id="a", text="x", violation=False, category="none").expected_category is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("cases: [", "in line 1, the bracket that opens here is never closed"),
        ("- a", "must be lines of `key: value`, not a list"),
        ("cases:\n  - {id: a, text: x}", r"`violation` of case 1 is missing"),
        ("cases:\n  - {id: a, violation: true}", "give either text or conversation"),
        ("cases:\n  - {id: a, text: x, conversation: [{role: u, text: y}], violation: true}", "either text or conver"),
        ("cases:\n  - {id: a, conversation: [], violation: true}", "`conversation` of case 1 must not be empty"),
    ],
)
def test_a_problem_of_a_cases_file_is_one_sentence(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(PolicyError, match=problem):
        load_cases(write(tmp_path, text))


def test_a_cases_file_that_is_missing_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot be read"):
        load_cases(tmp_path / "cases.yaml")
    (tmp_path / "cases.yaml").write_bytes(b"\xff")
    with pytest.raises(PolicyError, match=r"not UTF-8 text \(byte 0\)"):
        load_cases(tmp_path / "cases.yaml")


def test_an_empty_file_has_no_cases(tmp_path: Path) -> None:
    assert load_cases(write(tmp_path, "")) == ()
    assert load_cases(write(tmp_path, "cases:\n")) == ()
