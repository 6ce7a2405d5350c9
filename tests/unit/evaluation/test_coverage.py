"""Every interval covers the truth as often as it says: seeded simulations through the shipped functions.

Trials with equal counts share one call. The tolerances are about four standard errors of the trials, and narrow enough
for the usual wrong formulas to fail.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from safeguard_spark.evaluation.differences import RepeatCount, disagreement
from safeguard_spark.evaluation.intervals import (
    Difference,
    PairedCounts,
    Rate,
    Stratum,
    Weighted,
    clopper_pearson,
    difference,
    f1_rate,
    lower_bound,
    mcnemar,
    paired_difference,
    rate,
    stratified_rate,
    upper_bound,
    wilson,
)
from safeguard_spark.screen.audit import Audit
from safeguard_spark.screen.threshold import calibrate

pytestmark = pytest.mark.unit

Counts = NDArray[np.int64]
TRIALS = 20_000


class Ends(NamedTuple):
    """The two ends of an interval."""

    low: float
    high: float


def coverage(counts: Counts, interval: Callable[..., Iterable[float]], truth: float) -> float:
    """The share of trials whose interval holds the truth. `counts`: a row of counts per trial."""
    rows, times = np.unique(counts, axis=0, return_counts=True)
    held = 0
    for row, number in zip(rows.tolist(), times.tolist(), strict=True):
        low, high = interval(*row)
        held += number * (low <= truth <= high)
    return held / len(counts)


def binomials(seed: int, n: int, *shares: float, trials: int = TRIALS) -> Counts:
    return np.random.default_rng(seed).binomial(n, shares, (trials, len(shares)))


def multinomials(seed: int, n: int, shares: Sequence[float], trials: int) -> Counts:
    return np.random.default_rng(seed).multinomial(n, shares, trials)


@pytest.mark.parametrize("n", [20, 50, 100])
def test_wilsons_interval_covers_95_percent_on_average_over_shares(n: int) -> None:
    shares = np.linspace(0.05, 0.95, 19)
    held = [coverage(binomials(1, n, p, trials=4_000), lambda k: wilson(k / n, n), p) for p in shares]
    # The normal interval covers 0.88 to 0.935 here, Clopper and Pearson's 0.966 to 0.974.
    assert 0.944 < np.mean(held) < 0.960
    assert min(held) > 0.90


@pytest.mark.parametrize("n", [10, 60, 400])
@pytest.mark.parametrize("share", [0.005, 0.1, 0.5, 0.97])
def test_exact_bounds_never_cover_less_than_they_say(n: int, share: float) -> None:
    counts = binomials(2, n, share)
    assert coverage(counts, lambda k: clopper_pearson(k, n), share) > 0.943
    assert coverage(counts, lambda k: (lower_bound(k, n), 1), share) > 0.943
    assert coverage(counts, lambda k: (0, upper_bound(k, n)), share) > 0.943


@pytest.mark.parametrize(("hits", "n"), [(59, 59), (57, 60), (3, 40), (380, 400)])
def test_exact_bounds_are_no_wider_than_they_must_be(hits: int, n: int) -> None:
    # At the bound itself, and only there, the probability of what was seen is exactly 0.05.
    just_below = lower_bound(hits, n) - 1e-9
    held = coverage(binomials(3, n, just_below), lambda k: (lower_bound(k, n), 1), just_below)
    assert 0.944 < held < 0.956


@pytest.mark.parametrize("shares", [(0.08, 0.03, 0.03), (0.3, 0.05, 0.1), (0.02, 0.02, 0.01)])
def test_the_interval_of_f1_covers_95_percent(shares: tuple[float, float, float]) -> None:
    tp, fp, fn = shares
    counts = multinomials(4, 1_680, (tp, fp, fn, 1 - tp - fp - fn), 10_000)
    held = coverage(counts, lambda tp, fp, fn, _: ends(f1_rate(tp, fp, fn)), 2 * tp / (2 * tp + fp + fn))
    # Wilson's interval on F1 itself, over 2 TP + FP + FN, covers 0.90 to 0.93: it counts true positives twice.
    assert 0.942 < held < 0.958


def mean_width(intervals: Iterable[Ends]) -> float:
    return float(np.mean([interval.high - interval.low for interval in intervals]))


def ends(interval: Rate | Difference | None) -> Ends:
    assert interval is not None
    return Ends(interval.low, interval.high)


@pytest.mark.parametrize("shares", [(0.9, 0.8), (0.1, 0.05), (0.5, 0.5)])
def test_the_difference_of_independent_shares_covers_95_percent(shares: tuple[float, float]) -> None:
    def interval(one: int, other: int) -> Ends:
        rates = [rate([Weighted(k, 1, True), Weighted(n - k, 1, False)]) for k, n in ((one, 150), (other, 80))]
        assert rates[0] is not None and rates[1] is not None
        return ends(difference(rates[0], rates[1]))

    # The sum of the two half-widths in place of the root of the sum of squares covers 0.99.
    counts = np.random.default_rng(5).binomial((150, 80), shares, (10_000, 2))
    assert 0.943 < coverage(counts, interval, shares[0] - shares[1]) < 0.963


@pytest.mark.parametrize("shares", [(0.75, 0.10, 0.05, 0.10), (0.45, 0.05, 0.05, 0.45), (0.05, 0.2, 0.4, 0.35)])
def test_the_difference_of_paired_shares_covers_95_percent(shares: tuple[float, float, float, float]) -> None:
    counts = multinomials(6, 120, shares, 10_000)
    held = coverage(counts, lambda *row: ends(paired_difference(PairedCounts(*row))), shares[1] - shares[2])
    # Without the correlation of the pairs it covers 0.99 where the pairs agree, and 0.91 where they do not.
    assert 0.943 < held < 0.967


def test_mcnemars_test_is_wrong_at_most_as_often_as_it_says() -> None:
    gained, times = np.unique(binomials(7, 40, 0.5), return_counts=True)
    rejected = sum(
        number for k, number in zip(gained.tolist(), times.tolist(), strict=True) if mcnemar(k, 40 - k) < 0.05
    )
    assert 0.02 < rejected / TRIALS < 0.05


SIZES = (2_000, 98_000)  # flagged, and the rest of the table


@pytest.mark.parametrize(("flagged", "rest"), [(0.5, 0.002), (0.3, 0.001), (0.5, 0.0005)])
def test_a_rare_rate_from_a_stratified_sample_is_covered_and_narrower_than_from_a_plain_one(
    flagged: float, rest: float
) -> None:
    sampled = (100, 300)
    truth = (SIZES[0] * flagged + SIZES[1] * rest) / sum(SIZES)
    counts = np.random.default_rng(8).binomial(sampled, (flagged, rest), (10_000, 2))

    def mover(*hits: int) -> Ends:
        return ends(stratified_rate(Stratum(*part) for part in zip(hits, sampled, SIZES, strict=True)))

    def normal(*hits: int) -> Ends:
        shares = np.array(hits) / sampled
        weights = np.array(SIZES) / sum(SIZES)
        half = 1.96 * np.sqrt(np.sum(weights**2 * shares * (1 - shares) / sampled))
        value = float(weights @ shares)
        return Ends(value - half, value + half)

    assert 0.955 < coverage(counts, mover, truth) < 0.995
    assert coverage(counts, normal, truth) < 0.94
    plain = np.random.default_rng(8).binomial(sum(sampled), truth, 500).tolist()
    assert mean_width(mover(*row) for row in counts[:500].tolist()) < 0.85 * mean_width(
        Ends(*clopper_pearson(hits, sum(sampled))) for hits in plain
    )


@pytest.mark.parametrize(("positives", "floor"), [(160, 0.90), (300, 0.95), (1000, 0.98)])
def test_a_screens_recall_is_below_its_floor_at_most_as_often_as_it_says(positives: int, floor: float) -> None:
    # With scores from 0 to 1 the share of positives below a threshold is the threshold.
    scores = np.random.default_rng(9).random((2_000, positives))
    thresholds = np.array([calibrate(row, floor).score for row in scores])
    broken = np.mean(1 - thresholds < floor)
    quantile = np.quantile(scores, 1 - floor, axis=1)
    assert 0.01 < broken < 0.065
    assert np.mean(1 - quantile < floor) > 0.4  # an empirical quantile breaks it every other time


@pytest.mark.parametrize(("missed", "checked"), [(20, 2_300), (200, 1_000), (2, 5_000)])
def test_the_bound_of_an_audit_is_below_the_recall_as_often_as_it_says(missed: int, checked: int) -> None:
    flagged, cleared = 2_000, 80_000
    recall = flagged / (flagged + missed)
    counts = np.random.default_rng(10).hypergeometric(missed, cleared - missed, checked, (TRIALS, 1))
    held = coverage(counts, lambda j: (Audit(flagged, cleared, checked, j).recall_low, 1), recall)
    assert held > 0.943


def test_the_interval_of_disagreement_covers_what_a_labeler_does() -> None:
    runs, contents = 4, 200
    generator = np.random.default_rng(11)
    unsteady = generator.beta(0.2, 0.8, (2_000, contents))  # each content's probability of a violation
    truth = 2 * (0.2 * 0.8) / (1 * 2)  # 2 p (1 - p) over the beta distribution
    held = 0
    for violations in generator.binomial(runs, unsteady).tolist():
        counts = [RepeatCount("hate", "*", k, runs - k, 0, n) for k, n in Counter(violations).items()]
        (metric,) = disagreement("golden@1", counts)
        held += (metric.low or 0) <= truth <= (metric.high or 0)
    assert 0.955 < held / len(unsteady) <= 1
