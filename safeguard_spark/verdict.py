"""Verdict: what the labeler said of one content under one policy. Reading is total: any completion, one outcome."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from safeguard_spark.contract import CONFIDENCES, Contract
from safeguard_spark.policy import NONE, Output
from safeguard_spark.prompt import harmony_encoding


class Outcome(StrEnum):
    """Exactly one per content and policy. Only `labelled` and `screened` carry a violation."""

    labelled = "labelled"
    refused = "refused"
    unparseable = "unparseable"
    truncated = "truncated"
    too_long = "too_long"
    empty = "empty"
    invalid_content = "invalid_content"
    engine_failed = "engine_failed"
    screened = "screened"

    def may_change(self, temperature: float) -> bool:
        """Whether the same call may end otherwise next time.

        At temperature 0 an answer that could not be read will be given again; a sampled one may be better.
        """
        sampled = self in (Outcome.unparseable, Outcome.truncated) and temperature > 0
        return self is Outcome.engine_failed or sampled


class Completion(NamedTuple):
    """An engine's raw answer: token ids (harmony), or text and what the server took out as reasoning (chat)."""

    finish_reason: str | None
    token_ids: list[int] | None = None
    text: str | None = None
    reasoning: str | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """One outcome; if labelled, what was decided. `error` is a short cause, never content."""

    outcome: Outcome
    violation: bool | None = None
    category: str | None = None
    rule_ids: tuple[str, ...] = ()
    confidence: str | None = None
    rationale: str | None = None
    error: str | None = None
    reasoning: str | None = None
    raw_output: str | None = None


class Channels(NamedTuple):
    """A completion taken apart. `final` is None when the model never reached its final channel."""

    reasoning: str | None
    final: str | None
    raw: str | None


class _Unreadable(ValueError):
    """An answer that breaks the contract; the message says how, without quoting it."""


_REFUSAL = re.compile(
    r"\A\W*(?:i['’]?m (?:so )?(?:very )?sorry|i am sorry|sorry,|i apologi[sz]e|i can(?:['’]t|not| not)|"
    r"i(?:['’]m| am) (?:unable|not able)|i won['’]t|i must (?:decline|refuse))",
    re.IGNORECASE,
)


def read(completion: Completion, contract: Contract) -> Verdict:
    """The verdict of a completion under a contract. Never raises."""
    channels = _channels(completion)
    cut = completion.finish_reason == "length"
    kept = {"reasoning": channels.reasoning, "raw_output": channels.raw}
    if channels.final is None:
        outcome = Outcome.truncated if cut else Outcome.unparseable
        return Verdict(outcome, error="no final message", **kept)
    try:
        fields = _answer(channels.final, contract)
    except _Unreadable as problem:
        if cut:
            return Verdict(Outcome.truncated, error="final message cut short", **kept)
        if _REFUSAL.match(channels.final):
            return Verdict(Outcome.refused, error="the model declined", **kept)
        return Verdict(Outcome.unparseable, error=str(problem), **kept)
    except RecursionError:
        return Verdict(Outcome.unparseable, error="answer nested too deeply", **kept)
    return Verdict(Outcome.labelled, **fields, **kept)


def _channels(completion: Completion) -> Channels:
    if completion.token_ids is None:
        text = _printable(completion.text or "")
        return Channels(_optional(completion.reasoning), text if text.strip() else None, text)
    from openai_harmony import Role

    encoding, raw = harmony_encoding(), None
    # Totality: on malformed ids oss-harmony raises HarmonyError, OverflowError and others.
    try:
        raw = _printable(encoding.decode(completion.token_ids))
        messages = encoding.parse_messages_from_completion_tokens(completion.token_ids, Role.ASSISTANT, strict=False)
    except Exception:
        return Channels(None, None, raw)
    reasoning, final = [], None
    for message in messages:
        text = "".join(getattr(part, "text", "") or "" for part in message.content)
        if message.channel == "final":
            final = _printable(text)
        else:
            reasoning.append(text)
    return Channels(_optional("\n".join(reasoning)), final, raw)


