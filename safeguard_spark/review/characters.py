"""Characters: a content as text in which nothing is invisible and nothing turns the direction of other text. Pure."""

import unicodedata
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

# Invisible or blank, though their categories do not say so.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\u2800")
_HIDDEN_CATEGORIES = ("Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp", "Zs")
_ALLOWED = frozenset(" \n\t")
PART = 50_000  # characters shown at once; the rest is one click away


class Piece(NamedTuple):
    """A run of text to show as it is, or, with a `name`, of one character that would not be seen."""

    text: str
    name: str = ""


def is_hidden(character: str) -> bool:
    """Whether a character would not be seen, or would change how others are shown."""
    if character in _ALLOWED:
        return False
    is_selector = "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
    is_mongolian = "\u180b" <= character <= "\u180f"
    category = unicodedata.category(character)
    return is_selector or is_mongolian or character in _BLANK or category in _HIDDEN_CATEGORIES


def pieces(text: str) -> Iterator[Piece]:
    """The text in order; a hidden character is replaced by its code, and how often it is repeated.

    Tag characters, which spell out hidden ASCII, are replaced by what they spell.
    """
    for hidden, run in groupby(text.replace("\r\n", "\n"), is_hidden):
        characters = "".join(run)
        if not hidden:
            yield Piece(characters)
            continue
        for kind, same in groupby(characters, lambda c: "tag" if "\U000e0020" <= c <= "\U000e007e" else c):
            repeated = list(same)
            if kind == "tag":
                spelled = "".join(chr(ord(c) - 0xE0000) for c in repeated)
                yield Piece(f"hidden: {spelled}", "tag characters")
            else:
                times = f" ×{len(repeated)}" if len(repeated) > 1 else ""
                yield Piece(f"U+{ord(kind):04X}{times}", unicodedata.name(kind, "a control or unassigned character"))


def parts(text: str) -> list[list[Piece]]:
    """The pieces of a long text, part by part."""
    starts = range(0, max(1, len(text)), PART)
    return [list(pieces(text[start : start + PART])) for start in starts]
