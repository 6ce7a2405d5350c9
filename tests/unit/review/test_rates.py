"""The size of a sample, who is drawn with which probability, and what the decisions about it say of the table."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.review.estimate import Judged, corrected_rates, share_with_bounds
from safeguard_spark.review.sampling import ReviewStratum, allocate, probabilities, sample_size

pytestmark = pytest.mark.unit

FLAGGED, UNFLAGGED = ReviewStratum.flagged, ReviewStratum.unflagged
TABLE = {FLAGGED: 20_000, UNFLAGGED: 980_000}
counts = st.integers(0, 10**7)


def test_the_size_follows_from_the_interval() -> None:
    sizes = [sample_size(half_width, TABLE) for half_width in (0.01, 0.005, 0.003, 0.001)]
    assert sizes == [511, 1_085, 1_952, 8_036]
    assert sample_size(0.003, TABLE, share=0.02) == 2_175  # in proportion
    assert sample_size(0.003, {FLAGGED: 20, UNFLAGGED: 80}) is None  # all of them are too few to show it
    assert sample_size(0.003, {FLAGGED: 0, UNFLAGGED: 0}) is None


@given(st.integers(0, 10**5), counts, counts, st.floats(0, 1))
def test_as_many_are_drawn_as_there_are_and_no_more_than_asked_for(
    size: int, flagged: int, unflagged: int, share: float
) -> None:
    contents = {FLAGGED: flagged, UNFLAGGED: unflagged}
    drawn = allocate(size, contents, share)
    assert all(0 <= drawn[stratum] <= contents[stratum] for stratum in contents)
    assert sum(drawn.values()) == min(size, flagged + unflagged)
    assert all(0 <= p <= 1 for p in probabilities(size, contents, share).values())


def test_a_quarter_is_flagged_unless_there_are_fewer() -> None:
    assert allocate(1_900, TABLE) == {FLAGGED: 475, UNFLAGGED: 1_425}
    assert allocate(1_900, {FLAGGED: 100, UNFLAGGED: 10_000}) == {FLAGGED: 100, UNFLAGGED: 1_800}
    assert allocate(1_900, {FLAGGED: 10_000, UNFLAGGED: 100}) == {FLAGGED: 1_800, UNFLAGGED: 100}


def test_in_a_world_whose_truth_is_known_the_corrected_interval_covers_it_and_others_do_not() -> None:
    """1,000,000 contents, 2 % flagged with precision 0.7, and 0.2 % of the others are violations that were missed."""
    precision, miss_rate = 0.7, 0.002
    truth = (TABLE[FLAGGED] * precision + TABLE[UNFLAGGED] * miss_rate) / sum(TABLE.values())
    chosen = probabilities(1_900, TABLE)
    corrected = of_all_decisions = 0
    for seed in range(100):
        chance = random.Random(seed)
        items = []
        for stratum, rate in ((FLAGGED, precision), (UNFLAGGED, miss_rate)):
            expected = TABLE[stratum] * chosen[stratum]
            drawn = round(chance.gauss(expected, expected**0.5))  # each content is drawn or not by its own hash
            items += [Judged(stratum, chance.random() < rate) for _ in range(drawn)]
        # Queues that look for errors: full of violations that the model missed, and of false alarms.
        found = [Judged(None, chance.random() < 0.6) for _ in range(1_000)]
        rates = corrected_rates([*items, *found], TABLE)
        assert rates.corrected and rates.precision
        assert rates.corrected == corrected_rates(items, TABLE).corrected
        corrected += rates.corrected.low <= truth <= rates.corrected.high
        everything = share_with_bounds(sum(item.violation is True for item in [*items, *found]), len(items) + 1_000)
        of_all_decisions += bool(everything and everything.low <= truth <= everything.high)
    assert corrected >= 93
    assert of_all_decisions == 0
    model = share_with_bounds(TABLE[FLAGGED], sum(TABLE.values()))
    assert model and rates.model == model.value and not model.low <= truth <= model.high


def test_an_undecided_item_widens_the_interval_on_both_sides() -> None:
    decided = [Judged(FLAGGED, n < 40) for n in range(50)] + [Judged(UNFLAGGED, False) for _ in range(150)]
    unsure = decided + [Judged(FLAGGED, None)] * 10 + [Judged(UNFLAGGED, None)] * 10
    one, other = corrected_rates(decided, TABLE), corrected_rates(unsure, TABLE)
    assert one.corrected and other.corrected and other.undecided == 20
    assert other.corrected.value == one.corrected.value
    assert other.corrected.low < one.corrected.low < one.corrected.high < other.corrected.high


def test_what_no_decision_is_about_is_not_measurable() -> None:
    flagged = [Judged(FLAGGED, True)] * 30
    rates = corrected_rates(flagged, TABLE)
    assert rates.corrected is None and rates.precision is not None and rates.model == 0.02
    assert corrected_rates([Judged(UNFLAGGED, False)] * 30, TABLE).precision is None
    assert corrected_rates([Judged(FLAGGED, None), Judged(UNFLAGGED, False)], TABLE).corrected is None
    # A table without flagged contents needs no decision about any.
    assert corrected_rates([Judged(UNFLAGGED, False)] * 30, {FLAGGED: 0, UNFLAGGED: 99}).corrected is not None
    assert share_with_bounds(0, 0) is None
