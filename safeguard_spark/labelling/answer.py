"""Answer: the fields of a verdict, read from final messages. What is not exactly one answer is unreadable."""

import json
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

from safeguard_spark.labelling.channels import is_json, printable, unfenced
from safeguard_spark.labelling.contract import CONFIDENCES, Contract
from safeguard_spark.policy.document import REVIEW, Output
from safeguard_spark.policy.names import level

MAX_BRACES = 64  # opening braces that are tried in one message
KEYS = ("violation", "policycategory", "category", "ruleids", "confidence", "rationale")  # levelled

_OPENING = re.compile(r"""\{\s*(?:\\?["'“”‘’]|\w+\s*:)""")  # of a JSON object, whole or broken, but not of `{this}`
_BLANK = re.compile(r"(?:\s|```(?:\w+\b)?|</?answer>)*")  # what may be around an object on its lines
_MARKUP = re.compile(r"[\s\ufeff*_`\"'“”‘’«»]+")
_INTRODUCTION = re.compile(
    r"\A(?:(?:the|my|final) )*(?:answer|verdict|output|result|label|classification|violation) ?(?:is ?:?|[:=]) ?",
    re.IGNORECASE,
)


class UnreadableError(ValueError):
    """An answer that breaks the contract; the message says how, without quoting it."""


def fields(finals: Iterable[str], contract: Contract, is_exact: bool) -> dict[str, Any]:
    """Verdict fields of the final messages of a completion. Raises UnreadableError unless they hold exactly one answer.

    `is_exact`: nothing may be around an answer, code fences aside.
    """
    readings: list[dict[str, Any]] = []
    for final in finals:
        for reading in _readings(final, contract, is_exact):
            if reading not in readings:
                readings.append(reading)
    if len(readings) > 1:
        raise UnreadableError("several answers that differ")
    if not readings:
        raise UnreadableError("neither 0 nor 1" if contract.output is Output.binary else "no JSON object")
    return readings[0]


def _readings(final: str, contract: Contract, is_exact: bool) -> list[dict[str, Any]]:
    """Every answer in a final message."""
    is_binary = contract.output is Output.binary
    plain = _plain(final, contract) if is_binary else None
    if plain is not None:
        return [plain]
    if is_exact and not is_json(final):
        raise UnreadableError("text around an answer outside its channel")
    read_object = _binary_fields if is_binary else _fields
    readings = [read_object(_levelled(value), contract) for value in _objects(final)]
    if is_binary and not readings and final.strip():
        raise UnreadableError("neither 0 nor 1")
    return readings


