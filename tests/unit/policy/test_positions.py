"""YAML is read with the position of every key and value; any text is read or gives an InvalidYamlError."""

import contextlib

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.policy.positions import InvalidYamlError, Loader, Span, read_yaml

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


def test_every_value_and_key_has_its_position() -> None:
    document = read_yaml(TEXT, first_line=2)
    assert document.value_span(("name",)) == Span(2, 7, 6)
    assert document.key_span(("name",)) == Span(2, 1, 4)
    assert document.value_span(("rules", 0, "title")) == Span(4, 21, 7)
    assert document.value_span(("rules", 1, "id")) == Span(5, 9, 2)
    assert document.value_span(("rules", 1, "title")) == Span(6, 12, 1)


def test_a_missing_value_has_the_position_of_the_value_that_would_contain_it() -> None:
    document = read_yaml(TEXT)
    assert document.value_span(("rules", 0, "severity")) == document.value_span(("rules", 0))
    assert document.value_span(("rules", 7, "id")) == document.value_span(("rules",))
    assert document.key_span(("owner",)) == Span(1, 1, 1)
    assert read_yaml("").value_span(("name",)) == Span(1, 1, 1)


def test_a_duplicate_key_is_detected_at_any_depth() -> None:
    document = read_yaml("a: 1\nb: {c: 1, c: 2}\na: 3\n")
    assert [(d.key, d.span.line, d.span.column) for d in document.duplicate_keys] == [("c", 2, 11), ("a", 3, 1)]


@pytest.mark.parametrize(
    ("text", "duplicates"),
    [
        ("base: &b {a: 1, c: 2}\nmine:\n  <<: *b\n  a: 3\n", []),
        ("base: &b {a: 1}\nmine:\n  a: 3\n  <<: *b\n", []),
        ("one: &b {a: 1}\ntwo: &c {a: 2}\nmine:\n  <<: [*b, *c]\n  d: 3\n", []),
        ("base: &b {a: 1}\nmine:\n  <<: *b\n  a: 3\n  a: 4\n", [("a", 5)]),
    ],
)
def test_a_key_may_replace_one_that_is_merged(text: str, duplicates: list[tuple[str, int]]) -> None:
    document = read_yaml(text)
    assert [(d.key, d.span.line) for d in document.duplicate_keys] == duplicates
    assert document.value["mine"]["a"] == yaml.safe_load(text)["mine"]["a"]


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [("a: [1\nb: 2\n", 1, 4), ("a: 1\n b: 2\n", 2, 3), ("a: *unknown\n", 1, 4), ("a: 1\nb: 2024-02-31\n", 2, 4)],
)
def test_invalid_yaml_has_a_position(text: str, line: int, column: int) -> None:
    with pytest.raises(InvalidYamlError) as caught:
        read_yaml(text)
    assert caught.value.span[:2] == (line, column)


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        ("why: Time: it is late\n", 1, "a text with `: ` in it is read as another key", "quotes"),
        ("rules:\n\t- id: A\n", 2, "indented with a tab", "spaces"),
        ("a: 1\n\tb: 2\n", 2, "indented with a tab", "spaces"),
        ("text: @ada says hi\n", 1, "cannot begin with `@`", "quotes"),
        ("text: *really* cheap\n", 1, "cannot begin with `*`", "quotes"),
        ("text: !important\n", 1, "cannot begin with `!`", "quotes"),
        ("text: %off\n", 1, "cannot begin with `%`", "quotes"),
        ("text: ? why\n", 1, "cannot begin with `?`", "quotes"),
        ("text: 'Don't miss it'\n", 1, "goes on after its closing quotation mark", "the other kind"),
        ("a: 1\ntext: 'open\nb: 2\n", 2, "a quotation mark that opens here is never closed", "close it"),
        ("a: {id: A, title: Our #best offer}\n", 1, "`}` is missing, because everything after ` #`", "quotes"),
        ("rules: [A, B\nb: 2\n", 1, "the bracket that opens here is not closed by `]`", "ends with `]`"),
        ("a: 1\njust words\nb: 2\n", 2, "the line is no `key: value`", "a colon"),
        ("a: 1\n   b: 2\n", 2, "indented more than the lines that it belongs to", "align"),
        ("rules:\n  - id: A\n - id: B\n", 3, "not indented like the lines that it belongs to", "align"),
        ("a: - one\n", 1, "a list cannot begin here", "next line"),
        ('a: "C:\\dir"\n', 1, "a backslash", "single quotes"),
        ("a: 1\nb: \x07\n", 2, "a character here that YAML does not allow: U+0007", "remove"),
        ("a: 1\n<<<<<<< HEAD\nb: 2\n=======\nb: 3\n>>>>>>> x\n", 2, "the marks of a merge conflict", "keep one"),
        ("a: 1\n---\nb: 2\n", 2, "a second document", "remove the line of `---`"),
    ],
)
def test_what_is_not_yaml_is_explained_where_it_is_with_what_to_type(
    text: str, line: int, message: str, hint: str
) -> None:
    with pytest.raises(InvalidYamlError) as caught:
        read_yaml(text, first_line=11)
    assert caught.value.span.line == line + 10
    assert message in str(caught.value) and hint in caught.value.hint


def test_a_comment_behind_a_value_without_quotes_is_kept_with_its_position() -> None:
    text = "a: Buy #this\nb: 'no #comment'\nc: # nothing\nd: [x, y] # a list\ne: two\n  lines #end\n"
    comments = read_yaml(text).comments
    assert [(comment.path, comment.text, comment.span.line) for comment in comments] == [
        (("a",), "#this", 1),
        (("c",), "# nothing", 3),
        (("e",), "#end", 6),
    ]


def test_a_document_that_contains_itself_is_read() -> None:
    assert read_yaml("a: &x [1, *x]\n").value["a"][0] == 1


@given(
    st.text() | st.lists(st.sampled_from(["a", ": ", "- ", "\n", "  ", "[", "{", "&x ", "*x", "'", "|"])).map("".join)
)
def test_any_text_is_invalid_or_has_the_value_that_pyyaml_reads(text: str) -> None:
    with contextlib.suppress(InvalidYamlError):
        assert repr(read_yaml(text).value) == repr(yaml.load(text, Loader))
