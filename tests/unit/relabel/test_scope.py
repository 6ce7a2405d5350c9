"""Scopes and budgets as people write them, and how a sample is divided among strata."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.errors import ConfigError
from safeguard_spark.relabel.budget import Budget, Spent, parse_budget
from safeguard_spark.relabel.scope import Scope, ScopeKind, allocate, parse_scope

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("all", "all"),
        ("touched", "touched and 1.00% of the rest"),
        ("since 2026-05-01", "since 2026-05-01"),
        ("since 2026-05-01 12:30", "since 2026-05-01 12:30"),
        ("where kind = 'post' AND id > 3", "where kind = 'post' AND id > 3"),
        ("sample 2,000", "sample 2,000"),
    ],
)
def test_a_scope_is_parsed_and_printed(text: str, printed: str) -> None:
    scope = parse_scope(text)
    assert str(scope) == printed
    assert Scope.model_validate_json(scope.model_dump_json()) == scope


@pytest.mark.parametrize("text", ["since 2026-02-30", "since 2026-13-01", "since 2026-05-01 24:30"])
def test_a_day_that_is_not_in_the_calendar_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="there is no such date or time"):
        parse_scope(text)


@pytest.mark.parametrize("text", ["", "all of it", "since yesterday", "where", "sample", "sample 0", "sample x "])
def test_an_invalid_scope_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ConfigError, match="since 2026-05-01"):
        parse_scope(text)


@pytest.mark.parametrize("text", ["since foo", "touched", "sample 20", "screened-by s1", "nothing"])
def test_a_command_that_takes_some_scopes_names_these_alone(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_scope(text, kinds=(ScopeKind.all, ScopeKind.since))
    assert str(refused.value) == f"--scope {text}: write all or since 2026-05-01 (in quotation marks)."


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 1000), max_size=8), st.integers(0, 3000))
def test_a_sample_is_allocated_completely_and_never_exceeds_a_stratum(sizes: dict[str, int], total: int) -> None:
    counts = allocate(sizes, total)
    assert sum(counts.values()) == min(total, sum(sizes.values()))
    assert all(counts[name] <= size for name, size in sizes.items())
    partial = [count for name, count in counts.items() if count < sizes[name]]
    assert not partial or max(partial) - min(partial) <= len(sizes)
    assert all(count <= min(partial) + len(sizes) for count in counts.values()) if partial else True


@pytest.mark.parametrize(
    ("text", "budget", "printed"),
    [
        ("2h", Budget(seconds=7200), "2 h"),
        ("90m", Budget(seconds=5400), "1.5 h"),
        ("30s", Budget(seconds=30), "30 s"),
        ("1000000calls", Budget(calls=1_000_000), "1,000,000 calls"),
        ("1,000 calls", Budget(calls=1000), "1,000 calls"),
        ("1000calls 2h", Budget(1000, 7200), "1,000 calls and 2 h"),
    ],
)
def test_a_budget_is_parsed_and_printed(text: str, budget: Budget, printed: str) -> None:
    assert parse_budget(text) == budget and str(budget) == printed


@pytest.mark.parametrize("text", ["", "2", "two hours", "0calls", "-3h", "5h 3h", "1000callsx", "nan h"])
def test_an_invalid_budget_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="90m"):
        parse_budget(text)


@given(st.lists(st.integers(0, 100), max_size=30), st.integers(1, 500))
def test_started_chunks_never_exceed_the_calls_allowed(chunks: list[int], calls: int) -> None:
    spent = Spent()
    started = [chunk for chunk in chunks if spent.allows(chunk, Budget(calls=calls))]
    assert sum(started) == spent.calls <= calls


def test_no_chunk_starts_that_would_end_after_the_time() -> None:
    spent = Spent()
    assert spent.allows(10, Budget(seconds=1000))
    spent.started -= 999
    assert not spent.allows(10, Budget(seconds=1000))  # ten more calls would take another 999 s
    assert Spent().allows(10, Budget())
