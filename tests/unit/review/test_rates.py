"""The size of a sample, who is drawn with which probability, and what the decisions about it say of the table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.review.draws import DrawRequest, FindingQueue
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


def test_an_undecided_item_widens_the_interval_on_both_sides() -> None:
    decided = [Judged(FLAGGED, True, 40), Judged(FLAGGED, False, 10), Judged(UNFLAGGED, False, 149)]
    decided.append(Judged(UNFLAGGED, True))
    unsure = [*decided, Judged(FLAGGED, None, 10), *[Judged(UNFLAGGED, None)] * 10]
    one, other = corrected_rates(decided, TABLE), corrected_rates(unsure, TABLE)
    assert one.corrected and other.corrected and other.undecided == 20
    for name in ("corrected", "precision", "recall", "accuracy"):
        narrow, wide = getattr(one, name), getattr(other, name)
        assert wide.value == narrow.value
        assert wide.low < narrow.low < narrow.value < narrow.high < wide.high, name


def test_what_no_decision_is_about_is_not_measurable() -> None:
    flagged = [Judged(FLAGGED, True, 30)]
    rates = corrected_rates(flagged, TABLE)
    assert rates.corrected is rates.recall is rates.accuracy is None
    assert rates.precision is not None and rates.model == 0.02
    assert corrected_rates([Judged(UNFLAGGED, False, 30)], TABLE).precision is None
    few = [Judged(FLAGGED, True, 29), Judged(UNFLAGGED, False, 29)]
    assert corrected_rates(few, TABLE) == corrected_rates([], TABLE)
    assert corrected_rates([Judged(FLAGGED, None, 30), Judged(UNFLAGGED, False, 30)], TABLE).corrected is None
    # A stratum that is smaller is judged whole, and one without contents needs no decision.
    tiny = {FLAGGED: 9, UNFLAGGED: 99}
    assert corrected_rates([Judged(FLAGGED, True, 9), Judged(UNFLAGGED, False, 30)], tiny).corrected is not None
    none_flagged = corrected_rates([Judged(UNFLAGGED, False, 30)], {FLAGGED: 0, UNFLAGGED: 99})
    assert none_flagged.corrected is not None and none_flagged.recall is None and none_flagged.precision is None
    assert share_with_bounds(0, 0) is None


@pytest.mark.parametrize(
    ("precision", "miss_rate", "share"),
    [
        (0.7, 0.002, 0.02),
        (0.8, 0.0005, 0.02),
        (0.5, 0.01, 0.01),
        (0.02, 0.002, 0.02),
        (0.9, 0.1, 0.5),
        (0.8, 0.0, 0.02),
    ],
)
def test_the_intervals_cover_what_they_say(precision: float, miss_rate: float, share: float) -> None:
    import numpy as np

    chance = np.random.default_rng(7)
    contents = {FLAGGED: round(100_000 * share), UNFLAGGED: round(100_000 * (1 - share))}
    size, worlds = allocate(1_900, contents), 300
    caught, missed = contents[FLAGGED] * precision, contents[UNFLAGGED] * miss_rate
    truth = {
        "corrected": (caught + missed) / 100_000, "precision": precision, "recall": caught / (caught + missed),
        "accuracy": 1 - (contents[FLAGGED] - caught + missed) / 100_000,
    }  # fmt: skip
    covered = dict.fromkeys(truth, 0)
    for _ in range(worlds):
        hits = {
            FLAGGED: chance.binomial(size[FLAGGED], precision),
            UNFLAGGED: chance.binomial(size[UNFLAGGED], miss_rate),
        }
        judged = [Judged(key, True, int(hits[key])) for key in hits]
        judged += [Judged(key, False, size[key] - int(hits[key])) for key in hits]
        rates = corrected_rates(judged, contents)
        for name, value in truth.items():
            rate = getattr(rates, name)
            covered[name] += rate.low <= value <= rate.high
    assert all(count / worlds >= 0.93 for count in covered.values()), covered


def test_a_draw_without_calibration_items_is_the_one_of_earlier_releases() -> None:
    request = {"size": 240, "queues": (FindingQueue.unreadable,)}
    assert DrawRequest(**request).sample_id(labels=3) == "sc301cc055db"  # type: ignore[arg-type]
    assert DrawRequest(**request, calibration="known").sample_id(labels=3) != "sc301cc055db"  # type: ignore[arg-type]
