"""Rates, intervals and McNemar's test agree with textbooks, with SciPy and with exact arithmetic."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.evaluation.intervals import Rate, Weighted, difference, mcnemar, rate, wilson

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
