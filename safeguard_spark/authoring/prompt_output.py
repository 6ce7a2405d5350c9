"""Prompt output: what a model would receive for one content, for people and for programs."""

from typing import Any

from safeguard_spark.labelling.prompt import Prompt, count_tokens, harmony_encoding
from safeguard_spark.labelling.rows import LabelSpec


def prompt_text(prompt: Prompt) -> str:
    """The prompt as text, control tokens included; a chat prompt as its messages under their roles."""
    if prompt.token_ids is not None:
        return str(harmony_encoding().decode(prompt.token_ids))
    return "\n\n".join(f"[{message['role']}]\n{message['content']}" for message in prompt.messages)


def prompt_parts(prompt: Prompt) -> list[tuple[str, str]]:
    """The prompt's text in parts: (template, policy or content; text). Together they are `prompt_text`."""
    text = prompt_text(prompt)
    content_at = text.rindex(prompt.user_text) if prompt.user_text else len(text)
    policy_at = text.index(prompt.policy_text)
    policy_end, content_end = policy_at + len(prompt.policy_text), content_at + len(prompt.user_text)
    parts = [
        ("template", text[:policy_at]),
        ("policy", text[policy_at:policy_end]),
        ("template", text[policy_end:content_at]),
        ("content", text[content_at:content_end]),
        ("template", text[content_end:]),
    ]
    return [part for part in parts if part[1]]


def marked_text(prompt: Prompt) -> str:
    """The prompt as text, each part under a line that says what it is."""
    return "\n".join(f"---- {kind} ----\n{text}" for kind, text in prompt_parts(prompt))


def prompt_json(prompt: Prompt, spec: LabelSpec) -> dict[str, Any]:
    """For programs: the token ids and the text, or the messages of a chat prompt."""
    parts = [{"kind": kind, "text": text} for kind, text in prompt_parts(prompt)]
    common = {"policy": spec.policy.ref, "dialect": spec.labeler.dialect.value, "parts": parts}
    if prompt.token_ids is None:
        return {**common, "messages": prompt.messages}
    return {**common, "tokens": len(prompt.token_ids), "token_ids": prompt.token_ids, "prompt": prompt_text(prompt)}


def token_counts(prompt: Prompt, spec: LabelSpec) -> str:
    """How many tokens the prompt has, and how many of them are the content. A chat prompt is estimated."""
    content = count_tokens(prompt.user_text)
    if prompt.token_ids is None:
        total = count_tokens(prompt.policy_text) + content
        return (
            f"About {total:,} tokens in gpt-oss's vocabulary: {content:,} are the content. "
            "Another model's count may differ."
        )
    total, effort = len(prompt.token_ids), spec.labeler.effort.value
    return f"{total:,} tokens at {effort} effort: {content:,} are the content, the rest is the same for every content."
