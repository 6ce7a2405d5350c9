"""The HTTP protocol of the two dialects: what is posted where, and how the reply is read. Pure.

Harmony goes as token ids to vLLM's `/inference/v1/generate`, or on a server without it to `/v1/completions` with
`return_token_ids`. Chat goes to `/v1/chat/completions`.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from safeguard_spark.config.engine import Dialect
from safeguard_spark.labelling.content import from_text
from safeguard_spark.labelling.engine import CallSpec
from safeguard_spark.labelling.prompt import Prompt, chat, count_tokens, harmony, harmony_encoding, prefix_tokens
from safeguard_spark.labelling.rows import CHARACTERS_PER_TOKEN
from safeguard_spark.labelling.verdict import DECLINED, Completion, refusal_cause
from safeguard_spark.policy.document import Effort, Output

STOP_IDS = (200_002, 200_012)  # <|return|> and <|call|>: gpt-oss's generation_config.json
ABORTED = ("abort", "error")  # vLLM's finish reasons for an answer it could not complete


class MalformedReplyError(ValueError):
    """A reply that is not what the route promises. The message never quotes the reply."""


class ChatReplyError(MalformedReplyError):
    """The reply of a chat server to a request in harmony's token ids."""


class Form(NamedTuple):
    """How a request is written. Servers differ in what they take; a run finds the form once and keeps it."""

    path: str
    structured: bool
    effort: bool
    sampling: bool = True  # temperature and top_p
    limit_field: str = "max_tokens"
    policy_role: str = "system"  # `user`: the policy is at the start of the content's own message
    top_p: bool = True

    @property
    def route(self) -> "Route":
        """The route of the path."""
        return ROUTES[self.path]

    def without(self, field: str) -> "Form":
        """The form that differs in the field that a server named; the same form if no other is known."""
        changes: dict[str, dict[str, Any]] = {
            "max_tokens": {"limit_field": "max_completion_tokens"},
            "messages": {"policy_role": "user"},
            "temperature": {"sampling": False},
            "top_p": {"top_p": False},
            "reasoning_effort": {"effort": False},
            "response_format": {"structured": False},
            "structured_outputs": {"structured": False},
        }
        return self._replace(**changes.get(re.split(r"[.\[]", field)[0], {}))

    def settings_to_change(self, spec: CallSpec) -> list[str]:
        """The settings under which this form does all that the labeler says; none if it does."""
        labeler = spec.labeler
        settings = []
        if labeler.structured and not self.structured:
            settings.append("labeler.structured=false")
        if _has_effort(spec) and not self.effort:
            settings.append("labeler.effort=none")
        if not self.sampling and labeler.temperature != 1:
            settings.append("labeler.temperature=1")
        if not (self.sampling and self.top_p) and labeler.top_p != 1 and labeler.temperature != 0:
            settings.append("labeler.top_p=1")
        return settings


class Route(NamedTuple):
    """An HTTP route: the body to post, and how to read the reply."""

    body: Callable[[str, CallSpec, Prompt, Form], dict[str, Any]]
    read: Callable[[Any], Completion]


def forms(spec: CallSpec) -> tuple[Form, ...]:
    """The forms to try on a server in this order. The first has all that the labeler needs.

    Those after the equal ones leave out something that the labeler promises. They are tried only to find out which
    setting the server needs.
    """
    if spec.glance:
        return (Form(GENERATE, spec.labeler.structured, False),)
    structured = (True, False) if spec.labeler.structured else (False,)
    if spec.labeler.dialect is Dialect.harmony:
        return tuple(
            Form(path, is_structured, False) for is_structured in structured for path in (GENERATE, COMPLETIONS)
        )
    first = Form(CHAT, structured[0], _has_effort(spec))
    equal = [
        first._replace(limit_field=limit, policy_role=role)
        for role in ("system", "user")
        for limit in ("max_tokens", "max_completion_tokens")
    ]
    if spec.labeler.temperature == 0 or spec.labeler.top_p == 1:  # then it decides nothing
        equal += [form._replace(top_p=False) for form in equal]
    lossy = [
        first._replace(structured=is_structured, effort=effort, sampling=sampling)
        for sampling in (True, False)
        for is_structured in structured
        for effort in dict.fromkeys((first.effort, False))
    ]
    barest = lossy[-1]._replace(limit_field="max_completion_tokens", policy_role="user")
    return tuple(dict.fromkeys([*equal, *lossy, barest]))