def _answer(text: str, contract: Contract) -> dict[str, Any]:
    """Verdict fields of a final message. Raises _Unreadable unless it holds exactly one answer."""
    if contract.output is Output.binary:
        return {"violation": _binary(text)}
    readings: list[dict[str, Any]] = []
    problem: _Unreadable | None = None
    for value in _objects(text):
        try:
            fields = _fields(value, contract)
        except _Unreadable as error:
            problem = problem or error
        else:
            if fields not in readings:
                readings.append(fields)
    if problem is None and len(readings) == 1:
        return readings[0]
    if readings:
        raise _Unreadable("several answers that differ")
    raise problem or _Unreadable("no JSON object")


def _binary(text: str) -> bool:
    digits = set(re.findall(r"(?<![\w.])[01](?![\w.]*\w)", text))
    if len(digits) != 1:
        raise _Unreadable("neither 0 nor 1" if not digits else "both 0 and 1")
    return digits.pop() == "1"


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Every outermost JSON object in a text, whatever stands around it. At most 8 are looked for."""
    decoder = json.JSONDecoder(object_pairs_hook=_no_doubles)
    at, found = text.find("{"), 0
    tries = 0
    while at >= 0 and found < 8 and tries < 64:
        tries += 1
        try:
            value, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError:
            at = text.find("{", at + 1)
            continue
        found += 1
        yield value
        at = text.find("{", end)


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise _Unreadable("a key given twice")
    return dict(pairs)


def _fields(value: dict[str, Any], contract: Contract) -> dict[str, Any]:
    if "violation" not in value:
        raise _Unreadable("no violation key")
    violation = _boolean(value["violation"])
    named = value.get("policy_category", value.get("category"))
    category = _category(named, contract)
    if contract.output is Output.category:
        if violation and category is None:
            raise _Unreadable("a violation without a category")
        return {"violation": violation, "category": category}
    rule_ids = _rule_ids(value.get("rule_ids"), contract)
    if violation and category is None and rule_ids:
        category = contract.category_of[rule_ids[0]]
    if violation and category is None and contract.category_of:
        raise _Unreadable("a violation without category and rules")
    rationale = value.get("rationale")
    if rationale is not None and not isinstance(rationale, str):
        raise _Unreadable("rationale is not text")
    return {
        "violation": violation,
        "category": category,
        "rule_ids": rule_ids,
        "confidence": _confidence(value.get("confidence")),
        "rationale": rationale,
    }


def _boolean(value: Any) -> bool:
    if isinstance(value, str):
        value = {"0": 0, "1": 1, "true": 1, "false": 0}.get(value.strip().lower(), value)
    if isinstance(value, bool | int) and value in (0, 1):
        return bool(value)
    raise _Unreadable("violation is neither 0 nor 1")


def _category(value: Any, contract: Contract) -> str | None:
    """A category of the policy, or None for "none". A rule id where a category belongs stands for its category."""
    if value is None or (isinstance(value, str) and value.strip().lower() in (NONE, "")):
        return None
    if isinstance(value, str):
        if value.strip() in contract.categories:
            return value.strip()
        if value.strip() in contract.category_of:
            return contract.category_of[value.strip()]
    raise _Unreadable("unknown category")


def _rule_ids(value: Any, contract: Contract) -> tuple[str, ...]:
    if value is None:
        return ()
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        raise _Unreadable("rule_ids is not a list of texts")
    if any(item not in contract.category_of for item in listed):
        raise _Unreadable("unknown rule id")
    return tuple(dict.fromkeys(listed))


def _confidence(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, str) and value.strip().lower() in CONFIDENCES:
        return value.strip().lower()
    raise _Unreadable("unknown confidence")


def _optional(text: str | None) -> str | None:
    return _printable(text) if text else None


def _printable(text: str) -> str:
    """Text that UTF-8 and so Parquet can hold: lone surrogates become U+FFFD."""
    return text.encode("utf-8", "replace").decode("utf-8")
