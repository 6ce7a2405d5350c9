"""Scopes and budgets as people write them, and how a sample is shared out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.errors import ConfigError
from safeguard_spark.relabel.budget import Budget, Spent, parse_budget
from safeguard_spark.relabel.scope import Scope, allocate, parse_scope

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("all", "all"),
        ("touched", "touched and 1.00% of the rest"),
        ("since 2026-05-01", "since 2026-05-01"),
        ("since 2026-05-01 12:30", "since 2026-05-01 12:30"),
        ("where kind = 'post' AND id > 3", "where kind = 'post' AND id > 3"),
        ("sample 2,000", "sample 2,000"),
    ],
)
def test_a_scope_is_read_and_shown(text: str, shown: str) -> None:
    scope = parse_scope(text)
    assert str(scope) == shown
    assert Scope.model_validate_json(scope.model_dump_json()) == scope


@pytest.mark.parametrize("text", ["", "all of it", "since yesterday", "where", "sample", "sample 0", "sample x "])
def test_a_scope_that_is_none_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ConfigError, match="since 2026-05-01"):
        parse_scope(text)


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 1000), max_size=8), st.integers(0, 3000))
def test_a_sample_is_shared_out_whole_and_no_stratum_gives_more_than_it_has(sizes: dict[str, int], total: int) -> None:
    taken = allocate(sizes, total)
    assert sum(taken.values()) == min(total, sum(sizes.values()))
    assert all(taken[name] <= size for name, size in sizes.items())
    full = [count for name, count in taken.items() if count < sizes[name]]
    assert not full or max(full) - min(full) <= len(sizes)
    assert all(count <= min(full) + len(sizes) for count in taken.values()) if full else True


@pytest.mark.parametrize(
    ("text", "budget", "shown"),
    [
        ("2h", Budget(seconds=7200), "2 h"),
        ("90m", Budget(seconds=5400), "1.5 h"),
        ("30s", Budget(seconds=30), "30 s"),
        ("1000000calls", Budget(calls=1_000_000), "1,000,000 calls"),
        ("1,000 calls", Budget(calls=1000), "1,000 calls"),
        ("1000calls 2h", Budget(1000, 7200), "1,000 calls and 2 h"),
    ],
)
def test_a_budget_is_read_and_shown(text: str, budget: Budget, shown: str) -> None:
    assert parse_budget(text) == budget and str(budget) == shown


@pytest.mark.parametrize("text", ["", "2", "two hours", "0calls", "-3h", "5h 3h", "1000callsx", "nan h"])
def test_a_budget_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="90m"):
        parse_budget(text)


@given(st.lists(st.integers(0, 100), max_size=30), st.integers(1, 500))
def test_chunks_begun_never_exceed_the_calls_allowed(chunks: list[int], calls: int) -> None:
    spent = Spent()
    begun = [chunk for chunk in chunks if spent.allows(chunk, Budget(calls=calls))]
    assert sum(begun) == spent.calls <= calls


def test_a_time_that_is_over_allows_nothing() -> None:
    spent = Spent()
    assert spent.allows(10, Budget(seconds=1000))
    spent.began -= 999
    assert not spent.allows(10, Budget(seconds=1000))  # what it would take goes beyond
    assert Spent().allows(10, Budget())
