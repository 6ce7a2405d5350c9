"""The HTTP protocol: what is posted where in both dialects and all output forms, and how any reply is read."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.config.engine import Dialect
from safeguard_spark.engines.protocol import (
    CHAT,
    COMPLETIONS,
    GENERATE,
    ROUTES,
    STOP_IDS,
    Form,
    MalformedReplyError,
    forms,
)
from safeguard_spark.engines.scripted import answer
from safeguard_spark.labelling import prompt, verdict
from safeguard_spark.labelling.content import from_text
from safeguard_spark.labelling.prompt import Prompt, harmony_encoding
from safeguard_spark.labelling.verdict import Completion, Outcome
from safeguard_spark.policy.document import Answers, Effort, Output
from tests.build import call_spec

pytestmark = pytest.mark.unit

FULL, BARE = Form(CHAT, True, True), Form(CHAT, False, False)
USAGE = {"prompt_tokens": 50, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 32}}

ATOMS = st.none() | st.booleans() | st.integers(-2, 1 << 41) | st.floats() | st.text(max_size=5)
KEYS = st.sampled_from(
    [
        "choices",
        "usage",
        "message",
        "content",
        "text",
        "token_ids",
        "finish_reason",
        "reasoning",
        "prompt_tokens",
        "refusal",
        "type",
        "thinking",
    ]
)
ANYTHING = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
CHOICES = st.fixed_dictionaries({"choices": st.lists(st.dictionaries(KEYS, ANYTHING, max_size=5), max_size=2)})


def harmony() -> Prompt:
    return prompt.harmony("P", Effort.low, from_text("a watch"))


def chat() -> Prompt:
    return prompt.chat("P", from_text("a watch"))


def harmony_ids(answer: str) -> list[int]:
    text = f"<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>{answer}<|return|>"
    return list(harmony_encoding().encode(text, allowed_special="all"))


def reply(choice: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"choices": [{"finish_reason": "stop", **choice}], "usage": USAGE, **fields}


# Requests


def test_the_preferred_route_is_the_first() -> None:
    assert [form.path for form in forms(call_spec())[:2]] == ["/inference/v1/generate", "/v1/completions"]
    assert {form.path for form in forms(call_spec(Dialect.chat))} == {"/v1/chat/completions"}


@pytest.mark.parametrize("output", Output)
def test_token_ids_are_posted_to_generate_with_the_structural_tag(output: Output) -> None:
    spec = call_spec(output=output)
    body = ROUTES[GENERATE].body("m", spec, harmony(), FULL)
    assert body["model"] == "m" and body["token_ids"] == harmony().token_ids
    assert body["sampling_params"] == {
        "max_tokens": 77, "temperature": 0.5, "top_p": 0.9, "stop_token_ids": list(STOP_IDS), "detokenize": False,
        "structured_outputs": {"structural_tag": spec.contract.structural_tag},
    }  # fmt: skip
    assert "structured_outputs" not in ROUTES[GENERATE].body("m", spec, harmony(), BARE)["sampling_params"]


@pytest.mark.parametrize("output", Output)
def test_token_ids_are_posted_to_completions_with_the_same_sampling_and_special_tokens_kept(output: Output) -> None:
    spec = call_spec(output=output)
    body = ROUTES[COMPLETIONS].body("m", spec, harmony(), FULL)
    assert body["prompt"] == harmony().token_ids and body["return_token_ids"] and body["skip_special_tokens"] is False
    assert (body["max_tokens"], body["temperature"], body["top_p"]) == (77, 0.5, 0.9)
    assert body["stop_token_ids"] == list(STOP_IDS)
    assert body["structured_outputs"] == {"structural_tag": spec.contract.structural_tag}
    assert "structured_outputs" not in ROUTES[COMPLETIONS].body("m", spec, harmony(), BARE)


def test_a_binary_chat_answer_is_restricted_to_two_digits() -> None:
    body = ROUTES[CHAT].body("m", call_spec(Dialect.chat, Output.binary), chat(), FULL)
    assert body["structured_outputs"] == {"choice": ["0", "1"]} and "response_format" not in body


@pytest.mark.parametrize("output", [Output.category, Output.full])
def test_a_chat_answer_in_json_is_restricted_by_its_schema(output: Output) -> None:
    spec = call_spec(Dialect.chat, output)
    body = ROUTES[CHAT].body("m", spec, chat(), FULL)
    schema = {"name": "verdict", "schema": spec.contract.json_schema(), "strict": True}
    assert body["response_format"] == {"type": "json_schema", "json_schema": schema}
    assert body["messages"] == chat().messages and body["reasoning_effort"] == "low"


def test_fields_that_some_servers_reject_can_be_left_out() -> None:
    body = ROUTES[CHAT].body("m", call_spec(Dialect.chat), chat(), BARE)
    assert set(body) == {"model", "messages", "max_tokens", "temperature", "top_p"}


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("structured", [True, False])
def test_the_first_form_has_all_that_the_labeler_needs_and_each_form_is_tried_once(
    dialect: Dialect, structured: bool
) -> None:
    spec = call_spec(dialect, structured=structured)
    candidates = forms(spec)
    assert (candidates[0].structured, candidates[0].effort) == (structured, dialect is Dialect.chat)
    assert not candidates[0].settings_to_change(spec) and len(set(candidates)) == len(candidates) <= 12
    lossless = [not form.settings_to_change(spec) for form in candidates]
    assert lossless == sorted(lossless, reverse=True), "a form that does less than the labeler says comes last"


def test_a_model_without_effort_gets_none() -> None:
    spec = call_spec(Dialect.chat)
    spec = replace(spec, labeler=spec.labeler.model_copy(update={"effort": Effort.none}))
    assert "reasoning_effort" not in ROUTES[CHAT].body("m", spec, chat(), forms(spec)[0])


@pytest.mark.parametrize("dialect", Dialect)
def test_a_body_is_json(dialect: Dialect) -> None:
    prompt = chat() if dialect is Dialect.chat else harmony()
    for output in Output:
        for form in forms(call_spec(dialect, output)):
            assert json.loads(json.dumps(form.route.body("m", call_spec(dialect, output), prompt, form)))


# Replies


@pytest.mark.parametrize("output", Output)
def test_all_three_forms_are_read_from_every_route(output: Output) -> None:
    contract = call_spec(output=output).contract
    text = answer(contract, "M1")
    ids = harmony_ids(text)
    decoded = harmony_encoding().decode(ids)
    completions = [
        ROUTES[GENERATE].read(reply({"token_ids": ids})),
        ROUTES[COMPLETIONS].read(reply({"token_ids": ids, "text": "ignored"})),
        ROUTES[COMPLETIONS].read(reply({"text": decoded})),
        ROUTES[CHAT].read(reply({"message": {"content": text, "reasoning": "hm"}})),
        ROUTES[CHAT].read(reply({"message": {"content": f"```json\n{text}\n```", "reasoning_content": "hm"}})),
    ]
    for completion in completions:
        result = verdict.read(completion, contract)
        assert (result.outcome, result.violation, result.reasoning) == (Outcome.labelled, True, "hm")
        assert (completion.prompt_tokens, completion.cached_tokens, completion.completion_tokens) == (50, 32, 9)


def test_a_refusal_of_a_chat_server_is_read_as_one() -> None:
    message = {"content": None, "refusal": "I'm sorry, but I can't help with that."}
    result = verdict.read(ROUTES[CHAT].read(reply({"message": message})), call_spec(Dialect.chat).contract)
    assert result.outcome is Outcome.refused


@pytest.mark.parametrize("content", [None, ""])
def test_a_refusal_that_the_server_marks_is_one_in_any_language(content: Any) -> None:
    message = {"content": content, "refusal": "Das kann ich nicht beurteilen."}
    result = verdict.read(ROUTES[CHAT].read(reply({"message": message})), call_spec(Dialect.chat).contract)
    assert (result.outcome, result.error) == (Outcome.refused, "the model declined")


@pytest.mark.parametrize("message", [None, {}, {"content": None}, {"content": '{"violation": 0, "cat'}])
def test_a_reply_that_a_content_filter_withheld_is_refused(message: Any) -> None:
    filtered = reply({"message": message, "finish_reason": "content_filter"})
    result = verdict.read(ROUTES[CHAT].read(filtered), call_spec(Dialect.chat).contract)
    assert (result.outcome, result.error) == (Outcome.refused, "content_filter")


def test_a_content_in_parts_is_read_as_text_and_reasoning() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "h"}, {"type": "text", "text": "m"}]}
    content = [thinking, {"type": "text", "text": '{"violation": 0, '}, {"type": "text", "text": '"category": "none"}'}]
    result = verdict.read(ROUTES[CHAT].read(reply({"message": {"content": content}})), call_spec(Dialect.chat).contract)
    assert (result.outcome, result.violation, result.reasoning) == (Outcome.labelled, False, "hm")


def test_a_binary_chat_answer_is_restricted_to_the_words_of_the_policy() -> None:
    spec = call_spec(Dialect.chat, Output.binary)
    words = Answers(violation=("Violating",), safe=("Non-violating", "OK"))
    contract = replace(spec.contract, answers=words)
    body = ROUTES[CHAT].body("m", replace(spec, contract=contract), chat(), FULL)
    assert body["structured_outputs"] == {"choice": ["Non-violating", "Violating"]}
    assert [verdict.read(Completion("stop", text=word), contract).violation for word in contract.binary_answers] == [
        False, True,
    ]  # fmt: skip


def test_an_answer_cut_at_the_limit_is_truncated() -> None:
    cut = {"token_ids": harmony_ids("{")[:3], "finish_reason": "length"}
    assert verdict.read(ROUTES[GENERATE].read(reply(cut)), call_spec().contract).outcome is Outcome.truncated


def test_without_usage_the_returned_tokens_are_counted() -> None:
    completion = ROUTES[GENERATE].read({"choices": [{"finish_reason": "stop", "token_ids": [1, 2, 3]}]})
    assert completion == Completion("stop", token_ids=[1, 2, 3], completion_tokens=3)


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    "bad",
    [
        None, [], "text", {}, {"choices": None}, {"choices": []}, {"choices": ["a"]}, {"error": "x"},
        reply({"finish_reason": "abort", "token_ids": [1], "message": {"content": "0"}}),
        reply({"finish_reason": "error", "token_ids": [1], "message": {"content": "0"}}),
        reply({"finish_reason": 3, "token_ids": [1], "message": {"content": "0"}}),
        reply({}), reply({"token_ids": "12", "text": 1, "message": "a"}), reply({"token_ids": [True], "message": []}),
        reply({"token_ids": [-1], "message": {"content": 1}}),
        reply({"token_ids": [1 << 32], "message": {"content": []}}),
        reply({"token_ids": [1 << 32], "message": {"content": [{"type": "image_url", "image_url": {"url": "x"}}]}}),
        reply({"token_ids": [1 << 32], "message": {"content": [{"type": ["text"], "text": "0"}]}}),
    ],
)  # fmt: skip
def test_a_reply_that_the_route_does_not_promise_is_malformed(path: str, bad: Any) -> None:
    with pytest.raises(MalformedReplyError):
        ROUTES[path].read(bad)


@pytest.mark.parametrize("path", ROUTES)
@given(ANYTHING | CHOICES)
def test_any_reply_is_a_completion_with_sound_counts_or_malformed_and_not_quoted(path: str, anything: Any) -> None:
    try:
        completion = ROUTES[path].read(anything)
    except MalformedReplyError as error:
        assert str(error) in {
            "JSON that is no object", "an empty list of choices", "an error in place of an answer",
            "no choices", "finish reason abort", "finish reason error", "a value that is not text",
            "no token ids", "neither token ids nor text", "a chat message in place of token ids", "no message",
        }  # fmt: skip
        return
    assert isinstance(completion, Completion)
    assert all(
        type(n) is int and n >= 0
        for n in (completion.prompt_tokens, completion.cached_tokens, completion.completion_tokens)
    )
    assert (completion.token_ids is None) == (path == CHAT)
    assert verdict.read(completion, call_spec().contract).outcome in Outcome
