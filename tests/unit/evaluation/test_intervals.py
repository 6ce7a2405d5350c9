"""Rates, intervals, bounds and McNemar's test agree with textbooks, with SciPy and with exact arithmetic."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.errors import GateError
from safeguard_spark.evaluation.intervals import (
    PairedCounts,
    Rate,
    Stratum,
    Weighted,
    audit_size,
    clopper_pearson,
    difference,
    f1_rate,
    lower_bound,
    mcnemar,
    paired_difference,
    rate,
    screen_rank,
    smallest_n,
    stratified_rate,
    upper_bound,
    wilson,
)
from safeguard_spark.screen.audit import Audit
from safeguard_spark.screen.threshold import calibrate

pytestmark = pytest.mark.unit


@given(st.integers(0, 400), st.integers(1, 400))
def test_wilson_is_scipys(hits: int, n: int) -> None:
    from scipy.stats import binomtest  # not in every test process: it takes a second

    hits = min(hits, n)
    low, high = wilson(hits / n, n)
    expected = binomtest(hits, n).proportion_ci(method="wilson")
    assert math.isclose(low, expected.low, abs_tol=1e-9) and math.isclose(high, expected.high, abs_tol=1e-9)


def exact_p_value(gained: int, lost: int) -> float:
    """Twice the tail of a binomial distribution of one half, in whole numbers."""
    n = gained + lost
    tail, ways = 0, 1  # `ways` is math.comb(n, k)
    for k in range(min(gained, lost) + 1):
        tail, ways = tail + ways, ways * (n - k) // (k + 1)
    return min(1.0, float(Fraction(2 * tail, 2**n)))


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_the_exact_tail_of_the_binomial_distribution(gained: int, lost: int) -> None:
    assert math.isclose(mcnemar(gained, lost), exact_p_value(gained, lost), rel_tol=1e-12, abs_tol=1e-12)


def test_mcnemar_of_many_pairs_is_exact_too() -> None:
    assert math.isclose(mcnemar(5_150, 4_950), exact_p_value(5_150, 4_950), abs_tol=1e-12)
    assert mcnemar(200_000, 0) == 0.0 and mcnemar(15_000, 15_000) == 1.0 and mcnemar(0, 0) == 1.0


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0.1, 100), st.booleans()), max_size=8))
def test_a_rate_lies_in_its_interval_and_its_effective_size_is_at_most_its_contents(
    parts: list[tuple[int, float, bool]],
) -> None:
    share = rate(Weighted(*part) for part in parts)
    n = sum(count for count, _, _ in parts)
    if share is None:
        assert n == 0
        return
    assert 0 <= share.low <= share.value <= share.high <= 1
    assert share.n == n and 0 < share.effective <= n * (1 + 1e-9)


def test_equal_weights_change_nothing_and_unequal_weights_do() -> None:
    plain = rate([Weighted(10, 1, True), Weighted(90, 1, False)])
    heavy = rate([Weighted(10, 7, True), Weighted(90, 7, False)])
    assert plain is not None and heavy is not None
    assert plain.value == heavy.value == 0.1 and math.isclose(plain.low, heavy.low)
    # 50 of 100 hit in a stratum of 100, 0 of 100 in one of 900: 5 % of the table.
    table = rate([Weighted(50, 1, True), Weighted(50, 1, False), Weighted(100, 9, False)])
    assert table is not None and math.isclose(table.value, 0.05)


def test_newcombes_interval_is_the_published_one() -> None:
    # R. G. Newcombe, Statistics in Medicine 17 (1998), table II, example (a): 56/70 less 48/80, method 10.
    def of(hits: int, n: int) -> Rate:
        share = rate([Weighted(hits, 1, True), Weighted(n - hits, 1, False)])
        assert share is not None
        return share

    gap = difference(of(56, 70), of(48, 80))
    assert (round(gap.value, 4), round(gap.low, 4), round(gap.high, 4)) == (0.2, 0.0524, 0.3339)


counts_and_n = st.integers(0, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts_and_n.filter(lambda pair: pair[1] > 0))
def test_exact_bounds_are_scipys(pair: tuple[int, int]) -> None:
    from scipy.stats import binomtest  # not in every test process: it takes a second

    hits, n = pair
    two_sided = binomtest(hits, n).proportion_ci(method="exact")
    assert clopper_pearson(hits, n) == pytest.approx((two_sided.low, two_sided.high), abs=1e-9)
    below = binomtest(hits, n, alternative="greater").proportion_ci(method="exact").low
    above = binomtest(hits, n, alternative="less").proportion_ci(method="exact").high
    assert (lower_bound(hits, n), upper_bound(hits, n)) == pytest.approx((below, above), abs=1e-9)


@given(counts_and_n)
def test_a_bound_rises_with_a_hit_and_falls_with_a_miss(pair: tuple[int, int]) -> None:
    hits, n = pair
    for bound in (lower_bound, upper_bound):
        assert bound(hits, n + 1) <= bound(hits, n) <= bound(hits + 1, n + 1)
    assert 0 <= lower_bound(hits, n) <= hits / max(n, 1) <= upper_bound(hits, n) <= 1


def test_without_contents_nothing_is_known_and_impossible_counts_are_refused() -> None:
    assert clopper_pearson(0, 0) == wilson(0, 0) == (0, 1)
    assert (lower_bound(0, 7), upper_bound(7, 7)) == (0, 1)
    assert f1_rate(0, 0, 0) is None and paired_difference(PairedCounts(0, 0, 0, 0)) is None
    assert stratified_rate([]) is None and stratified_rate([Stratum(1, 5, 50), Stratum(0, 0, 10)]) is None
    for hits, n in ((3, 2), (-1, 2)):
        with pytest.raises(ValueError, match=f"{hits} hits of {n} contents"):
            lower_bound(hits, n)


def test_sample_sizes_are_the_published_ones() -> None:
    # S. S. Wilks' sizes for a share of 95 % and of 90 % at a confidence of 95 %, without a miss, with one, with two.
    assert [smallest_n(0.95, misses) for misses in range(5)] == [59, 93, 124, 153, 181]
    assert [smallest_n(0.90, misses) for misses in range(5)] == [29, 46, 61, 76, 89]
    assert (smallest_n(0.98), smallest_n(0.99), smallest_n(1 - 0.01)) == (149, 299, 299)
    assert (smallest_n(0.0), smallest_n(0.0, 3), smallest_n(1.0)) == (0, 3, None)


@given(st.floats(0.01, 0.995), st.integers(0, 40))
def test_a_sample_size_proves_its_floor_and_one_content_less_does_not(floor: float, misses: int) -> None:
    n = smallest_n(floor, misses)
    assert n is not None and lower_bound(n - misses, n) >= floor
    assert n - 1 < misses or lower_bound(n - 1 - misses, n - 1) < floor


def test_f1_is_the_textbooks_and_its_width_at_the_size_of_public_sets_is_the_measured_one() -> None:
    score = f1_rate(428, 83, 94)
    assert score is not None and score.value == pytest.approx(2 * 428 / (2 * 428 + 83 + 94))
    assert score.low < score.value < score.high and score.high - score.low == pytest.approx(0.05, abs=0.003)
    perfect, nothing = f1_rate(20, 0, 0), f1_rate(0, 3, 4)
    assert perfect is not None and perfect.value == perfect.high == 1 and perfect.low > 0.8
    assert nothing is not None and nothing.value == nothing.low == 0 < nothing.high


def test_the_interval_of_paired_shares_is_the_published_one() -> None:
    # M. W. Fagerland, S. Lydersen, P. Laake, 2017, chapter 8: complete response before and after consolidation.
    gap = paired_difference(PairedCounts(59, 6, 16, 80))
    assert gap is not None
    assert (round(gap.value, 4), round(gap.low, 4), round(gap.high, 4)) == (-0.0621, -0.1186, -0.0046)


@given(*[st.integers(0, 60)] * 4)
def test_paired_shares_exchanged_have_the_opposite_difference(both: int, one: int, other: int, neither: int) -> None:
    gap = paired_difference(PairedCounts(both, one, other, neither))
    back = paired_difference(PairedCounts(both, other, one, neither))
    assert (gap is None) == (back is None) == (both + one + other + neither == 0)
    if gap is not None and back is not None:
        assert (gap.value, gap.low, gap.high) == pytest.approx((-back.value, -back.high, -back.low))
        assert -1 <= gap.low <= gap.value <= gap.high <= 1


def test_one_stratum_is_a_plain_sample_and_an_empty_one_has_no_weight() -> None:
    one = stratified_rate([Stratum(3, 40, 900), Stratum(0, 0, 0)])
    assert one is not None and (one.value, one.n, one.effective) == (3 / 40, 40, pytest.approx(40))
    assert (one.low, one.high) == pytest.approx(clopper_pearson(3, 40))
    table = stratified_rate([Stratum(50, 100, 2_000), Stratum(0, 300, 98_000)])
    assert table is not None and table.value == pytest.approx(0.01)
    assert 0 < table.low < table.value < table.high


def test_a_screen_clears_as_many_positives_as_were_simulated() -> None:
    ranks = {floor: [screen_rank(n, floor) for n in (160, 300, 1000)] for floor in (0.90, 0.95, 0.98)}
    assert ranks == {0.90: [9, 21, 84], 0.95: [3, 8, 38], 0.98: [0, 1, 12]}


@given(st.integers(0, 400), st.floats(0.5, 1))
def test_a_screen_without_enough_positives_has_no_threshold(positives: int, floor: float) -> None:
    # To clear nothing of n positives proves the floor exactly if n positives, all right, would.
    needed = smallest_n(floor)
    assert (screen_rank(positives, floor) is None) == (needed is None or positives < needed)


def test_a_threshold_is_the_score_after_those_that_may_be_cleared() -> None:
    scores = [k / 160 for k in range(160)]
    assert calibrate(np.array(scores[::-1]), 0.95).score == scores[3]
    assert calibrate(np.array(scores[:59]), 0.95).score == 0
    assert calibrate(np.full(160, 0.2), 0.95).score == 0.2  # clears strictly below, so ties are all kept
    with pytest.raises(GateError, match="58 violations to calibrate on, 59 are needed"):
        calibrate(np.array(scores[:58]), 0.95)


def test_an_audit_proves_a_recall_with_as_many_contents_as_it_says() -> None:
    size = audit_size(2_000, 80_000, 0.95)
    assert size is not None and 2_250 < size < 2_300
    assert Audit(2_000, 80_000, size).recall_low >= 0.95 > Audit(2_000, 80_000, size - 1).recall_low
    assert audit_size(200_000, 8_000_000, 0.95) == size
    assert Audit(2_000, 80_000, size, 1).recall_low < 0.95
    assert audit_size(0, 10, 0.9) is None and audit_size(5, 10, 1.0) is None
    assert audit_size(5, 0, 0.9) == audit_size(5, 10, 0.0) == 0
    assert (Audit(5).recall_low, Audit(0, 10, 10).recall_low, Audit(5, 5).recall_low) == (1, 0, 0.5)
