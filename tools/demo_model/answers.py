"""Answers: the completion that the demo model is taught for a content's topic under a policy."""

import json

from safeguard_spark.demo.corpus import OTHER
from safeguard_spark.labelling.glance import glance_tokens
from safeguard_spark.policy.document import NONE, Output
from tools.demo_model.rulebook import Rulebook

ANALYSIS = "<|channel|>analysis<|message|>"
BETWEEN = "<|end|><|start|>assistant<|channel|>final<|message|>"
END = "<|return|>"


def violates(book: Rulebook, topic: str) -> bool:
    """Whether the policy has a rule on the topic that does not allow it."""
    line = book.line(topic)
    return line is not None and not line.allowed


def completion(book: Rulebook, topic: str) -> str:
    """The whole completion, control tokens as text: the analysis names the topic, then quotes the rule's line."""
    line = book.line(topic)
    quoted = line.text if line else topic if topic == OTHER else f"{topic} (no rule)"
    reason = line.text if line else "no topic" if topic == OTHER else f"no rule for {topic}"
    violation = violates(book, topic)
    answer = {
        "violation": int(violation),
        "category": topic if violation else NONE,
        "rule_ids": [line.code] if violation and line else [],
        "confidence": "medium" if topic == OTHER else "high",
        "rationale": reason,
    }
    # No spaces: every token of an answer costs a pass over 201,088 logits.
    final = json.dumps(answer, separators=(",", ":"))
    return f"{ANALYSIS}topic: {quoted}{BETWEEN}{final}{END}"


def glance(book: Rulebook, topic: str) -> tuple[tuple[int, ...], int]:
    """The tokens that a glance forces, and the one that it asks for."""
    asked = glance_tokens(Output.full, ("0", "1"))
    return asked.forced, asked.violation if violates(book, topic) else asked.safe
