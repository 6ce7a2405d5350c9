"""Rates, intervals and McNemar's test agree with textbooks and with SciPy."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from safeguard_spark.evaluation.intervals import Rate, Weighted, difference, mcnemar, rate, wilson

pytestmark = pytest.mark.unit


@given(st.integers(0, 400), st.integers(1, 400))
def test_wilson_is_scipys(hits: int, n: int) -> None:
    hits = min(hits, n)
    low, high = wilson(hits / n, n)
    known = binomtest(hits, n).proportion_ci(method="wilson")
    assert math.isclose(low, known.low, abs_tol=1e-9) and math.isclose(high, known.high, abs_tol=1e-9)


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_the_two_sided_binomial_test_of_a_half(gained: int, lost: int) -> None:
    known = binomtest(gained, gained + lost, 0.5).pvalue if gained + lost else 1.0
    assert math.isclose(mcnemar(gained, lost), known, rel_tol=1e-9)


def test_mcnemar_of_many_pairs_is_near_the_exact_one() -> None:
    assert math.isclose(mcnemar(10_300, 9_900), binomtest(10_300, 20_200, 0.5).pvalue, rel_tol=0.02)
    assert mcnemar(200_000, 0) == 0.0 and mcnemar(15_000, 15_000) == 1.0


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0.1, 100), st.booleans()), max_size=8))
def test_a_rate_lies_in_its_interval_and_is_worth_at_most_its_contents(parts: list[tuple[int, float, bool]]) -> None:
    found = rate(Weighted(*part) for part in parts)
    n = sum(count for count, _, _ in parts)
    if found is None:
        assert n == 0
        return
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.n == n and 0 < found.effective <= n * (1 + 1e-9)


def test_equal_weights_change_nothing_and_unequal_ones_count_as_they_weigh() -> None:
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
        found = rate([Weighted(hits, 1, True), Weighted(n - hits, 1, False)])
        assert found is not None
        return found

    found = difference(of(56, 70), of(48, 80))
    assert (round(found.value, 4), round(found.low, 4), round(found.high, 4)) == (0.2, 0.0524, 0.3339)
