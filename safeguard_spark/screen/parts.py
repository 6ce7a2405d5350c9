"""Parts: which contents train a screen, which set its threshold, and which say what it is worth.

A content belongs to one part by its hash, so equal contents are in one part, and every run and every machine divides
alike.
"""

from enum import StrEnum
from hashlib import sha256
from itertools import accumulate


class Part(StrEnum):
    """What a content with a known verdict is for."""

    train = "train"
    calibration = "calibration"
    test = "test"


# Calibration is as large as training: the violations in it decide how much a screen may clear.
SHARES_OF = {Part.train: 0.4, Part.calibration: 0.4, Part.test: 0.2}
_ENDS = dict(zip(Part, accumulate(SHARES_OF.values()), strict=True))


def part(content_hash: str, seed: int = 0) -> Part:
    """The part of a content. `content_hash`: lower-case hex."""
    position = int(sha256(f"{seed}:{content_hash}".encode()).hexdigest()[:13], 16) / 16**13
    return next((name for name, end in _ENDS.items() if position < end), Part.test)