def _plain(final: str, contract: Contract) -> dict[str, Any] | None:
    """What a message means that is only a digit, or a word of the policy; None for prose, also with a digit in it."""
    text = unfenced(final)
    bare = _INTRODUCTION.sub("", _MARKUP.sub(" ", text).strip()).strip().removesuffix(".").removesuffix("。")
    for word in (text, bare):  # a policy's word may contain quotes
        if contract.is_review(word):
            return {"violation": None, "category": REVIEW}
        if (violation := contract.violation_named(word)) is not None:
            return {"violation": violation}
    return None


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Every outermost JSON object in a text. Raises UnreadableError at a broken one, and at one inside other text.

    Such an object is no answer: it may come from the content, quoted in a rationale. One stands on lines of its own,
    with text before it or after it, not both.
    """
    text = unfenced(text)
    # Not strict: a rationale may contain line breaks.
    decoder = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=Decimal, strict=False)
    start, first, last = text.find("{"), None, 0
    for _ in range(MAX_BRACES):
        if start < 0:
            break
        try:
            value, end = decoder.raw_decode(text, start)
        except json.JSONDecodeError as error:
            if _OPENING.match(text, start):
                raise UnreadableError("broken JSON object") from error
            end = start + 1
        else:
            line_before, line_after = text[:start].rpartition("\n")[2], text[end:].partition("\n")[0]
            line_before = _INTRODUCTION.sub("", f"{_MARKUP.sub(' ', line_before).strip()} ").strip()
            if not _BLANK.fullmatch(line_before) or not _BLANK.fullmatch(line_after):
                raise UnreadableError("a JSON object inside other text")
            first, last = start if first is None else first, end
            yield value
        start = text.find("{", end)
    if start >= 0:
        raise UnreadableError("too many braces")
    if first is not None and not _BLANK.fullmatch(text[:first]) and not _BLANK.fullmatch(text[last:]):
        raise UnreadableError("text on both sides of the JSON object")


def _integer(digits: str) -> int:
    if len(digits) > 20:  # Python refuses to convert thousands of digits
        raise UnreadableError("a number with too many digits")
    return int(digits)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise UnreadableError("a duplicate key")
    return dict(pairs)


def _levelled(value: dict[str, Any]) -> dict[str, Any]:
    """The keys of an answer levelled, as `KEYS` are."""
    keys = [level(key) for key in value]
    if any(keys.count(key) > 1 for key in KEYS):
        raise UnreadableError("a duplicate key")
    return dict(zip(keys, value.values(), strict=True))


def _asks_for_review(value: dict[str, Any], contract: Contract) -> bool:
    """Whether any field says that a person must decide. Whatever the others say, such a content is not safe."""
    rules = value.get("ruleids")
    names = [value.get(key) for key in ("violation", "policycategory", "category")]
    return any(contract.is_review(name) for name in (*names, *(rules if isinstance(rules, list) else [rules])))


def _binary_fields(value: dict[str, Any], contract: Contract) -> dict[str, Any]:
    if _asks_for_review(value, contract):
        return {"violation": None, "category": REVIEW}
    violation = _violation(value, contract)
    try:
        category = _category(value, contract)
    except UnreadableError:
        category = None  # a binary policy asks for none, so a model may write what it likes
    if category is not None and not violation:
        raise UnreadableError("a category without a violation")
    return {"violation": violation}


def _fields(value: dict[str, Any], contract: Contract) -> dict[str, Any]:
    if _asks_for_review(value, contract):
        decided = {"violation": None, "category": REVIEW}
        return decided | (_reasons(value, contract) if contract.output is Output.full else {})
    violation, category = _violation(value, contract), _category(value, contract)
    if category is not None and not violation:
        raise UnreadableError("a category without a violation")
    if contract.output is Output.category:
        if violation and category is None and contract.category_of:
            raise UnreadableError("a violation without a category")
        return {"violation": violation, "category": category}
    reasons = _reasons(value, contract)
    rule_ids = reasons["rule_ids"]
    if rule_ids and not violation:
        raise UnreadableError("a rule without a violation")
    if category is not None and rule_ids and category not in {contract.category_of[rule] for rule in rule_ids}:
        raise UnreadableError("a category that none of the rules has")
    if violation and category is None and rule_ids:
        category = contract.category_of[rule_ids[0]]
    if violation and category is None and contract.category_of:
        raise UnreadableError("a violation without category and rules")
    return {"violation": violation, "category": category, **reasons}


def _reasons(value: dict[str, Any], contract: Contract) -> dict[str, Any]:
    """What a full answer says besides its decision."""
    rationale, confidence = value.get("rationale"), value.get("confidence")
    return {
        "rule_ids": _rule_ids(value.get("ruleids"), contract),
        "confidence": level(confidence) if isinstance(confidence, str) and level(confidence) in CONFIDENCES else None,
        "rationale": printable(rationale) if isinstance(rationale, str) else None,
    }


def _violation(value: dict[str, Any], contract: Contract) -> bool:
    if "violation" not in value:
        raise UnreadableError("no violation key")
    violation = value["violation"]
    if isinstance(violation, str):
        yes_or_no = {"yes": True, "no": False}.get(level(violation))
        violation = contract.violation_named(violation)
        if yes_or_no is not None and violation is not yes_or_no:
            raise UnreadableError("a yes or no that means the opposite under this key")
    if isinstance(violation, bool | int | Decimal) and violation in (0, 1):
        return bool(violation)
    raise UnreadableError("violation is neither 0 nor 1")


def _category(value: dict[str, Any], contract: Contract) -> str | None:
    categories = {_category_of(value[key], contract) for key in ("policycategory", "category") if key in value}
    if len(categories) > 1:
        raise UnreadableError("two categories")
    return next(iter(categories), None)


def _category_of(name: Any, contract: Contract) -> str | None:
    if not isinstance(name, str | None):
        raise UnreadableError("unknown category")
    try:
        return None if name is None else contract.category_named(name)
    except ValueError as error:
        raise UnreadableError(str(error)) from error


def _rule_ids(value: Any, contract: Contract) -> tuple[str, ...]:
    if value is None:
        return ()
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str) or type(item) is int for item in items):
        raise UnreadableError("rule_ids is not a list of texts")
    try:
        rules = [contract.rule_named(str(item)) for item in items if not contract.is_review(item)]
    except ValueError as error:
        raise UnreadableError(str(error)) from error
    return tuple(dict.fromkeys(rule for rule in rules if rule is not None))
