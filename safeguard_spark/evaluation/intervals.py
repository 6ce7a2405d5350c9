"""Intervals: rates, exact bounds, differences, and how many contents a bound needs.

A two-sided interval reports a rate. A floor or a ceiling is decided on a one-sided exact bound. Both are at 95 %
unless `level` says otherwise. The tests simulate the coverage of every interval here.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import NamedTuple

from safeguard_spark.extras import require

require("scipy")  # imported by the functions that need it; what is missing is said before any work
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


def clopper_pearson(hits: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """The exact two-sided interval of a share (C. J. Clopper, E. S. Pearson, 1934); (0, 1) without contents."""
    one_sided = (1 + level) / 2
    return lower_bound(hits, n, one_sided), upper_bound(hits, n, one_sided)


def lower_bound(hits: int, n: int, level: float = LEVEL) -> float:
    """The exact one-sided lower bound of a share, after Clopper and Pearson; 0 without hits.

    It is the share at which `hits` or more of `n` have probability 1 - level, the quantile 1 - level of the beta
    distribution with parameters hits and n - hits + 1 (L. D. Brown, T. T. Cai, A. DasGupta, 2001).
    """
    from scipy.special import betaincinv

    if not 0 <= hits <= n:
        raise ValueError(f"{hits} hits of {n} contents")
    return float(betaincinv(hits, n - hits + 1, 1 - level)) if hits else 0.0


def upper_bound(hits: int, n: int, level: float = LEVEL) -> float:
    """The exact one-sided upper bound of a share; 1 if every content is a hit, or there is none."""
    return 1.0 - lower_bound(n - hits, n, level)


def smallest_n(floor: float, misses: int = 0, level: float = LEVEL) -> int | None:
    """The fewest contents of which all but `misses` are hits that prove a share of at least `floor`.

    59 for a floor of 0.95 without a miss, 93 with one: S. S. Wilks' sample sizes (1941). None for a floor of 1, which
    no sample proves. For a ceiling: `smallest_n(1 - ceiling, hits)`.
    """
    if floor >= 1:
        return None

    def proves(n: int) -> bool:
        return lower_bound(n - misses, n, level) >= floor

    enough = max(1, misses)
    while not proves(enough):
        enough *= 2
    return bisect_left(range(enough), True, lo=misses, key=proves)


def f1_rate(tp: int, fp: int, fn: int, level: float = LEVEL) -> Rate | None:
    """F1 with its interval, or None without a positive and a flagged content.

    F1 (L. R. Dice, 1945) is not a share, but a function of one: F1 = 2J / (1 + J) with Jaccard's index (1912)
    J = TP / (TP + FP + FN). It increases with J, so the ends of Wilson's interval of J give those of F1. `hits` and `n`
    are those of J.
    """
    jaccard = rate([Weighted(tp, 1, True), Weighted(fp + fn, 1, False)], level)
    if jaccard is None:
        return None
    value, low, high = (2 * share / (1 + share) for share in (jaccard.value, jaccard.low, jaccard.high))
    return replace(jaccard, value=value, low=low, high=high)


class Stratum(NamedTuple):
    """A part of a table: `n` contents sampled at random of the `size` it has, of which `hits` count."""

    hits: int
    n: int
    size: int


def stratified_rate(strata: Iterable[Stratum], level: float = LEVEL) -> Rate | None:
    """The share of hits in a table from a stratified sample; None if a stratum has no sampled content.

    MOVER (G. Y. Zou, W. Huang, X. Zhang, 2009) over Clopper and Pearson's interval (l, u) of each stratum of weight w
    and share p: value - sqrt(sum (w (p - l))^2), value + sqrt(sum (w (u - p))^2). For rare hits the normal interval
    covers far less than it says.
    """
    strata = [stratum for stratum in strata if stratum.size]
    if not strata or not all(stratum.n for stratum in strata):
        return None
    total = sum(stratum.size for stratum in strata)
    value = below = above = 0.0
    for hits, n, size in strata:
        weight, share = size / total, hits / n
        low, high = clopper_pearson(hits, n, level)
        value += weight * share
        below += (weight * (share - low)) ** 2
        above += (weight * (high - share)) ** 2
    return Rate(
        value=value,
        low=max(0.0, value - math.sqrt(below)),
        high=min(1.0, value + math.sqrt(above)),
        hits=sum(stratum.hits for stratum in strata),
        n=sum(stratum.n for stratum in strata),
        effective=total**2 / sum(stratum.size**2 / stratum.n for stratum in strata),
    )


def stratified_recall(flagged: Stratum, unflagged: Stratum, level: float = LEVEL) -> Rate | None:
    """Of the hits of a table, the share that is in its first stratum; None without a sampled hit or a sampled stratum.

    With a and b the hits of the strata, r = a / (a + b) solves r b - (1 - r) a = 0. The interval has every r at which
    MOVER's interval of the left side, over Clopper and Pearson's of each stratum, has 0: the construction of A. Donner
    and G. Y. Zou (2012) for ratios. `hits` are those of the first stratum, `n` those of both.
    """
    if not (flagged.n or not flagged.size) or not (unflagged.n or not unflagged.size):
        return None
    a, low_a, high_a = _hits(flagged, level)
    b, low_b, high_b = _hits(unflagged, level)
    if not flagged.hits + unflagged.hits:
        return None
    value = a / (a + b)

    def is_too_low(r: float) -> bool:
        return r * b - (1 - r) * a + math.hypot(r * (high_b - b), (1 - r) * (a - low_a)) < 0

    def is_too_high(r: float) -> bool:
        return r * b - (1 - r) * a - math.hypot(r * (b - low_b), (1 - r) * (high_a - a)) > 0

    steps = 10_000
    low = bisect_left(range(steps + 1), True, key=lambda step: not is_too_low(value * step / steps))
    high = bisect_left(range(steps + 1), True, key=lambda step: is_too_high(value + (1 - value) * step / steps))
    return Rate(
        value=value,
        low=value * max(0, low - 1) / steps,
        high=value + (1 - value) * min(high, steps) / steps,
        hits=flagged.hits,
        n=flagged.hits + unflagged.hits,
        effective=float(flagged.hits + unflagged.hits),
    )


def _hits(stratum: Stratum, level: float) -> tuple[float, float, float]:
    """The hits of a stratum, estimated, and the ends of their interval."""
    if not stratum.size:
        return 0.0, 0.0, 0.0
    low, high = clopper_pearson(stratum.hits, stratum.n, level)
    return stratum.size * stratum.hits / stratum.n, stratum.size * low, stratum.size * high


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


class PairedCounts(NamedTuple):
    """Contents by two answers to the same question: a hit in both, in one of them, in neither."""

    both: int
    first_only: int
    second_only: int
    neither: int


def paired_difference(counts: PairedCounts, level: float = LEVEL) -> Difference | None:
    """The first share minus the second, of the same contents; None without contents.

    R. G. Newcombe, Statistics in Medicine 17 (1998), 2635-2650, method 10: Wilson's intervals, squared and added with
    the correlation of the pairs, which is corrected for continuity.
    """
    both, first_only, second_only, neither = counts
    n = sum(counts)
    if not n:
        return None
    first, second = (both + first_only) / n, (both + second_only) / n
    (low1, high1), (low2, high2) = wilson(first, n, level), wilson(second, n, level)
    margins = (both + first_only) * (second_only + neither) * (both + second_only) * (first_only + neither)
    product = both * neither - first_only * second_only
    corrected = max(product - n / 2, 0) if product > 0 else product
    phi = corrected / math.sqrt(margins) if margins else 0.0
    value = (first_only - second_only) / n
    return Difference(
        value,
        max(-1.0, value - _square_and_add(first - low1, high2 - second, phi)),
        min(1.0, value + _square_and_add(high1 - first, second - low2, phi)),
    )


def _square_and_add(one: float, other: float, phi: float) -> float:
    return math.sqrt(max(0.0, one**2 - 2 * phi * one * other + other**2))


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided exact p-value of McNemar's test, from the numbers of pairs that changed in either direction."""
    from scipy.stats import binomtest

    n = gained + lost
    return float(binomtest(gained, n, 0.5).pvalue) if n else 1.0


