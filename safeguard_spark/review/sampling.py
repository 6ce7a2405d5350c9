"""Sampling: how many contents people must judge for an interval, and with which probability each is drawn. Pure.

The estimating sample is stratified by the model's verdict: violations are rare, so a random sample would spend nearly
every decision on contents that everybody agrees about.
"""

from collections.abc import Mapping
from enum import StrEnum

from safeguard_spark.evaluation.intervals import LEVEL, Stratum, stratified_rate

FLAGGED_SHARE = 0.25  # of the sample: where few are flagged, 0.3 points take fewer decisions than in proportion
# What the size of a sample assumes before anybody has judged one: of the flagged contents this share are violations,
# and of the others one in 2,000 is.
PRECISION, MISS_RATE = 0.8, 0.0005
MAX_SIZE = 10_000_000


class ReviewStratum(StrEnum):
    """What the model said of a content: a violation; or anything else, unreadable answers included."""

    flagged = "flagged"
    unflagged = "unflagged"


def allocate(
    size: int, contents: Mapping[ReviewStratum, int], share: float = FLAGGED_SHARE
) -> dict[ReviewStratum, int]:
    """How many of `size` contents come from each stratum. What a stratum is too small for goes to the other."""
    flagged, unflagged = contents[ReviewStratum.flagged], contents[ReviewStratum.unflagged]
    from_flagged = min(flagged, max(round(size * share), size - unflagged))
    return {ReviewStratum.flagged: from_flagged, ReviewStratum.unflagged: min(unflagged, size - from_flagged)}


def probabilities(
    size: int, contents: Mapping[ReviewStratum, int], share: float = FLAGGED_SHARE
) -> dict[ReviewStratum, float]:
    """With which probability a content of each stratum is drawn, so that about `size` are; 0 for an empty stratum."""
    counts = allocate(size, contents, share)
    return {stratum: count / contents[stratum] if count else 0.0 for stratum, count in counts.items()}


def sample_size(
    half_width: float,
    contents: Mapping[ReviewStratum, int],
    share: float = FLAGGED_SHARE,
    precision: float = PRECISION,
    miss_rate: float = MISS_RATE,
    level: float = LEVEL,
) -> int | None:
    """The fewest decisions after which the violation rate is expected within `half_width` on either side.

    0.003 is 0.3 points. None if judging every content would not be enough for this method.
    """
    total = sum(contents.values())

    def is_enough(size: int) -> bool:
        counts = allocate(size, contents, share)
        rates = {ReviewStratum.flagged: precision, ReviewStratum.unflagged: miss_rate}
        # Hits are expected numbers, not whole ones: else the size would jump with the rounding.
        strata = [Stratum(rates[key] * counts[key], counts[key], contents[key]) for key in ReviewStratum]  # type: ignore[arg-type]
        rate = stratified_rate(strata, level)
        return rate is not None and max(rate.high - rate.value, rate.value - rate.low) <= half_width

    if not total or not is_enough(min(total, MAX_SIZE)):
        return None
    low, high = 0, min(total, MAX_SIZE)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high
