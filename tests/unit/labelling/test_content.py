"""Content: any cell is read without an error, and different contents have different hashes."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.labelling.content import Content, Turn, from_text, from_turns, text_hash, turns_hash

pytestmark = pytest.mark.unit

CELLS = st.none() | st.binary(max_size=8) | st.text(max_size=8)
TURNS = st.none() | st.lists(st.tuples(CELLS, CELLS), max_size=4)


def as_bytes(cell: bytes | str | None) -> bytes | None:
    """The bytes of a cell."""
    return cell.encode("utf-8", "surrogatepass") if isinstance(cell, str) else cell


@pytest.mark.parametrize("raw", [b"caf\xc3\xa9", "café"])
def test_bytes_and_text_are_the_same_content(raw: bytes | str) -> None:
    assert from_text(raw) == Content(text="café")
    assert text_hash(raw) == text_hash("café")


def test_the_hash_is_sha256_over_netstrings() -> None:
    # Spelled out, so that other programs can compute it.
    assert text_hash("café") == hashlib.sha256(b"4:text,5:caf\xc3\xa9,").hexdigest()
    assert text_hash(None) == hashlib.sha256(b"4:text,-,").hexdigest()
    expected = hashlib.sha256(b"12:conversation,4:user,2:hi,-,0:,").hexdigest()
    assert turns_hash([("user", "hi"), (None, "")]) == expected
    assert turns_hash(None) == hashlib.sha256(b"12:conversation,-,").hexdigest()


@given(CELLS, CELLS)
def test_text_hashes_are_equal_if_and_only_if_the_cells_are(one: bytes | str | None, two: bytes | str | None) -> None:
    assert (text_hash(one) == text_hash(two)) == (as_bytes(one) == as_bytes(two))


@given(TURNS, TURNS)
def test_conversation_hashes_are_equal_if_and_only_if_all_turns_are(
    one: list[tuple[bytes | str | None, bytes | str | None]] | None,
    two: list[tuple[bytes | str | None, bytes | str | None]] | None,
) -> None:
    first, second = (None if turns is None else [tuple(map(as_bytes, t)) for t in turns] for turns in (one, two))
    assert (turns_hash(one) == turns_hash(two)) == (first == second)


@pytest.mark.parametrize(
    "shifted", [[("ab", "c")], [("a", "bc")], [("abc", "")], [("", "abc")], [("a", "b"), ("c", "")]]
)
def test_the_hash_depends_on_where_one_cell_ends_and_the_next_begins(shifted: list[tuple[str, str]]) -> None:
    others = [("ab", "c")], [("a", "bc")], [("abc", "")], [("", "abc")], [("a", "b"), ("c", "")], [("abc", None)]
    assert sum(turns_hash(list(other)) == turns_hash(list(shifted)) for other in others) == 1


def test_a_text_and_the_same_text_as_a_conversation_null_and_blank_are_different_contents() -> None:
    hashes = {
        text_hash("a"),
        turns_hash([("user", "a")]),
        text_hash(None),
        text_hash(""),
        turns_hash(None),
        turns_hash([]),
    }
    assert len(hashes) == 6


@given(CELLS)
def test_any_text_cell_is_read_and_invalid_has_a_cause_without_the_content(raw: bytes | str | None) -> None:
    content = from_text(raw)
    assert content.turns is None
    if content.invalid:
        assert content.invalid.startswith("not UTF-8: ") and content.text is None
    else:
        assert (content.text is None) == (raw is None)
        assert content.text is None or content.text.encode() == as_bytes(raw)


@given(TURNS)
def test_any_conversation_cell_is_read_turn_by_turn(
    raw: list[tuple[bytes | str | None, bytes | str | None]] | None,
) -> None:
    content = from_turns(raw)
    if raw is None:
        assert content == Content()
        return
    assert content.turns is not None and len(content.turns) == len(raw)
    readings = [from_text(cell) for turn in raw for cell in turn]
    assert (content.invalid is not None) == any(r.invalid for r in readings)
    assert [cell for turn in content.turns for cell in turn] == [r.text for r in readings]


@pytest.mark.parametrize("raw", [b"\xff", b"ok \xc3\x28", b"\xed\xa0\x80", "half \ud800"])
def test_bytes_that_are_not_utf_8_are_invalid_in_a_text_and_in_any_turn(raw: bytes | str) -> None:
    assert from_text(raw).invalid
    assert from_turns([(raw, "fine"), ("user", "fine")]).invalid
    assert from_turns([("user", "fine"), ("user", raw), ("user", "fine")]).invalid


@pytest.mark.parametrize("blank", [None, "", " \n\t", "\u3000\u2028"])
def test_a_blank_text_and_a_conversation_with_a_blank_last_turn_are_empty(blank: str | None) -> None:
    assert from_text(blank).is_empty
    assert from_turns([("user", "a question"), ("assistant", blank)]).is_empty
    assert not from_turns([("user", blank), ("assistant", "an answer")]).is_empty


@pytest.mark.parametrize(
    "unseen",
    [
        "\u200b\u200b",
        "\ufeff\n",
        "\u2060\u00ad",
        "\u3164",
        " \u200e\u200f ",
        "\ufe0f",
        "\0",
        "\x01\0\x1b",
        "\x7f\x80\x9f",
    ],
)
def test_a_text_of_characters_without_ink_is_empty_and_one_with_them_is_not(unseen: str) -> None:
    assert from_text(unseen).is_empty
    assert not from_text(f"{unseen}a").is_empty and not from_text(f"\U0001f600{unseen}").is_empty


def test_a_conversation_without_turns_is_empty_and_control_characters_in_a_text_are_kept() -> None:
    assert from_turns([]).is_empty and from_turns(None).is_empty
    assert not from_text("\0a").is_empty


def test_size_counts_every_turn_even_one_without_text() -> None:
    assert from_text("abc").size == 3 and from_text(None).size == 0
    conversation = Content(turns=(Turn("user", "abc"), Turn(None, None)))
    assert conversation.size == 7 + 2 * 8
