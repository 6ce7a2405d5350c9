"""Conversations: every common form is read, what is no text is named, and anything else has a cause."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.labelling.content import Content, Turn, from_conversation, from_json, json_hash, text_hash
from safeguard_spark.labelling.inputs import content_of

pytestmark = pytest.mark.unit

HI = Turn("user", "hi")
CALL = {"type": "function", "function": {"name": "search", "arguments": '{"q": "x"}'}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:…"}}


@pytest.mark.parametrize(
    ("turn", "expected"),
    [
        (("user", "hi"), HI),
        (["user", "hi"], HI),
        ({"role": "user", "text": "hi"}, HI),
        ({"role": "user", "content": "hi"}, HI),
        ({"role": "user", "text": None, "content": "hi"}, HI),
        ({"role": "user", "text": " ", "content": "hi"}, HI),
        ({"from": "human", "value": "hi"}, HI),
        ({"from": "gpt", "value": "hi"}, Turn("assistant", "hi")),
        ({"from": "system", "value": "hi"}, Turn("system", "hi")),
        ({"role": "human", "text": "hi"}, Turn("human", "hi")),
        ({"role": 1, "text": 2.5}, Turn("1", "2.5")),
        ({"role": "user", "content": True}, Turn("user", "true")),
        ({"role": "user", "content": [{"type": "text", "text": "hi"}]}, HI),
        ({"role": "user", "content": [{"text": "hi"}]}, HI),
        ({"role": "user", "content": {"type": "text", "text": {"value": "hi"}}}, HI),
        ({"role": "user", "content": {"content_type": "text", "parts": ["hi"]}}, HI),
        ({"role": "model", "parts": [{"text": "a"}, {"text": "b"}]}, Turn("model", "a\nb")),
        ({"role": "user", "content": [{"type": "input_text", "text": "look"}, IMAGE]}, Turn("user", "look\n[image]")),
        ({"role": "user", "content": [{"inline_data": {"mime_type": "x"}}, "a"]}, None),
        ({"role": "user", "content": [{"file_data": {"uri": "x"}}, "a"]}, Turn("user", "[file]\na")),
        ({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}, "a"]}, Turn("user", "[audio]\na")),
        ({"role": "user", "content": [{"type": "hologram"}, "a"]}, Turn("user", "[hologram]\na")),
        ({"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}, Turn("assistant", "No.")),
        (
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            Turn("assistant", '[tool call: search {"q": "x"}]'),
        ),
        (
            {"role": "assistant", "content": [{"type": "tool_use", "name": "search", "input": {"q": "é"}}]},
            Turn("assistant", '[tool call: search {"q": "é"}]'),
        ),
        (
            {"role": "assistant", "content": "I look.", "function_call": {"name": "search"}},
            Turn("assistant", "I look.\n[tool call: search]"),
        ),
        ({"role": "tool", "content": "3 results"}, Turn("tool", "3 results")),
        (
            {"role": "user", "content": [{"type": "tool_result", "content": [{"type": "text", "text": "3"}]}]},
            Turn("user", "[tool result: 3]"),
        ),
    ],
)
def test_a_turn_in_a_common_form_is_read(turn: Any, expected: Turn | None) -> None:
    content = content_of([turn])
    assert content == (Content(turns=(expected,)) if expected else content)
    assert (content.invalid is None) == (expected is not None)
    assert from_json(json.dumps([turn])) == content
    assert from_json(json.dumps({"messages": [turn], "model": "x"})) == content


@pytest.mark.parametrize("key", ["messages", "conversations", "turns"])
def test_an_object_with_a_list_of_turns_is_a_conversation(key: str) -> None:
    assert from_conversation({key: [{"role": "user", "text": "hi"}], "id": 1}).turns == (HI,)


@pytest.mark.parametrize(
    ("raw", "cause"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("9" * 10_000, "not JSON"),
        ('[{"role": "user", "content": NaN}]', "not JSON"),
        ('[{"role": "user", "content": "one", "content": "two"}]', "JSON with a key twice"),
        ('"secret"', "neither a text nor a list of turns: str"),
        ("5", "neither a text nor a list of turns: int"),
        ('{"secret": 1}', "an object without messages, conversations, turns"),
        ('["secret"]', "turn 1 is not a role and a text"),
        ('[{"role": "user"}]', "turn 1 is not a role and a text"),
        ('[{"text": "secret"}]', "turn 1 is not a role and a text"),
        ('[["user", "a"], {"role": {"secret": 1}, "text": "a"}]', "turn 2 has a role that is not a text"),
        ('[{"role": "user", "content": [{"secret": 1}]}]', "turn 1 has a part without a text or a type"),
        ('[{"role": "user", "content": [{"type": "image_url"}]}]', "the last turn has no text, only images"),
        ('[{"role": "user", "content": "\\ud800"}]', "not UTF-8"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_what_is_no_conversation_has_a_cause_without_content(raw: str | bytes, cause: str) -> None:
    content = from_json(raw)
    assert content.invalid is not None and content.invalid.startswith(cause) and "secret" not in content.invalid


@pytest.mark.parametrize("raw", [None, "", " \n", "null", "[]", '[{"role": "user", "content": null}]'])
def test_a_cell_with_nothing_to_judge_is_empty(raw: str | None) -> None:
    content = from_json(raw)
    assert content.is_empty and content.invalid is None


def test_an_image_before_the_last_turn_is_only_named() -> None:
    content = content_of([{"role": "user", "content": [IMAGE]}, ("assistant", "A cat.")])
    assert content.turns == (Turn("user", "[image]"), Turn("assistant", "A cat."))


def test_numpy_arrays_are_lists_at_any_depth() -> None:
    parts = np.array([{"type": "text", "text": "hi"}], dtype=object)
    assert content_of(np.array([{"role": "user", "content": parts}], dtype=object)).turns == (HI,)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "from", "text", "content", "type", "tool_calls", "function", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(VALUES)
def test_any_json_is_read_without_an_error(value: Any) -> None:
    content = from_json(json.dumps(value))
    assert content.size >= 0 and content.is_empty in (True, False)


def test_the_same_bytes_as_json_and_as_a_text_are_different_contents() -> None:
    assert json_hash("[]") != text_hash("[]") and json_hash(None) != text_hash(None)
