"""The audit: its bounds cover, a screen that keeps its promise stays, one that breaks it goes."""

import math

import numpy as np
import pytest

from safeguard_spark.screen.audit import Audit, Finding, is_broken, needed_checks, num_checks

pytestmark = pytest.mark.unit

CONTENTS, PREVALENCE, CLEARED, TARGET = 1_000_000, 0.02, 0.8, 0.95


def audit(random: np.random.Generator, recall: float, checked: int) -> Audit:
    """One run's audit of a screen whose recall is `recall`."""
    violations = int(random.binomial(CONTENTS, PREVALENCE))
    flagged = int(random.binomial(violations, recall))
    cleared = int(CONTENTS * CLEARED)
    missed = int(random.hypergeometric(violations - flagged, cleared - violations + flagged, checked))
    return Audit(flagged, cleared, checked, missed)


@pytest.mark.parametrize("recall", [0.97, 0.95, 0.8])
def test_both_bounds_cover_the_recall(recall: float) -> None:
    random = np.random.default_rng(1)
    violations, cleared, checked, trials = 20_000, 800_000, 3_000, 1_000
    let_through = round(violations * (1 - recall))
    audits = [
        Audit(violations - let_through, cleared, checked, int(missed))
        for missed in random.hypergeometric(let_through, cleared - let_through, checked, size=trials)
    ]
    for outside, risk in (
        (sum(audit.recall_low > recall for audit in audits), 0.05),
        (sum(audit.recall_high < recall for audit in audits), 0.01),
    ):
        assert outside <= trials * risk + 3 * math.sqrt(trials * risk * (1 - risk))


# Contents cleared and checked, and violations let through, of each run: the screen misses more in some than in others.
LARGE_THEN_DAILY = [(600_000, 1_800, 900), *[(12_000, 1_200, 0)] * 20]
SMALL_ARE_WORST = [*[(900, 90, 30)] * 10, (400_000, 1_500, 100), (90, 90, 20)]
ALIKE = [(50_000, 2_000, 90), (52_000, 2_100, 95), (48_000, 1_950, 80)]
MOSTLY_UNREAD = [(50_000, 2_000, 90)] * 5 + [(700, 1, 2), (300, 0, 1)]


@pytest.mark.parametrize(
    ("runs", "expected"), [(LARGE_THEN_DAILY, 0.75), (SMALL_ARE_WORST, 0.8), (ALIKE, 0.75), (MOSTLY_UNREAD, 0.5)]
)
def test_the_bounds_of_several_runs_cover_whatever_share_each_checks(
    runs: list[tuple[int, int, int]], expected: float
) -> None:
    random, trials, flagged = np.random.default_rng(2), 1_000, 500
    let_through = sum(missed for _, _, missed in runs)
    recall = flagged * len(runs) / (flagged * len(runs) + let_through)
    pooled = [
        sum(
            (
                Audit(flagged, cleared, checked, int(random.hypergeometric(missed, cleared - missed, checked)))
                for cleared, checked, missed in runs
            ),
            Audit(),
        )
        for _ in range(trials)
    ]
    for outside, risk in (
        (sum(audit.recall_low > recall for audit in pooled), 0.05),
        (sum(audit.recall_high < recall for audit in pooled), 0.01),
    ):
        assert outside <= trials * risk + 3 * math.sqrt(trials * risk * (1 - risk))
    assert np.mean([audit.recall_low for audit in pooled]) > expected  # the bound is of use


def test_runs_that_check_the_same_share_are_nearly_one_large_run() -> None:
    two, one = Audit(400, 8_000, 800, 20) + Audit(90, 1_000, 100, 0), Audit(490, 9_000, 900, 20)
    assert (two.recall_low, two.recall_high) == pytest.approx((one.recall_low, one.recall_high), abs=0.003)