def control_prompt(spec: CallSpec, prompt: Prompt) -> Prompt:
    """A prompt of the same policy with a content that no server has a reason to refuse."""
    content = from_text("Good morning.")
    if prompt.token_ids is None:
        return chat(prompt.policy_text, content)
    return harmony(prompt.policy_text, spec.labeler.effort, content)


def sent_tokens(spec: CallSpec, prompt: Prompt) -> tuple[int, int]:
    """At least so many tokens has the policy, and the whole prompt. Exact in the harmony dialect."""
    if prompt.token_ids is not None:
        return prefix_tokens(prompt.policy_text, spec.labeler.effort), len(prompt.token_ids)
    policy = _policy_tokens(prompt.policy_text) // 2  # another tokenizer
    return policy, policy + len(prompt.user_text) // CHARACTERS_PER_TOKEN


@lru_cache(maxsize=64)
def _policy_tokens(text: str) -> int:
    return count_tokens(text)


def _has_effort(spec: CallSpec) -> bool:
    return spec.labeler.dialect is Dialect.chat and spec.labeler.effort is not Effort.none


def _sampling(spec: CallSpec) -> dict[str, Any]:
    labeler = spec.labeler
    return {"max_tokens": labeler.max_tokens, "temperature": labeler.temperature, "top_p": labeler.top_p}


def _generate_body(model: str, spec: CallSpec, prompt: Prompt, form: Form) -> dict[str, Any]:
    if glance := spec.glance:
        # The reply lists the generated token first, which may be neither of the two, and as many tokens as are named.
        tokens = [glance.safe, glance.violation, glance.violation]
        sampling = {"max_tokens": 1, "temperature": 0.0, "logprobs": len(tokens), "logprob_token_ids": tokens}
        return {"model": model, "token_ids": prompt.token_ids, "sampling_params": {**sampling, "detokenize": False}}
    sampling = {**_sampling(spec), "stop_token_ids": list(STOP_IDS), "detokenize": False}
    if form.structured:
        sampling["structured_outputs"] = {"structural_tag": spec.contract.structural_tag}
    return {"model": model, "token_ids": prompt.token_ids, "sampling_params": sampling}


def _completions_body(model: str, spec: CallSpec, prompt: Prompt, form: Form) -> dict[str, Any]:
    body = {
        "model": model,
        "prompt": prompt.token_ids,
        **_sampling(spec),
        "stop_token_ids": list(STOP_IDS),
        "skip_special_tokens": False,  # if no ids come back, the text must contain these tokens
        "return_token_ids": True,
    }
    if form.structured:
        body["structured_outputs"] = {"structural_tag": spec.contract.structural_tag}
    return body


