"""Verdict: the labeler's answer about one content under one policy. Reading is total: any completion, one outcome."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple

from safeguard_spark.labelling.contract import CONFIDENCES, Contract
from safeguard_spark.labelling.prompt import harmony_encoding
from safeguard_spark.policy.document import NONE, Output


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
        """Whether the same call may have another outcome next time.

        At temperature 0 the model repeats an answer that could not be read; a sampled answer may be better.
        """
        sampled = self in (Outcome.unparseable, Outcome.truncated) and temperature > 0
        return self is Outcome.engine_failed or sampled


class Completion(NamedTuple):
    """An engine's raw answer: token ids (harmony), or text and the reasoning that the server separated (chat)."""

    finish_reason: str | None
    token_ids: list[int] | None = None
    text: str | None = None
    reasoning: str | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """One outcome; if labelled, the decision. `error` is a short cause, never content."""

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
    """The parts of a completion. `final` is None if the model never reached its final channel."""

    reasoning: str | None
    final: str | None
    raw: str | None


class _Unreadable(ValueError):
    """An answer that breaks the contract; the message says how, without quoting it."""


CUT_SHORT = ("length", "repetition")  # finish reasons of an answer that the engine stopped
MAX_BRACES = 64  # opening braces that are tried in one answer

_REFUSAL = re.compile(
    r"\A\W*(?:i['’]?m (?:so )?(?:very )?sorry|i am sorry|sorry,|i apologi[sz]e|i can(?:['’]t|not| not)|"
    r"i(?:['’]m| am) (?:unable|not able)|i won['’]t|i must (?:decline|refuse))",
    re.IGNORECASE,
)
_OPENING = re.compile(r"""\{\s*(?:\\?["'“”‘’]|\w+\s*:)""")  # of a JSON object, whole or broken, but not of `{this}`
# A 0 or 1 by itself: not part of a word, a negative number, a decimal, a date, a ratio or a percentage.
_DIGIT = re.compile(r"(?<![\w.\-−+/$€£])(?<!\d[,:])[01](?![\w.]*\w|[,:/\-−–]\d|/\w|\s?%)")
_SURROGATE = re.compile("[\ud800-\udfff]")


def read(completion: Completion, contract: Contract) -> Verdict:
    """The verdict of a completion under a contract. Never raises."""
    channels = _channels(completion)
    verdict = _verdict(channels, completion.finish_reason in CUT_SHORT, contract)
    return replace(verdict, reasoning=channels.reasoning, raw_output=channels.raw)


def _verdict(channels: Channels, cut_short: bool, contract: Contract) -> Verdict:
    if cut_short and not _is_whole(channels.final):
        return Verdict(Outcome.truncated, error="the answer was cut short")
    text = channels.raw if channels.final is None else channels.final
    try:
        if channels.final is None:
            raise _Unreadable("no final message")
        return Verdict(Outcome.labelled, **_answer(channels.final, contract))
    except _Unreadable as error:
        if _REFUSAL.match(text or ""):
            return Verdict(Outcome.refused, error="the model declined")
        return Verdict(Outcome.unparseable, error=str(error))
    except RecursionError:
        return Verdict(Outcome.unparseable, error="answer nested too deeply")


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
    reasoning: list[str] = []
    finals: list[str] = []
    for message in messages:
        text = "".join(getattr(part, "text", "") or "" for part in message.content)
        (finals if message.channel == "final" else reasoning).append(text)
    # All of them: if several final messages differ, none is the answer. No JSON value can span a NUL.
    final = _printable("\0".join(finals)) if finals else None
    return Channels(_optional("\n".join(reasoning)), final, raw)


def _is_whole(final: str | None) -> bool:
    """Whether a final message that was cut short is one complete JSON value and nothing else."""
    try:
        json.loads(final or "")
    except (ValueError, RecursionError):
        return False
    return True


def _answer(text: str, contract: Contract) -> dict[str, Any]:
    """Verdict fields of a final message. Raises _Unreadable unless it holds exactly one answer."""
    if contract.output is Output.binary:
        return {"violation": _binary(text)}
    readings: list[dict[str, Any]] = []
    for value in _objects(text):
        fields = _fields(value, contract)
        if fields not in readings:
            readings.append(fields)
    if len(readings) > 1:
        raise _Unreadable("several answers that differ")
    if not readings:
        raise _Unreadable("no JSON object")
    return readings[0]


def _binary(text: str) -> bool:
    digits: set[str] = set(_DIGIT.findall(text))
    if len(digits) != 1 or _REFUSAL.match(text):
        raise _Unreadable("both 0 and 1" if len(digits) > 1 else "neither 0 nor 1")
    return digits.pop() == "1"


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Every outermost JSON object in a text, whatever is around it. Raises _Unreadable at a broken one.

    An object inside a broken one is not an answer: it may come from the content, quoted in a rationale.
    """
    decoder = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer)
    start = text.find("{")
    for _ in range(MAX_BRACES):
        if start < 0:
            return
        try:
            value, end = decoder.raw_decode(text, start)
        except json.JSONDecodeError as error:
            if _OPENING.match(text, start):
                raise _Unreadable("broken JSON object") from error
            end = start + 1
        else:
            yield value
        start = text.find("{", end)
    if start >= 0:
        raise _Unreadable("too many braces")


def _integer(digits: str) -> int:
    if len(digits) > 20:  # Python refuses to convert thousands of digits
        raise _Unreadable("a number with too many digits")
    return int(digits)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise _Unreadable("a duplicate key")
    return dict(pairs)


def _fields(value: dict[str, Any], contract: Contract) -> dict[str, Any]:
    if "violation" not in value:
        raise _Unreadable("no violation key")
    violation = _boolean(value["violation"])
    categories = {_category(value[key], contract) for key in ("policy_category", "category") if key in value}
    if len(categories) > 1:
        raise _Unreadable("two categories")
    category = next(iter(categories), None)
    if category is not None and not violation:
        raise _Unreadable("a category without a violation")
    if contract.output is Output.category:
        if violation and category is None and contract.category_of:
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
        "rationale": None if rationale is None else _printable(rationale),
    }


def _boolean(value: Any) -> bool:
    if isinstance(value, str):
        value = {"0": 0, "1": 1, "true": 1, "false": 0}.get(value.strip().lower(), value)
    if isinstance(value, bool | int) and value in (0, 1):
        return bool(value)
    raise _Unreadable("violation is neither 0 nor 1")


def _category(value: Any, contract: Contract) -> str | None:
    """A category of the policy, or None for "none". A rule id in its place means the rule's category."""
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
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise _Unreadable("rule_ids is not a list of texts")
    ids = [item.strip() for item in items]
    if any(rule_id not in contract.category_of for rule_id in ids):
        raise _Unreadable("unknown rule id")
    return tuple(dict.fromkeys(ids))


def _confidence(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, str) and value.strip().lower() in CONFIDENCES:
        return value.strip().lower()
    raise _Unreadable("unknown confidence")


def _optional(text: str | None) -> str | None:
    return _printable(text) if text else None


def _printable(text: str) -> str:
    """Text that UTF-8, and so Parquet, can hold: lone surrogates become U+FFFD."""
    return _SURROGATE.sub("\ufffd", text)
