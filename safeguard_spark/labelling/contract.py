"""Output contract: the answer a policy requires, as a JSON schema and as the structural tag that enforces it."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from safeguard_spark.policy.document import NONE, Output, Policy

CONTRACT_VERSION = 1
CONFIDENCES = ("low", "medium", "high")
FINAL_HEADERS = (
    "<|channel|>final json<|message|>",
    "<|channel|>final <|constrain|>json<|message|>",
    "<|channel|>final<|message|>",
)


@dataclass(frozen=True)
class Contract:
    """What an answer may contain. `category_of` maps rule ids to categories, in the policy's order."""

    output: Output
    category_of: dict[str, str]

    @classmethod
    def of(cls, policy: Policy) -> "Contract":
        """The contract of a policy."""
        return cls(policy.output, {rule.id: rule.category for rule in policy.rules})

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """Categories in the policy's order, each once."""
        return tuple(dict.fromkeys(self.category_of.values()))

    def json_schema(self) -> dict[str, Any]:
        """The JSON schema of the answer. Without `maxLength`: the engine needs 14 s to compile one."""
        violation = {"type": "integer", "enum": [0, 1]}
        if self.output is Output.binary:
            return violation
        category = {"type": "string", "enum": [*self.categories, NONE]}
        if self.output is Output.category:
            return _object({"violation": violation, "policy_category": category})
        ids = {"type": "array", "items": {"type": "string", "enum": list(self.category_of)}, "maxItems": 8}
        return _object({
            "violation": violation,
            "category": category,
            "rule_ids": ids if self.category_of else {"type": "array", "maxItems": 0},
            "confidence": {"type": "string", "enum": list(CONFIDENCES)},
            "rationale": {"type": "string"},
        })  # fmt: skip

    @cached_property
    def structural_tag(self) -> str:
        """xgrammar's structural tag for a harmony completion, as JSON text.

        The analysis channel stays free; only the final channel is constrained. Byte-identical for a policy, because
        the engine caches the compiled grammar by this text.
        """
        # A plain schema would apply from the first token on and forbid the analysis channel.
        analysis = {
            "type": "tag",
            "begin": "<|channel|>analysis<|message|>",
            "content": {"type": "any_text"},
            "end": "<|end|>",
        }
        answer = {"type": "json_schema", "json_schema": self.json_schema()}
        final_channels = [
            {"type": "tag", "begin": header, "content": answer, "end": ["<|end|>", ""]} for header in FINAL_HEADERS
        ]
        turn = {"type": "const_string", "value": "<|start|>assistant"}
        reasoning = {"type": "optional", "content": {"type": "sequence", "elements": [analysis, turn]}}
        final = {"type": "or", "elements": final_channels}
        tag = {"type": "structural_tag", "format": {"type": "sequence", "elements": [reasoning, final]}}
        # Not sorted: the schema's key order is the order in which the model must answer.
        return json.dumps(tag, separators=(",", ":"), ensure_ascii=False)


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
