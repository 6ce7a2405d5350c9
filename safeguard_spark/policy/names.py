"""Names as people and models write them: the same name in another case, or with other spaces and hyphens."""

import re
import unicodedata

_SEPARATORS = re.compile(r"[\s_\-‐‑‒–—−]+")  # models like non-breaking hyphens


def level(name: str) -> str:
    """A name without case, spaces, hyphens and underscores: `Likely Spam`, `likely-spam`, `LIKELY_SPAM` are one."""
    return _SEPARATORS.sub("", unicodedata.normalize("NFKC", name).casefold())
