"""Conversations as chat APIs, exports and data sets write them, read as (role, text) pairs.

A conversation is a list of turns, or an object with the list under `messages`, `conversations` or `turns`. A turn is a
pair, or an object with `role` (or `from`) and `text`, `content`, `value` or `parts`, of which the first that is not
null or blank is read. That is a text, a number, or a list of parts. A part that is no text is named: `[image]`,
`[tool call: search {"q": "x"}]`.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

Text: TypeAlias = str | bytes
Cells: TypeAlias = tuple[Text | None, Text | None]

LIST_KEYS = ("messages", "conversations", "turns")
ROLE_KEYS = ("role", "from")
TEXT_KEYS = ("text", "content", "value", "parts")
CALL_KEYS = ("tool_calls", "function_call")
PART_KEYS = (*TEXT_KEYS, "refusal", "thinking", "output")  # where a part of a turn may have its text
MEDIA = ("image", "audio", "video", "file", "document")  # words in the type, or in a key, of a part without text
SHAREGPT_ROLES = {"human": "user", "gpt": "assistant"}  # in a turn with `from`
TYPE_CHARACTERS = 40


class UnreadableError(ValueError):
    """A value is no conversation. The message is the cause and quotes no content."""


class _Piece(NamedTuple):
    """Part of a turn's text. A `name` stands for what a model of texts cannot see."""

    text: Text
    is_name: bool = False


def read_turns(value: object) -> list[Cells]:
    """The turns of a conversation. Raises UnreadableError."""
    if isinstance(value, Mapping):
        lists = [value[key] for key in LIST_KEYS if value.get(key) is not None]
        if not lists:
            raise UnreadableError(f"an object without {', '.join(LIST_KEYS)}")
        value = lists[0]
    if not isinstance(value, list | tuple):
        raise UnreadableError(f"neither a text nor a list of turns: {type(value).__name__}")
    turns = []
    for number, turn in enumerate(value, 1):
        try:
            role, pieces = _turn(turn)
        except UnreadableError as problem:
            raise UnreadableError(f"turn {number} {problem}") from None
        if number == len(value) and pieces and all(piece.is_name for piece in pieces):
            raise UnreadableError("the last turn has no text, only images or other files")
        turns.append((role, _joined(pieces)))
    return turns


def _turn(turn: object) -> tuple[Text | None, list[_Piece]]:
    """Role and text of a turn."""
    if isinstance(turn, list | tuple) and len(turn) == 2:
        return _role(turn[0]), _pieces(turn[1])
    if not isinstance(turn, Mapping):
        raise UnreadableError("is not a role and a text")
    role_key = next((key for key in ROLE_KEYS if key in turn), None)
    if role_key is None or not any(key in turn for key in (*TEXT_KEYS, *CALL_KEYS)):
        raise UnreadableError("is not a role and a text")
    role = _role(turn[role_key])
    if role_key == "from" and isinstance(role, str):
        role = SHAREGPT_ROLES.get(role, role)
    pieces = _first_text(turn, TEXT_KEYS)
    calls = turn.get("tool_calls")
    for call in [*(calls if isinstance(calls, list | tuple) else []), turn.get("function_call")]:
        pieces += [_Piece(_tool_call(call))] if call else []
    return role, pieces


def _role(value: object) -> Text | None:
    if value is None or isinstance(value, str | bytes):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise UnreadableError("has a role that is not a text")


def _first_text(value: Mapping[str, Any], keys: tuple[str, ...]) -> list[_Piece]:
    """What the first of these keys holds that is not blank; else what the first of them holds."""
    candidates = [_pieces(value[key]) for key in keys if value.get(key) is not None]
    return next((pieces for pieces in candidates if any(piece.text.strip() for piece in pieces)), [*candidates, []][0])


def _pieces(value: object) -> list[_Piece]:
    """The text of a turn or of a part of one."""
    if value is None:
        return []
    if isinstance(value, str | bytes):
        return [_Piece(value)]
    if isinstance(value, bool | int | float):
        return [_Piece(json.dumps(value))]
    if isinstance(value, list | tuple):
        return [piece for part in value for piece in _pieces(part)]
    if isinstance(value, Mapping):
        return _part(value)
    raise UnreadableError(f"has a text of type {type(value).__name__}")


def _part(part: Mapping[str, Any]) -> list[_Piece]:
    """A part of a turn: a text, a tool's call or result, or the name of what is no text."""
    kind = part.get("type")
    if kind in ("tool_use", "tool_call", "function_call", "function"):
        return [_Piece(_tool_call(part))]
    text = _first_text(part, PART_KEYS)
    if kind in ("tool_result", "function_call_output"):
        return [_Piece(f"[tool result: {_as_text(_joined(text) or '')}]")]
    described = str(kind) if kind is not None else " ".join(str(key) for key in part if part[key] is not None)
    name = next((word for word in MEDIA if word in described.lower()), None)
    if name is None and not text and isinstance(kind, str) and not any(key in part for key in PART_KEYS):
        name = " ".join(kind.split())[:TYPE_CHARACTERS]
    if name is None and not any(key in part for key in PART_KEYS):
        raise UnreadableError("has a part without a text or a type")
    return [*([_Piece(f"[{name}]", is_name=True)] if name else []), *text]


def _tool_call(call: object) -> str:
    """A tool's call as one line."""
    fields = call if isinstance(call, Mapping) else {}
    function = fields.get("function")
    fields = function if isinstance(function, Mapping) else fields
    name = fields.get("name")
    values = next((fields[key] for key in ("arguments", "input", "args") if fields.get(key) is not None), None)
    arguments = values if isinstance(values, str) else "" if values is None else json.dumps(values, ensure_ascii=False)
    return f"[tool call: {' '.join(text for text in (str(name or 'unknown'), arguments) if text)}]"


def _joined(pieces: list[_Piece]) -> Text | None:
    """The pieces as lines; None if there are none. A single one stays what it is, for example bytes."""
    if len(pieces) < 2:
        return pieces[0].text if pieces else None
    return "\n".join(_as_text(piece.text) for piece in pieces)


def _as_text(text: Text) -> str:
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnreadableError(f"is not UTF-8: {error.reason}") from None
