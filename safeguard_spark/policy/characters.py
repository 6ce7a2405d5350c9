"""Characters that look like others, or like nothing: in names, they make two names that a reader cannot tell apart."""

import re
import unicodedata
from collections.abc import Iterable

# Letters of other alphabets that look like these: the ones on the keyboards and phones of authors who write two
# languages. (Unicode's own table of confusables has thousands, most of them in no one's names.)
LOOK_ALIKES = {
    "CYRILLIC": ("АВЕКМНОРСТУХаеорсухіјѕԁһӏ", "ABEKMHOPCTYXaeopcyxijsdhl"),
    "GREEK": ("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧοινρ", "ABEZHIKMNOPTYXoivp"),
}
ALPHABETS = ("CYRILLIC", "GREEK", "CHEROKEE", "ARMENIAN", "COPTIC", "LISU")  # with letters like Latin ones
BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0" + "".join(
    map(chr, range(0xFE00, 0xFE10))
)  # no format characters
WIDE = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL")  # next to which wide forms of Latin letters are usual
DASHES = "‐‑‒–—―−"
QUOTES = "“”„‟‘’‚«»"
LATIN = {other: latin for pair in LOOK_ALIKES.values() for other, latin in zip(*pair, strict=True)}


def skeleton(name: str) -> str:
    """A name as it looks: without invisible characters, look-alikes as the Latin letters that they look like."""
    plain = "".join("-" if c in DASHES else LATIN.get(c, c) for c in name if not is_invisible(c))
    return unicodedata.normalize("NFKC", plain).strip()


def is_invisible(character: str) -> bool:
    """Whether a character shows as nothing, or as a space that is none."""
    category = unicodedata.category(character)
    return character in BLANK or category in ("Cf", "Cc", "Zl", "Zp") or (category == "Zs" and character != " ")


def strange_characters(name: str) -> tuple[str, ...]:
    """What is invisible in a name, and what looks like other characters: of another alphabet, or in another form."""
    letters = [c for c in name if c.isalpha()]
    has_latin = any("A" <= c.upper() <= "Z" for c in letters)
    is_code = any(c.isdigit() for c in name) and all(c in LATIN for c in letters)  # an id such as M1, in Cyrillic
    strange = [c for c in name if is_invisible(c) or (is_code and c in LATIN)]
    if has_latin:
        if not any(unicodedata.name(c, "").startswith(WIDE) for c in letters):
            strange += [c for c in name if _is_other_form(c)]
        strange += [c for word in re.findall(r"[^\W\d_]+", name) for c in _of_another_alphabet(word)]
        strange += [c for c in name if unicodedata.normalize("NFC", name) != name and unicodedata.combining(c)]
    strange += [c for c in (name[:1], name[-1:]) if c in QUOTES and c]
    return tuple(dict.fromkeys(character_words(c) for c in name if c in strange))


def _is_other_form(character: str) -> bool:
    """Whether a character looks like an ASCII one: a dash, a wide or bold letter, a digit of other numerals."""
    if character.isascii():
        return False
    plain = unicodedata.normalize("NFKC", character)
    is_form = plain != character and plain.replace("\u2044", "").isascii()
    return is_form or character in DASHES or character.isdigit()


def _of_another_alphabet(word: str) -> list[str]:
    """The letters of a word that look like Latin ones, or that are not Latin although others of the word are."""
    others = [c for c in word if unicodedata.name(c, "").startswith(ALPHABETS)]
    is_mixed = any("A" <= c.upper() <= "Z" for c in word)
    return others if is_mixed or all(c in LATIN for c in word) else []


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
