"""Characters that look like others, or like nothing: in names, they make two names that a reader cannot tell apart."""

import unicodedata
from collections.abc import Iterable

# Letters of other alphabets that look like these: the ones on the keyboards and phones of authors who write two
# languages. (Unicode's own table of confusables has thousands, most of them in no one's names.)
LOOK_ALIKES = {
    "CYRILLIC": ("АВЕКМНОРСТУХаеорсухіјѕԁһӏ", "ABEKMHOPCTYXaeopcyxijsdhl"),
    "GREEK": ("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧοινρ", "ABEZHIKMNOPTYXoivp"),
}
LATIN = {other: latin for pair in LOOK_ALIKES.values() for other, latin in zip(*pair, strict=True)}


def skeleton(name: str) -> str:
    """A name as it looks: without invisible characters, look-alikes as the Latin letters that they look like."""
    return "".join(LATIN.get(c, c) for c in unicodedata.normalize("NFKC", name) if not is_invisible(c)).strip()


def is_invisible(character: str) -> bool:
    """Whether a character shows as nothing, or as a space that is none."""
    category = unicodedata.category(character)
    return category in ("Cf", "Cc", "Zl", "Zp") or (category == "Zs" and character != " ")


def strange_characters(name: str) -> tuple[str, ...]:
    """What is invisible in a name, and its letters that look like letters of the alphabet of the other ones."""
    letters = [c for c in name if c.isalpha()]
    has_latin = any("A" <= c.upper() <= "Z" for c in letters)
    is_code = any(c.isdigit() for c in name) and all(c in LATIN for c in letters)  # an id such as M1, in Cyrillic
    strange = [c for c in name if is_invisible(c) or ((has_latin or is_code) and c in LATIN)]
    return tuple(dict.fromkeys(character_words(c) for c in strange))


def character_words(character: str) -> str:
    """A character by its number and Unicode's name."""
    name = unicodedata.name(character, "a control character").lower()
    return f"U+{ord(character):04X} ({name})"


def look_alike_hint(name: str, existing: Iterable[str]) -> str:
    """What to do about a name that looks the same as another one: which characters differ. Empty if none does."""
    twin = next((other for other in existing if other != name and skeleton(other) == skeleton(name)), None)
    if twin is None:
        return ""
    others = ", ".join(character_words(c) for c in dict.fromkeys(name) if c not in twin)
    return f"it looks like {twin}, but has {others}: type it again"
