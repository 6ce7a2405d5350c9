"""Statistics of a comparison: rates of weighted counts with Wilson intervals, differences, McNemar's exact test."""

import math
from collections.abc import Iterable
from fractions import Fraction
from statistics import NormalDist
from typing import NamedTuple

LEVEL = 0.95  # of every interval that is shown
EXACT = 20_000  # discordant pairs up to which McNemar's test is computed exactly; beyond, the normal curve is as good


class Rate(NamedTuple):
    """A share with its interval. `n` is how many contents were looked at; `effective` what they are worth weighted."""

    value: float
    low: float
    high: float
    hits: int
    n: int
    effective: float


class Weighted(NamedTuple):
    """So many contents of one weight; `hit` if they count."""

    contents: int
    weight: float
    hit: bool


def rate(parts: Iterable[Weighted], level: float = LEVEL) -> Rate | None:
    """The weighted share of hits with Wilson's interval, or None of nothing.

    The interval is that of so many contents as the weighted ones are worth: (sum w)^2 / sum w^2 (Kish, Survey Sampling,
    1965), which ignores what stratifying gains and so errs to the wide side.
    """
    listed = [part for part in parts if part.contents and part.weight > 0]
    total = sum(part.contents * part.weight for part in listed)
    if not total:
        return None
    hits = sum(part.contents * part.weight for part in listed if part.hit)
    effective = total * total / sum(part.contents * part.weight**2 for part in listed)
    value = min(1.0, hits / total)
    low, high = wilson(value, effective, level)
    count = sum(part.contents for part in listed)
    return Rate(value, low, high, sum(part.contents for part in listed if part.hit), count, effective)


def wilson(value: float, n: float, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval of a share of `n` (E. B. Wilson, 1927)."""
    if n <= 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + level / 2)
    centre = (value + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(value * (1 - value) / n + z * z / (4 * n * n))
    # At 0 and 1 rounding may leave the share itself outside.
    return max(0.0, min(value, centre - half)), min(1.0, max(value, centre + half))


class Difference(NamedTuple):
    """One share less another, with its interval."""

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
    """Two-sided exact p of McNemar's test: were as many pairs to change one way as the other, so uneven or more so."""
    n, fewer = gained + lost, min(gained, lost)
    if n == 0:
        return 1.0
    if n > EXACT:
        z = max(0.0, (abs(gained - lost) - 1) / math.sqrt(n))
        return min(1.0, math.erfc(z / math.sqrt(2)))
    tail = 0
    term = 1
    for number in range(fewer + 1):
        tail += term
        term = term * (n - number) // (number + 1)
    return min(1.0, float(Fraction(2 * tail, 2**n)))
