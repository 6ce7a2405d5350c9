"""YAML is read with the place of every key and value, and nothing in a file makes reading fail otherwise."""

import contextlib

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.policy.positions import Loader, Span, YamlProblem, read_yaml

pytestmark = pytest.mark.unit
TEXT = """\
name: market
rules:
  - {id: M1, title: "Größe"}
  - id: M2
    title: |
      two
      lines
"""


def test_every_value_and_key_has_its_place() -> None:
    found = read_yaml(TEXT, first_line=2)
    assert found.at(("name",)) == Span(2, 7, 6)
    assert found.key_at(("name",)) == Span(2, 1, 4)
    assert found.at(("rules", 0, "title")) == Span(4, 21, 7)
    assert found.at(("rules", 1, "id")) == Span(5, 9, 2)
    assert found.at(("rules", 1, "title")) == Span(6, 12, 1)


def test_what_is_not_there_has_the_place_of_what_would_hold_it() -> None:
    found = read_yaml(TEXT)
    assert found.at(("rules", 0, "severity")) == found.at(("rules", 0))
    assert found.at(("rules", 7, "id")) == found.at(("rules",))
    assert found.key_at(("owner",)) == Span(1, 1, 1)
    assert read_yaml("").at(("name",)) == Span(1, 1, 1)


def test_a_key_given_twice_is_found_at_any_depth() -> None:
    found = read_yaml("a: 1\nb: {c: 1, c: 2}\na: 3\n")
    assert [(d.key, d.span.line, d.span.column) for d in found.doubled] == [("c", 2, 11), ("a", 3, 1)]


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [("a: [1\nb: 2\n", 2, 2), ("a: 1\n b: 2\n", 2, 3), ("a: *nobody\n", 1, 4), ("a: 2024-02-31\n", 1, 1)],
)
def test_text_that_is_not_yaml_says_where(text: str, line: int, column: int) -> None:
    with pytest.raises(YamlProblem) as said:
        read_yaml(text)
    assert said.value.span[:2] == (line, column)


def test_a_document_that_holds_itself_is_read() -> None:
    assert read_yaml("a: &x [1, *x]\n").value["a"][0] == 1


@given(
    st.text() | st.lists(st.sampled_from(["a", ": ", "- ", "\n", "  ", "[", "{", "&x ", "*x", "'", "|"])).map("".join)
)
def test_any_text_is_yaml_or_a_yaml_problem_and_the_value_is_yamls_own(text: str) -> None:
    with contextlib.suppress(YamlProblem):
        assert repr(read_yaml(text).value) == repr(yaml.load(text, Loader))
