"""Statistics of a comparison: rates of weighted counts with Wilson intervals, differences, McNemar's exact test."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

LEVEL = 0.95  # confidence level of every interval in a report


@dataclass(frozen=True)
class Rate:
    """A share with its interval. `n` is the number of contents; `effective` Kish's effective sample size."""

    value: float
    low: float
    high: float
    hits: int
    n: int
    effective: float


class Weighted(NamedTuple):
    """A number of contents with the same weight. `hit`: whether they count towards the share."""

    contents: int
    weight: float
    hit: bool


def rate(parts: Iterable[Weighted], level: float = LEVEL) -> Rate | None:
    """The weighted share of hits with Wilson's interval, or None without contents.

    The interval uses Kish's effective sample size, (sum w)^2 / sum w^2 (Kish, Survey Sampling, 1965). It ignores what
    stratification gains, so the interval is rather too wide than too narrow.
    """
    parts = [part for part in parts if part.contents and part.weight > 0]
    total = sum(part.contents * part.weight for part in parts)
    if not total:
        return None
    hits = sum(part.contents * part.weight for part in parts if part.hit)
    effective = total * total / sum(part.contents * part.weight**2 for part in parts)
    value = min(1.0, hits / total)
    low, high = wilson(value, effective, level)
    count = sum(part.contents for part in parts)
    return Rate(value, low, high, sum(part.contents for part in parts if part.hit), count, effective)


def wilson(value: float, n: float, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval of a share of `n` (E. B. Wilson, 1927)."""
    if n <= 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + level / 2)
    center = (value + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(value * (1 - value) / n + z * z / (4 * n * n))
    # At 0 and 1 rounding may leave the share itself outside.
    return max(0.0, min(value, center - half)), min(1.0, max(value, center + half))


@dataclass(frozen=True)
class Difference:
    """One share minus another, with its interval."""

    value: float
    low: float
    high: float


def difference(one: Rate, other: Rate, level: float = LEVEL) -> Difference:
    """Newcombe's interval of the difference of two independent shares (R. G. Newcombe, 1998, method 10)."""
    low1, high1 = wilson(one.value, one.effective, level)
    low2, high2 = wilson(other.value, other.effective, level)
    value = one.value - other.value
    down = math.hypot(one.value - low1, high2 - other.value)
    up = math.hypot(high1 - one.value, other.value - low2)
    return Difference(value, value - down, value + up)


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided exact p-value of McNemar's test, from the numbers of pairs that changed in either direction."""
    from scipy.stats import binomtest

    n = gained + lost
    return float(binomtest(gained, n, 0.5).pvalue) if n else 1.0