def test_a_run_that_checks_nothing_counts_as_missed_and_nothing_cleared_changes_nothing() -> None:
    run = Audit(490, 9_000, 900, 20)
    assert (run + Audit() + Audit(10)).recall_low == Audit(500, 9_000, 900, 20).recall_low
    unchecked = run + Audit(0, 100)
    assert unchecked.recall_low == pytest.approx(490 / (490 / run.recall_low + 100))
    assert unchecked.recall_high == run.recall_high


def test_the_checks_that_are_needed_show_the_target_if_they_find_nothing() -> None:
    flagged, cleared = 19_000, 800_000
    needed = needed_checks(flagged, cleared, TARGET)
    assert needed is not None
    assert Audit(flagged, cleared, needed, 0).finding(TARGET) is Finding.shown
    assert Audit(flagged, cleared, needed - 1, 0).finding(TARGET) is Finding.not_shown
    assert Audit(flagged, cleared, needed, 1).finding(TARGET) is Finding.not_shown


def test_a_screen_that_keeps_its_promise_is_not_retired() -> None:
    retired = 0
    for seed in range(20):
        random, past = np.random.default_rng(seed), Audit()
        for _ in range(10):  # runs
            latest = audit(random, 0.96, 2_300)
            past += latest
            retired += is_broken(past, TARGET)
    assert retired == 0


def test_a_new_kind_of_violation_retires_the_screen_in_that_run_or_the_next() -> None:
    found = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        past = sum((audit(random, 0.96, 2_300) for _ in range(30)), Audit())
        first = audit(random, 0.64, 2_300)
        second = audit(random, 0.64, 2_300)
        found += is_broken(past + first, TARGET) or is_broken(past + first + second, TARGET)
    assert found >= 19


def test_small_runs_check_their_share_once_a_hundred_contents_are_checked() -> None:
    checked = []
    for _ in range(10):
        checked.append(num_checks(6, 60, TARGET, sum(checked)))
    assert checked == [60, 40, *[6] * 8]
    assert [num_checks(6, cleared, TARGET, 500) for cleared in (0, 1, 4, 999, 4_000)] == [0, 1, 1, 100, 400]
    # A large run checks what it would check as the first one.
    assert num_checks(19_000, 800_000, TARGET, 500) == num_checks(19_000, 800_000, TARGET)


def small_runs(seed: int, recalls: list[float]) -> int | None:
    """The run in which a screen is retired, of runs that clear about 60 contents each; None if it never is."""
    random, past = np.random.default_rng(seed), Audit()
    for number, recall in enumerate(recalls):
        flagged, missed = (int(random.binomial(8, share)) for share in (recall, 1 - recall))
        checked = num_checks(8, 60, TARGET, past.checked)
        past += Audit(flagged, 60, checked, int(random.hypergeometric(missed, 60 - missed, checked)))
        if is_broken(past, TARGET):
            return number
    return None


def test_small_runs_together_keep_a_screen_or_retire_it() -> None:
    assert not any(small_runs(seed, [0.99] * 100) for seed in range(20))
    # After a long good past, a third of the violations is of a new kind: found in as many contents as an audit checks.
    found = [small_runs(seed, [0.99] * 100 + [0.65] * 40) for seed in range(20)]
    assert sum(run is not None and run >= 100 for run in found) >= 19


@pytest.mark.parametrize("counts", [(0, 0, 0, 0), (5, 0, 0, 0), (0, 10, 5, 0), (0, 10, 5, 5)])
def test_an_audit_of_next_to_nothing_decides_without_failing(counts: tuple[int, int, int, int]) -> None:
    found = Audit(*counts)
    assert found.finding(TARGET) in Finding
    assert 0 <= found.recall_low <= found.recall_high <= 1


def test_nothing_cleared_needs_no_audit_and_shows_the_target() -> None:
    assert needed_checks(100, 0, TARGET) == 0
    assert Audit(100, 0, 0, 0).finding(TARGET) is Finding.shown


@pytest.mark.parametrize("counts", [(1, 10, 11, 0), (1, 10, 5, 6), (-1, 10, 5, 1), (1, 10, 5, -1)])
def test_impossible_counts_are_refused(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="impossible"):
        Audit(*counts)
