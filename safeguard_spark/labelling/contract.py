"""Output contract: the answer a policy requires, as a JSON schema and as the structural tag that enforces it.

Also what the names in an answer mean, as models write them.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from safeguard_spark.policy.document import NONE, REVIEW, Answers, Output, Policy
from safeguard_spark.policy.names import level

CONTRACT_VERSION = 2
CONFIDENCES = ("low", "medium", "high")
MAX_NAME = 200  # characters of a name that is looked up; a policy's are shorter
NO_CATEGORY = ("", NONE, "safe", "null")  # words that mean: no category, no rule
FINAL_HEADERS = (
    "<|channel|>final json<|message|>",
    "<|channel|>final <|constrain|>json<|message|>",
    "<|channel|>final<|message|>",
)

_SUB_RULE = re.compile(r"(?<=\w)\s?(?:\.\w+|\(\w+\))\Z")  # the last part of `SP2.a` and `SP2(a)`


class _Names:
    """What names mean: as they are written, else levelled."""

    def __init__(self, meanings: Iterable[tuple[str, str | None]]) -> None:
        self._exact: dict[str, str | None] = {}
        self._levelled: dict[str, set[str | None]] = {}
        for name, meaning in meanings:
            self._exact.setdefault(name, meaning)
            self._levelled.setdefault(level(name), set()).add(meaning)

    def meanings(self, name: str) -> set[str | None]:
        """All that a name may mean: none if it is unknown, several if two names are the same levelled."""
        return {self._exact[name]} if name in self._exact else self._levelled.get(level(name), set())


@dataclass(frozen=True)
class Contract:
    """What an answer may contain. `category_of` maps rule ids to categories, in the policy's order.

    `allowed` are labels that mean no category; `answers` are the policy's words for 1 and 0; `review` those for a
    content that a person must decide, which is an answer only if there are any.
    """

    output: Output
    category_of: dict[str, str]
    allowed: tuple[str, ...] = ()
    answers: Answers | None = None
    review: tuple[str, ...] = ()

    @classmethod
    def of(cls, policy: Policy) -> "Contract":
        """The contract of a policy."""
        rules = {rule.id: rule.category for rule in policy.rules}
        return cls(policy.output, rules, policy.allowed, policy.answers, policy.review)

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """Categories in the policy's order, each once."""
        return tuple(dict.fromkeys(self.category_of.values()))

    @property
    def binary_answers(self) -> tuple[str, ...]:
        """How a binary answer is written: no violation, violation and, if the policy has it, review."""
        words = (self.answers.safe[0], self.answers.violation[0]) if self.answers else ("0", "1")
        return (*words, *self.review[:1])

    def violation_named(self, word: str) -> bool | None:
        """What a word for a violation means; None if nothing."""
        plain = {"0": False, "false": False, "1": True, "true": True}
        return plain.get(word.strip().lower(), self._violation_words.get(level(word)))

    def is_review(self, name: object) -> bool:
        """Whether a value in an answer means that a person must decide."""
        return isinstance(name, str) and level(name) in self._review_words

    def category_named(self, name: str) -> str | None:
        """The category that a name in an answer means, None for no category. A rule id means the rule's category.

        Raises ValueError for a name that is unknown, or that could mean two categories.
        """
        categories = self._category_names.meanings(name.strip()) or {
            rule if rule is None else self.category_of[rule] for rule in self._rules_named(name)
        }
        if len(categories) != 1:
            raise ValueError("unknown category")
        return next(iter(categories))

    def rule_named(self, name: str) -> str | None:
        """The rule id that a name in an answer means, None for no rule. A sub-rule means its rule.

        Raises ValueError for a name that is unknown, or that could mean two rules.
        """
        rules = self._rules_named(name)
        if len(rules) != 1:
            raise ValueError("unknown rule id")
        return next(iter(rules))

    def _rules_named(self, name: str) -> set[str | None]:
        name = name.strip()
        while not (rules := self._rule_names.meanings(name)):
            rule = _SUB_RULE.sub("", name)
            if rule == name or len(name) > MAX_NAME:
                break
            name = rule
        return rules

    @cached_property
    def _category_names(self) -> "_Names":
        return _Names([*((name, name) for name in self.categories), *self.category_of.items(), *self._no_names()])

    @cached_property
    def _rule_names(self) -> "_Names":
        return _Names([*((rule, rule) for rule in self.category_of), *self._no_names()])

    def _no_names(self) -> list[tuple[str, None]]:
        return [(name, None) for name in (*self.allowed, *NO_CATEGORY)]

    @cached_property
    def _review_words(self) -> set[str]:
        return {level(word) for word in (*self.review, REVIEW)} if self.review else set()

    @cached_property
    def _violation_words(self) -> dict[str, bool]:
        if self.answers is None:
            return {}
        words = ((self.answers.safe, False), (self.answers.violation, True))
        return {level(word): meaning for names, meaning in words for word in names}

    def json_schema(self) -> dict[str, Any]:
        """The JSON schema of the answer. Without `maxLength`: the engine needs 14 s to compile one."""
        violation: dict[str, Any] = {"type": "integer", "enum": [0, 1]}
        if self.binary_answers[:2] != ("0", "1"):
            violation = {"type": "string", "enum": list(self.binary_answers[:2])}
        if self.output is Output.binary:
            return {"enum": [*violation["enum"], *self.review[:1]]} if self.review else violation
        category = {"type": "string", "enum": [*self.categories, *self.review[:1], NONE]}
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
