"""The HTTP protocol of the two dialects: what is posted where, and how the reply is read. Pure.

Harmony goes as token ids to vLLM's `/inference/v1/generate`, or on a server without it to `/v1/completions` with
`return_token_ids`. Chat goes to `/v1/chat/completions`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from safeguard_spark.config.engine import Dialect
from safeguard_spark.labelling.engine import CallSpec
from safeguard_spark.labelling.prompt import Prompt, harmony_encoding
from safeguard_spark.labelling.verdict import Completion
from safeguard_spark.policy.document import Output

STOP_IDS = (200_002, 200_012)  # <|return|> and <|call|>: gpt-oss's generation_config.json
ABORTED = ("abort", "error")  # vLLM's finish reasons for an answer it could not complete


class MalformedReplyError(ValueError):
    """A reply that is not what the route promises. The message never quotes the reply."""


class OptionalFields(NamedTuple):
    """Which optional request fields to send: some servers reject them."""

    structured: bool
    effort: bool


class Route(NamedTuple):
    """An HTTP route: its path, the body to post, and how to read the reply."""

    path: str
    body: Callable[[str, CallSpec, Prompt, OptionalFields], dict[str, Any]]
    read: Callable[[Any], Completion]


def routes(dialect: Dialect) -> tuple[Route, ...]:
    """The routes of a dialect, the preferred one first."""
    if dialect is Dialect.chat:
        return (Route("/v1/chat/completions", _chat_body, _read_chat),)
    return (
        Route("/inference/v1/generate", _generate_body, _read_generate),
        Route("/v1/completions", _completions_body, _read_completions),
    )


def optional_fields(spec: CallSpec) -> tuple[OptionalFields, ...]:
    """The sets of optional fields to try on a server, from all that the labeler needs down to none."""
    structured, chat = spec.labeler.structured, spec.labeler.dialect is Dialect.chat
    candidates = [
        OptionalFields(structured, chat),
        OptionalFields(structured, False),
        OptionalFields(False, chat),
        OptionalFields(False, False),
    ]
    return tuple(dict.fromkeys(candidates))


def _sampling(spec: CallSpec) -> dict[str, Any]:
    labeler = spec.labeler
    return {"max_tokens": labeler.max_tokens, "temperature": labeler.temperature, "top_p": labeler.top_p}


def _generate_body(model: str, spec: CallSpec, prompt: Prompt, fields: OptionalFields) -> dict[str, Any]:
    sampling = {**_sampling(spec), "stop_token_ids": list(STOP_IDS), "detokenize": False}
    if fields.structured:
        sampling["structured_outputs"] = {"structural_tag": spec.contract.structural_tag}
    return {"model": model, "token_ids": prompt.token_ids, "sampling_params": sampling}


def _completions_body(model: str, spec: CallSpec, prompt: Prompt, fields: OptionalFields) -> dict[str, Any]:
    body = {
        "model": model,
        "prompt": prompt.token_ids,
        **_sampling(spec),
        "stop_token_ids": list(STOP_IDS),
        "skip_special_tokens": False,  # if no ids come back, the text must contain these tokens
        "return_token_ids": True,
    }
    if fields.structured:
        body["structured_outputs"] = {"structural_tag": spec.contract.structural_tag}
    return body


def _chat_body(model: str, spec: CallSpec, prompt: Prompt, fields: OptionalFields) -> dict[str, Any]:
    body: dict[str, Any] = {"model": model, "messages": prompt.messages, **_sampling(spec)}
    if fields.effort:
        body["reasoning_effort"] = spec.labeler.effort.value
    if fields.structured and spec.contract.output is Output.binary:
        # OpenAI's response_format needs an object; vLLM's own field restricts the answer to a bare digit.
        body["structured_outputs"] = {"choice": ["0", "1"]}
    elif fields.structured:
        schema = {"name": "verdict", "schema": spec.contract.json_schema(), "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def _read_generate(reply: Any) -> Completion:
    choice = _choice(reply)
    return _completion(reply, choice, token_ids=_ids(choice.get("token_ids")))


def _read_completions(reply: Any) -> Completion:
    choice = _choice(reply)
    if choice.get("token_ids") is not None:
        return _completion(reply, choice, token_ids=_ids(choice["token_ids"]))
    text = _text(choice.get("text"))
    if text is None:
        raise MalformedReplyError("neither token ids nor text")
    return _completion(reply, choice, token_ids=harmony_encoding().encode(text, allowed_special="all"))


def _read_chat(reply: Any) -> Completion:
    choice = _choice(reply)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise MalformedReplyError("no message")
    content = _text(message.get("content"))
    text = content if content is not None else _text(message.get("refusal")) or ""
    reasoning = _text(message.get("reasoning")) or _text(message.get("reasoning_content"))
    return _completion(reply, choice, text=text, reasoning=reasoning)


def _choice(reply: Any) -> dict[str, Any]:
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise MalformedReplyError("no choices")
    choice: dict[str, Any] = choices[0]
    finish = _text(choice.get("finish_reason"))
    if finish in ABORTED:
        raise MalformedReplyError(f"finish reason {finish}")
    return choice


def _completion(reply: Any, choice: dict[str, Any], **answer: Any) -> Completion:
    usage = reply.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("prompt_tokens_details")
    return Completion(
        choice.get("finish_reason"),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        cached_tokens=_count(details.get("cached_tokens")) if isinstance(details, dict) else 0,
        completion_tokens=_count(usage.get("completion_tokens")) or len(answer.get("token_ids") or ()),
        **answer,
    )


def _ids(value: Any) -> list[int]:
    if not isinstance(value, list) or not all(type(item) is int and 0 <= item < 1 << 32 for item in value):
        raise MalformedReplyError("no token ids")
    return value


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise MalformedReplyError("a value that is not text")


def _count(value: Any) -> int:
    return value if type(value) is int and 0 <= value < 1 << 40 else 0