def screen_rank(positives: int, floor: float, risk: float = 1 - LEVEL) -> int | None:
    """How many of the calibration positives a screen may clear if its recall must be at least `floor`.

    The largest k with P(Bin(positives, 1 - floor) <= k) <= risk; None if even 0 is too many. It is the rank of a
    distribution-free tolerance limit (S. S. Wilks, 1941), so the recall falls below the floor with probability at most
    `risk`, whatever the distribution of the scores.
    """
    from scipy.special import bdtr

    allowed = bisect_right(range(positives + 1), risk, key=lambda k: bdtr(k, positives, 1 - floor))
    return allowed - 1 if allowed else None


def most_hits(strata: Iterable[Stratum], level: float = LEVEL) -> float:
    """The one-sided upper bound of the hits of a table, from a stratified sample in which hits are rare.

    Of one stratum Clopper and Pearson's; of several that of the gamma distribution by M. P. Fay and E. J. Feuer (1997),
    in which each sampled content weighs what it stands for, and the heaviest one counts as another hit. What has no
    sample is counted as hits.
    """
    from scipy.special import gammaincinv

    strata = list(strata)
    sampled = [stratum for stratum in strata if stratum.n]
    rest = sum(stratum.size for stratum in strata if not stratum.n)
    if len(sampled) < 2:
        return rest + sum(size * upper_bound(hits, n, level) for hits, n, size in sampled)
    heaviest = max(size / n for _, n, size in sampled)
    mean = heaviest + sum(hits * size / n for hits, n, size in sampled)
    variance = heaviest**2 + sum(hits * (size / n) ** 2 for hits, n, size in sampled)
    return rest + float(variance / mean * gammaincinv(mean**2 / variance, level))


def fewest_hits(strata: Iterable[Stratum], level: float = LEVEL) -> float:
    """The lower bound to `most_hits`. What has no sample is counted as no hits."""
    from scipy.special import gammaincinv

    sampled = [stratum for stratum in strata if stratum.n]
    if len(sampled) < 2:
        return sum(size * lower_bound(hits, n, level) for hits, n, size in sampled)
    mean = sum(hits * size / n for hits, n, size in sampled)
    if not mean:
        return 0.0
    variance = sum(hits * (size / n) ** 2 for hits, n, size in sampled)
    return float(variance / mean * gammaincinv(mean**2 / variance, 1 - level))


def audit_size(flagged: int, cleared: int, floor: float, level: float = LEVEL) -> int | None:
    """The fewest contents to check, none of them missed, that prove a recall of at least `floor`.

    None if there is no such number: a floor of 1, or nothing flagged. It depends on flagged / cleared alone, whatever
    the size of the table.
    """
    if not flagged:
        return None
    ceiling = flagged * (1 - floor) / (floor * cleared) if floor and cleared else 1.0
    return 0 if ceiling >= 1 else smallest_n(1 - ceiling, 0, level)
