"""Content: one item to judge, its canonical form and its hash.

The hash is taken over netstrings (D. J. Bernstein, 1997: `<length in bytes>:<bytes>,`) rather than JSON, because
the same bytes must come out of the JVM (`spark.source.text_hash`, over raw and possibly invalid UTF-8) and of
Python, and a netstring needs no escaping rules.
"""

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

TURN = 8  # characters that show a turn in a prompt, at least


class Turn(NamedTuple):
    """One turn of a conversation. Either field may be None in a real table."""

    role: str | None
    text: str | None


@dataclass(frozen=True, slots=True)
class Content:
    """A text, or a conversation whose last turn is judged in the light of the others.

    `text` and `turns` are both None for a null column; `invalid` says why the bytes could not be read
    (a cause, never the content).
    """

    text: str | None = None
    turns: tuple[Turn, ...] | None = None
    invalid: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to judge: null, blank, no turns, or a blank last turn."""
        if self.turns is not None:
            return not self.turns or not (self.turns[-1].text or "").strip()
        return not (self.text or "").strip()

    @property
    def size(self) -> int:
        """Length in characters, a bound to check before anything costly. A turn without text has a length too."""
        if self.turns is not None:
            return sum(TURN + len(t.text or "") + len(t.role or "") for t in self.turns)
        return len(self.text or "")


def from_text(raw: bytes | str | None) -> Content:
    """Content of a text column's cell. Never raises: bytes that are not UTF-8 give `invalid`."""
    text, invalid = _decode(raw)
    return Content(text=text, invalid=invalid)


def from_turns(turns: list[tuple[bytes | str | None, bytes | str | None]] | None) -> Content:
    """Content of a conversation column's cell, from (role, text) pairs. Never raises."""
    if turns is None:
        return Content()
    read, invalid = [], None
    for raw_role, raw_text in turns:
        role, role_problem = _decode(raw_role)
        text, text_problem = _decode(raw_text)
        invalid = invalid or role_problem or text_problem
        read.append(Turn(role, text))
    return Content(turns=tuple(read), invalid=invalid)


def _decode(raw: bytes | str | None) -> tuple[str | None, str | None]:
    if raw is None:
        return None, None
    try:
        if isinstance(raw, bytes):
            return raw.decode("utf-8"), None
        raw.encode("utf-8")
    except (UnicodeDecodeError, UnicodeEncodeError) as problem:
        return None, f"not UTF-8: {problem.reason}"
    return raw, None


def text_hash(raw: bytes | str | None) -> str:
    """The content hash of a text cell (lower-case hex SHA-256 over `text`, then the bytes)."""
    return hashlib.sha256(_netstring(b"text") + _netstring(_bytes(raw))).hexdigest()


def turns_hash(turns: list[tuple[bytes | str | None, bytes | str | None]] | None) -> str:
    """The content hash of a conversation cell: `conversation`, then role and text of every turn in order."""
    parts = [_netstring(b"conversation")]
    if turns is None:
        parts.append(_netstring(None))
    else:
        parts.extend(_netstring(_bytes(cell)) for turn in turns for cell in turn)
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _bytes(raw: bytes | str | None) -> bytes | None:
    return raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else raw


def _netstring(raw: bytes | None) -> bytes:
    """A netstring, or `-,` for null, which no length can be."""
    return b"-," if raw is None else b"%d:%b," % (len(raw), raw)
