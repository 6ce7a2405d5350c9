"""Value problems: what pydantic finds wrong with a value of a user's file, in the user's words."""

import datetime
import re
from collections.abc import Mapping
from typing import Any

SHOWN = 40  # characters of a text that a message quotes
ENTRIES = {"rules": "rule", "cases": "case", "conversation": "turn"}  # the name of one entry of such a list


def problem_words(problem: Mapping[str, Any], place: str = "") -> str:
    """One problem of `ValidationError.errors()` as a sentence without its full stop. `place`: instead of its path."""
    place = place or place_words(problem["loc"])
    if place and problem["type"] == "value_error":
        place += ":"
    return f"{place} {requirement_words(problem)}".strip()


def place_words(path: tuple[str | int, ...]) -> str:
    """The path of a value: `labeler.effort`, or `severity` of rule 2. Entries are counted from 1. Empty at the top."""
    *outer, last = path or ("",)
    if last == "[key]":  # pydantic's name for the key itself, behind its value
        return f"a key of {place_words(tuple(outer[:-1]))}"
    if isinstance(last, str):
        index = next((i for i in range(len(outer), 0, -1) if isinstance(outer[i - 1], int)), 0)
        name = ".".join(str(part) for part in (*outer[index:], last) if part != "")
        words = f"`{name}`" if name else ""
        return f"{words} of {place_words(tuple(outer[:index]))}" if index and words else words
    owner = str(outer[-1]) if outer else ""
    if owner in ENTRIES:
        before = place_words(tuple(outer[:-1]))
        return f"{ENTRIES[owner]} {last + 1}" + (f" of {before}" if before else "")
    return f"entry {last + 1} of {place_words(tuple(outer))}"


def requirement_words(problem: Mapping[str, Any]) -> str:
    """What a value must be, and what it is instead."""
    kind, context, value = problem["type"], problem.get("ctx", {}), problem.get("input")
    match kind:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "is not a key of this format"
        case "value_error":
            return str(problem["msg"]).removeprefix("Value error, ")
        case "too_short" | "string_too_short":
            return (
                "must not be empty" if context.get("min_length", 1) == 1 else f"needs {context['min_length']} or more"
            )
        case "string_too_long" | "too_long":
            return f"must have at most {context['max_length']:,} characters, not {len(value or ''):,}"
        case "enum" | "literal_error" | "union_tag_invalid":
            return f"must be one of {_choices(context)}, not {value_words(_tag(problem))}"
        case "string_pattern_mismatch" if context.get("pattern") == r"\S":
            return "must not be empty"
        case "string_pattern_mismatch":
            return f"has a form that is not allowed: {value_words(value)}"
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            bound, words = next(
                (context[key], words)
                for key, words in (("gt", "above"), ("ge", "at least"), ("lt", "below"), ("le", "at most"))
                if key in context
            )
            return f"must be {words} {bound:g}, not {value_words(value)}"
    if (noun := NOUNS.get(kind)) is not None:
        if kind in SCALARS and isinstance(value, str) and _SCALAR.fullmatch(value.strip()):
            return f"must be {noun}, not the text {value_words(value)}: leave out the quotes"
        return f"must be {noun}, not {value_words(value)}"
    message = str(problem["msg"]).removeprefix("Input ")
    return f"{message[:1].lower()}{message[1:]}"


def value_words(value: Any) -> str:
    """A value as the author of the file sees it: with what YAML took it for, where that may surprise."""
    match value:
        case None:
            return "empty"
        case bool():
            return "true (as YAML also reads yes and on)" if value else "false (as YAML also reads no and off)"
        case int() | float():
            return f"the number {value}"
        case datetime.date():
            return f"the date {value}"
        case str():
            text = " ".join(value.split())
            return f"`{text[:SHOWN]}…`" if len(text) > SHOWN else f"`{text}`"
        case list() | tuple():
            return "a list"
        case dict():
            return "lines of `key: value`"
    return f"a {type(value).__name__}"


NOUNS = {
    "string_type": "a text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "violation": "true, false or review",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "list_type": "a list, such as [a, b]",
    "tuple_type": "a list, such as [a, b]",
    "set_type": "a list, such as [a, b]",
    "dict_type": "lines of `key: value`",
    "model_type": "lines of `key: value`",
    "model_attributes_type": "lines of `key: value`",
    "path_type": "a path",
}


SCALARS = ("bool_type", "int_type", "float_type", "violation")
_SCALAR = re.compile(r"true|false|[-+]?\d+(\.\d*)?", re.IGNORECASE)


def is_misread_text(problem: Mapping[str, Any]) -> bool:
    """Whether a text was expected, and YAML read what is there as a number, a truth value or a date."""
    return problem["type"] in ("string_type", "enum", "literal_error") and isinstance(
        problem.get("input"), int | float | datetime.date
    )


def _choices(context: Mapping[str, Any]) -> str:
    expected = str(context.get("expected") or context.get("expected_tags", ""))
    return expected.replace("'", "").replace(" or ", ", ")


def _tag(problem: Mapping[str, Any]) -> Any:
    return problem["ctx"].get("tag") if problem["type"] == "union_tag_invalid" else problem.get("input")