def _chat_body(model: str, spec: CallSpec, prompt: Prompt, form: Form) -> dict[str, Any]:
    messages = prompt.messages
    if form.policy_role == "user":  # as chat templates without a system role do it themselves
        messages = [{"role": "user", "content": f"{prompt.policy_text}\n\n{prompt.user_text}"}]
    body: dict[str, Any] = {"model": model, "messages": messages, form.limit_field: spec.labeler.max_tokens}
    if form.sampling:
        body["temperature"] = spec.labeler.temperature
    if form.sampling and form.top_p:
        body["top_p"] = spec.labeler.top_p
    if form.effort:
        body["reasoning_effort"] = spec.labeler.effort.value
    if form.structured and spec.contract.output is Output.binary:
        # OpenAI's response_format needs an object; vLLM's own field restricts the answer to the two words.
        body["structured_outputs"] = {"choice": list(spec.contract.binary_answers)}
    elif form.structured:
        schema = {"name": "verdict", "schema": spec.contract.json_schema(), "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def _read_generate(reply: Any) -> Completion:
    choice = _choice(reply)
    _require_no_message(choice)
    return _completion(reply, choice, token_ids=_ids(choice.get("token_ids")), logprobs=_logprobs(choice))


def _read_completions(reply: Any) -> Completion:
    choice = _choice(reply)
    if choice.get("token_ids") is not None:
        return _completion(reply, choice, token_ids=_ids(choice["token_ids"]))
    _require_no_message(choice)
    text = _text(choice.get("text"))
    if text is None:
        raise MalformedReplyError("neither token ids nor text")
    return _completion(reply, choice, token_ids=harmony_encoding().encode(text, allowed_special="all"))


def _require_no_message(choice: dict[str, Any]) -> None:
    if isinstance(choice.get("message"), dict) and not {"token_ids", "text"} & choice.keys():
        raise ChatReplyError("a chat message in place of token ids")


def _read_chat(reply: Any) -> Completion:
    choice = _choice(reply)
    message = choice.get("message")
    if message is None and refusal_cause(choice.get("finish_reason")):
        message = {}  # some content filters leave nothing
    if not isinstance(message, dict):
        raise MalformedReplyError("no message")
    text, thoughts = _content(message.get("content"))
    if not text and (refusal := _text(message.get("refusal"))):
        text, choice = refusal, {**choice, "finish_reason": DECLINED}
    reasoning = thoughts or _text(message.get("reasoning")) or _text(message.get("reasoning_content"))
    return _completion(reply, choice, text=text, reasoning=reasoning)


def _content(value: Any) -> tuple[str, str]:
    """Text and reasoning of a message's content: a text, or a list of parts, of which some may be reasoning."""
    if not isinstance(value, list) or not value:
        return _text(value) or "", ""
    texts: dict[str, list[str]] = {"text": [], "thinking": []}
    for part in value:
        kind = part.get("type") if isinstance(part, dict) else None
        if not isinstance(kind, str) or kind not in texts:
            raise MalformedReplyError("a value that is not text")
        inner = part.get(kind)
        texts[kind].append("".join(_content(inner)) if isinstance(inner, list) else _text(inner) or "")
    return "".join(texts["text"]), "".join(texts["thinking"])


def _choice(reply: Any) -> dict[str, Any]:
    if not isinstance(reply, dict):
        raise MalformedReplyError("JSON that is no object")
    choices = reply.get("choices")
    if not choices and reply.get("error"):
        raise MalformedReplyError("an error in place of an answer")
    if choices == []:
        raise MalformedReplyError("an empty list of choices")
    if not isinstance(choices, list) or not isinstance(choices[0], dict):
        raise MalformedReplyError("no choices")
    choice: dict[str, Any] = choices[0]
    finish = _text(choice.get("finish_reason"))
    if finish in ABORTED:
        raise MalformedReplyError(f"finish reason {finish}")
    if choice.get("error"):
        raise MalformedReplyError("an error in place of an answer")
    results = choice.get("content_filter_results")  # Azure's: {"hate": {"filtered": false, "severity": "safe"}, …}
    if isinstance(results, dict) and any(
        isinstance(result, dict) and result.get("filtered") is True for result in results.values()
    ):
        return {**choice, "finish_reason": "content_filter"}
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


def _logprobs(choice: dict[str, Any]) -> dict[int, float] | None:
    """The log probabilities at the first generated token, by token id; None without any."""
    try:
        listed = choice["logprobs"]["content"][0]["top_logprobs"]
        return {int(entry["token_id"]): float(entry["logprob"]) for entry in listed}
    except (KeyError, TypeError, IndexError, ValueError):
        return None


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise MalformedReplyError("a value that is not text")


def _count(value: Any) -> int:
    return value if type(value) is int and 0 <= value < 1 << 40 else 0


GENERATE, COMPLETIONS, CHAT = "/inference/v1/generate", "/v1/completions", "/v1/chat/completions"
ROUTES = {
    GENERATE: Route(_generate_body, _read_generate),
    COMPLETIONS: Route(_completions_body, _read_completions),
    CHAT: Route(_chat_body, _read_chat),
}
