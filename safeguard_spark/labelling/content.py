"""Content: one item to judge, its canonical form and its hash.

The hash is taken over netstrings (D. J. Bernstein, 1997: `<length in bytes>:<bytes>,`) rather than JSON, because
the same bytes must come out of the JVM (`spark.source.hashes.text_hash`, over raw and possibly invalid UTF-8) and of
Python, and a netstring needs no escaping rules.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from safeguard_spark.labelling.conversation import Text, UnreadableError, read_turns

# Anything but white space, control characters, and characters that take no room or have no ink: marks of direction,
# joiners, fillers.
_VISIBLE = re.compile(
    "[^\\s\\x00-\\x1f\\x7f-\\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0]"
)
TURN_CHARACTERS = 8  # what a turn adds to a prompt, at least, before its role and text


class Turn(NamedTuple):
    """One turn of a conversation. Either field may be None in a real table."""

    role: str | None
    text: str | None


@dataclass(frozen=True, slots=True)
class Content:
    """A text, or a conversation whose last turn is judged with the others as context.

    `text` and `turns` are both None for a null cell; `invalid` says why the bytes could not be read (a cause, never
    the content).
    """

    text: str | None = None
    turns: tuple[Turn, ...] | None = None
    invalid: str | None = None

    @property
    def judged_text(self) -> str | None:
        """The text that is judged: that of the last turn, where there are turns."""
        if self.turns is not None:
            return self.turns[-1].text if self.turns else None
        return self.text

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to judge: null, no turns, or nothing visible in the text or the last turn."""
        return _VISIBLE.search(self.judged_text or "") is None

    @property
    def size(self) -> int:
        """Length in characters, checked before anything costly. A turn without text has a length too."""
        if self.turns is not None:
            return sum(TURN_CHARACTERS + len(t.text or "") + len(t.role or "") for t in self.turns)
        return len(self.text or "")


def from_text(raw: Text | None) -> Content:
    """The content of a text column's cell. Never raises: bytes that are not UTF-8 give `invalid`."""
    text, invalid = _decode(raw)
    return Content(text=text, invalid=invalid)


def from_turns(turns: list[tuple[Text | None, Text | None]] | None) -> Content:
    """The content of a conversation column's cell, from (role, text) pairs. Never raises."""
    if turns is None:
        return Content()
    decoded, invalid = [], None
    for raw_role, raw_text in turns:
        role, role_error = _decode(raw_role)
        text, text_error = _decode(raw_text)
        invalid = invalid or role_error or text_error
        decoded.append(Turn(role, text))
    return Content(turns=tuple(decoded), invalid=invalid)


def from_conversation(value: object) -> Content:
    """The content of a conversation in any form that `conversation` reads. Never raises."""
    try:
        return from_turns(read_turns(value))
    except UnreadableError as problem:
        return Content(invalid=str(problem))


def from_json(raw: Text | None) -> Content:
    """The content of a cell that holds a conversation as JSON. Never raises. A blank cell is empty."""
    text, invalid = _decode(raw)
    if text is None or not text.strip():
        return Content(text=text, invalid=invalid)
    try:
        value = json.loads(text.removeprefix("\ufeff"), object_pairs_hook=_object, parse_constant=_refuse)
        return Content() if value is None else from_conversation(value)
    except _DuplicateKeyError:
        return Content(invalid="JSON with a key twice")
    except (ValueError, RecursionError):  # RecursionError: thousands of nested brackets
        return Content(invalid="not JSON")


class _DuplicateKeyError(ValueError):
    pass


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise _DuplicateKeyError  # it does not say which of two texts is meant
    return dict(pairs)


def _refuse(constant: str) -> None:
    raise ValueError(constant)  # NaN and the infinities, which JSON does not have


def _decode(raw: Text | None) -> tuple[str | None, str | None]:
    if raw is None:
        return None, None
    try:
        if isinstance(raw, bytes):
            return raw.decode("utf-8"), None
        raw.encode("utf-8")
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        return None, f"not UTF-8: {error.reason}"
    return raw, None


def text_hash(raw: Text | None) -> str:
    """The content hash of a text cell (lower-case hex SHA-256 over `text`, then the bytes)."""
    return hashlib.sha256(_netstring(b"text") + _netstring(_bytes(raw))).hexdigest()


def json_hash(raw: Text | None) -> str:
    """The content hash of a cell that holds a conversation as JSON: `json`, then the bytes as they are."""
    return hashlib.sha256(_netstring(b"json") + _netstring(_bytes(raw))).hexdigest()


def turns_hash(turns: list[tuple[Text | None, Text | None]] | None) -> str:
    """The content hash of a conversation cell: `conversation`, then role and text of every turn in order."""
    parts = [_netstring(b"conversation")]
    if turns is None:
        parts.append(_netstring(None))
    else:
        parts.extend(_netstring(_bytes(cell)) for turn in turns for cell in turn)
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _bytes(raw: Text | None) -> bytes | None:
    return raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else raw


def _netstring(raw: bytes | None) -> bytes:
    """A netstring, or `-,` for null; no length begins with `-`."""
    return b"-," if raw is None else b"%d:%b," % (len(raw), raw)
