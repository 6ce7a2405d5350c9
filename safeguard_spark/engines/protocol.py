"""The two dialects on the wire: what is posted where, and how the reply is read. Pure.

Harmony goes as token ids to vLLM's `/inference/v1/generate`, or on a server without it to `/v1/completions` with
`return_token_ids`. Chat goes to `/v1/chat/completions`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from safeguard_spark.config.model import Dialect
from safeguard_spark.labelling.engine import CallSpec
from safeguard_spark.labelling.prompt import Prompt, harmony_encoding
from safeguard_spark.labelling.verdict import Completion
from safeguard_spark.policy.document import Output

STOP_IDS = (200_002, 200_012)  # <|return|> and <|call|>: gpt-oss's generation_config.json
BROKEN_OFF = ("abort", "error")  # vLLM's finish reasons for an answer it could not end


class GarbageError(ValueError):
    """A reply that is not what the route promises. The message never quotes it."""


class OptionalFields(NamedTuple):
    """Which of the parts a request is given that not every server takes."""

    structured: bool
    effort: bool


class Route(NamedTuple):
    """A place to ask: its path, what is posted there, and how to read what comes back."""

    path: str
    body: Callable[[str, CallSpec, Prompt, OptionalFields], dict[str, Any]]
    read: Callable[[Any], Completion]


def routes(dialect: Dialect) -> tuple[Route, ...]:
    """Where to ask in a dialect, the better first."""
    if dialect is Dialect.chat:
        return (Route("/v1/chat/completions", _chat_body, _read_chat),)
    return (
        Route("/inference/v1/generate", _generate_body, _read_generate),
        Route("/v1/completions", _completions_body, _read_completions),
    )


def forms(task: CallSpec) -> tuple[OptionalFields, ...]:
    """The forms to try on a server, the fullest first; one is enough if nothing optional is asked for."""
    structured, chat = task.labeler.structured, task.labeler.dialect is Dialect.chat
    tried = [
        OptionalFields(structured, chat),
        OptionalFields(structured, False),
        OptionalFields(False, chat),
        OptionalFields(False, False),
    ]
    return tuple(dict.fromkeys(tried))


def _sampling(task: CallSpec) -> dict[str, Any]:
    labeler = task.labeler
    return {"max_tokens": labeler.max_tokens, "temperature": labeler.temperature, "top_p": labeler.top_p}


def _generate_body(model: str, task: CallSpec, prompt: Prompt, form: OptionalFields) -> dict[str, Any]:
    sampling = {**_sampling(task), "stop_token_ids": list(STOP_IDS), "detokenize": False}
    if form.structured:
        sampling["structured_outputs"] = {"structural_tag": task.contract.structural_tag}
    return {"model": model, "token_ids": prompt.token_ids, "sampling_params": sampling}


def _completions_body(model: str, task: CallSpec, prompt: Prompt, form: OptionalFields) -> dict[str, Any]:
    body = {
        "model": model,
        "prompt": prompt.token_ids,
        **_sampling(task),
        "stop_token_ids": list(STOP_IDS),
        "skip_special_tokens": False,  # where no ids come back, the text must hold them
        "return_token_ids": True,
    }
    if form.structured:
        body["structured_outputs"] = {"structural_tag": task.contract.structural_tag}
    return body


def _chat_body(model: str, task: CallSpec, prompt: Prompt, form: OptionalFields) -> dict[str, Any]:
    body: dict[str, Any] = {"model": model, "messages": prompt.messages, **_sampling(task)}
    if form.effort:
        body["reasoning_effort"] = task.labeler.effort.value
    if form.structured and task.contract.output is Output.binary:
        # OpenAI's response_format wants an object; vLLM's own field binds a bare digit.
        body["structured_outputs"] = {"choice": ["0", "1"]}
    elif form.structured:
        schema = {"name": "verdict", "schema": task.contract.json_schema(), "strict": True}
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
        raise GarbageError("neither token ids nor text")
    return _completion(reply, choice, token_ids=harmony_encoding().encode(text, allowed_special="all"))


def _read_chat(reply: Any) -> Completion:
    choice = _choice(reply)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise GarbageError("no message")
    said = _text(message.get("content"))
    text = said if said is not None else _text(message.get("refusal")) or ""
    reasoning = _text(message.get("reasoning")) or _text(message.get("reasoning_content"))
    return _completion(reply, choice, text=text, reasoning=reasoning)


def _choice(reply: Any) -> dict[str, Any]:
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise GarbageError("no choices")
    choice: dict[str, Any] = choices[0]
    finish = _text(choice.get("finish_reason"))
    if finish in BROKEN_OFF:
        raise GarbageError(f"finish reason {finish}")
    return choice


def _completion(reply: Any, choice: dict[str, Any], **said: Any) -> Completion:
    usage = reply.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("prompt_tokens_details")
    return Completion(
        choice.get("finish_reason"),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        cached_tokens=_count(details.get("cached_tokens")) if isinstance(details, dict) else 0,
        completion_tokens=_count(usage.get("completion_tokens")) or len(said.get("token_ids") or ()),
        **said,
    )


def _ids(value: Any) -> list[int]:
    if not isinstance(value, list) or not all(type(item) is int and 0 <= item < 1 << 32 for item in value):
        raise GarbageError("no token ids")
    return value


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise GarbageError("something else where text belongs")


def _count(value: Any) -> int:
    return value if type(value) is int and 0 <= value < 1 << 40 else 0
