"""Suggest: which existing name a mistyped one most likely means."""

import difflib
from collections.abc import Iterable

# Of difflib's ratio, from 0 (nothing in common) to 1 (equal). `url` and `uri` have 0.67, `max_tokens` and
# `max_attempts`, which are not the same name mistyped, 0.6.
CUTOFF = 0.65


def closest_match(name: str, existing: Iterable[str]) -> str | None:
    """The existing name most similar to `name`, or None if none is similar enough. Ignores case and punctuation."""
    by_letters: dict[str, str] = {}
    for candidate in existing:
        by_letters.setdefault(_letters(candidate), candidate)
    matches = difflib.get_close_matches(_letters(name), list(by_letters), n=1, cutoff=CUTOFF)
    return by_letters[matches[0]] if matches else None


def did_you_mean(name: str, existing: Iterable[str], what: str) -> str:
    """A sentence for a name that is not there: the most similar one, or those that there are, as `what`."""
    names = sorted(existing)
    if match := closest_match(name, names):
        return f"Did you mean {match}?"
    return f"{what}: {', '.join(names) or 'none'}."


def _letters(name: str) -> str:
    """`Text-Column` as `textcolumn`: the letters and digits alone."""
    return "".join(character for character in name.casefold() if character.isalnum())
