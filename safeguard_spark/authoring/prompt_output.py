"""Prompt output: what a model would receive for one content, for people and for programs."""

from typing import Any

from safeguard_spark.authoring.checks.text import token_count
from safeguard_spark.labelling.prompt import Prompt, harmony_encoding
from safeguard_spark.labelling.rows import LabelSpec


def prompt_text(prompt: Prompt) -> str:
    """The prompt as text, control tokens included; a chat prompt as its messages under their roles."""
    if prompt.token_ids is not None:
        return str(harmony_encoding().decode(prompt.token_ids))
    return "\n\n".join(f"[{message['role']}]\n{message['content']}" for message in prompt.messages)


def prompt_json(prompt: Prompt, spec: LabelSpec) -> dict[str, Any]:
    """For programs: the token ids and the text, or the messages of a chat prompt."""
    common = {"policy": spec.policy.ref, "dialect": spec.labeler.dialect.value}
    if prompt.token_ids is None:
        return {**common, "messages": prompt.messages}
    return {**common, "tokens": len(prompt.token_ids), "token_ids": prompt.token_ids, "prompt": prompt_text(prompt)}


def token_counts(prompt: Prompt, spec: LabelSpec) -> str:
    """How many tokens the prompt has, and how many of them are the content. A chat prompt is estimated."""
    content = token_count(prompt.user_text)
    if prompt.token_ids is None:
        total = token_count(prompt.policy_text) + content
        return (
            f"About {total:,} tokens in gpt-oss's vocabulary: {content:,} are the content. "
            "Another model's count may differ."
        )
    total, effort = len(prompt.token_ids), spec.labeler.effort.value
    return f"{total:,} tokens at {effort} effort: {content:,} are the content, the rest is the same for every content."
