"""Names as people and models write them: the same name in another case, or with other spaces and hyphens."""

import re
import unicodedata

_SEPARATORS = re.compile(r"[\s_\-‐‑‒–—−]+")  # models like non-breaking hyphens


def level(name: str) -> str:
    """A name without case, spaces, hyphens and underscores: `Likely Spam`, `likely-spam`, `LIKELY_SPAM` are one."""
    return _SEPARATORS.sub("", unicodedata.normalize("NFKC", name).casefold())


def slug(text: str, longest: int = 60) -> str:
    """A text as a name of lower-case letters, digits and hyphens, cut at a word; empty if it has none of them."""
    plain = (
        unicodedata.normalize("NFKD", _SEPARATORS.sub("-", text).replace("ß", "ss"))
        .encode("ascii", "ignore")
        .decode()
        .lower()
    )
    name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    return name if len(name) <= longest else name[: longest + 1].rpartition("-")[0] or name[:longest]
