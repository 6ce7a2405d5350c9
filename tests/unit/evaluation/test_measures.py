"""Scores on a golden set: every content is counted once, and an unreadable answer never makes a score better."""

from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.evaluation.differences import (
    PAIRED,
    ItemPairCount,
    MetricDifference,
    PairCount,
    RepeatCount,
    disagreement,
    exact_match_differences,
    paired_differences,
)
from safeguard_spark.evaluation.measures import (
    Answer,
    Count,
    ItemCount,
    Measure,
    Metric,
    Unreadable,
    confusions,
    exact_match,
    is_right,
    measure,
)
from safeguard_spark.policy.document import ALL

pytestmark = pytest.mark.unit

SET = "golden@1"
LESS_IS_BETTER = (Measure.false_positive_rate, Measure.unreadable_rate)

answers = st.sampled_from([True, False, None])
some_counts = st.lists(
    st.builds(Count, st.sampled_from(["hate", "spam"]), st.sampled_from([ALL, "kind=a"]), answers, answers,
              st.integers(1, 40)),
    max_size=14,
)  # fmt: skip
pairs = st.builds(PairCount, st.just("hate"), st.just(ALL), answers, answers, answers, st.integers(1, 40))


def by_measure(metrics: Iterable[Metric]) -> dict[Measure, Metric]:
    return {metric.metric: metric for metric in metrics}


def test_an_unreadable_answer_is_wrong_and_its_rate_is_beside_the_scores() -> None:
    counts = [
        Count("hate", ALL, True, True, 80), Count("hate", ALL, True, False, 10), Count("hate", ALL, True, None, 10),
        Count("hate", ALL, False, False, 180), Count("hate", ALL, False, True, 12), Count("hate", ALL, False, None, 8),
        Count("hate", ALL, None, True, 500), Count("hate", ALL, None, None, 7),
    ]  # fmt: skip
    metrics = by_measure(measure(SET, counts))
    recall = metrics[Measure.recall]
    assert (recall.tp, recall.fp, recall.fn, recall.tn) == (80, 20, 20, 180)
    assert (recall.n, recall.positives, recall.unreadable, recall.unknown) == (300, 100, 18, 507)
    assert {name: metric.value for name, metric in metrics.items()} == {
        Measure.recall: 0.8, Measure.precision: 0.8, Measure.f1: pytest.approx(0.8), Measure.accuracy: 260 / 300,
        Measure.false_positive_rate: 0.1, Measure.unreadable_rate: 18 / 300,
    }  # fmt: skip
    assert recall.low is not None and recall.high is not None and 0.71 < recall.low < 0.8 < recall.high < 0.87
    assert (recall.method, metrics[Measure.f1].method) == ("wilson", "wilson_jaccard")


def test_unreadable_answers_are_left_out_only_where_that_is_said() -> None:
    counts = [Count("hate", ALL, True, True, 9), Count("hate", ALL, True, None, 1), Count("hate", ALL, False, None, 5)]
    metrics = by_measure(measure(SET, counts, Unreadable.left_out))
    assert metrics[Measure.recall].value == metrics[Measure.precision].value == 1
    assert (metrics[Measure.recall].n, metrics[Measure.recall].unreadable) == (9, 6)
    assert metrics[Measure.unreadable_rate].value == 6 / 15


def test_what_cannot_be_measured_has_no_value() -> None:
    metrics = by_measure(measure(SET, [Count("hate", "kind=a", None, True, 3)]))
    assert set(metrics) == set(Measure) - {Measure.exact_match, Measure.disagreement}
    for metric in metrics.values():
        assert (metric.value, metric.low, metric.high, metric.n, metric.unknown) == (None, None, None, 0, 3)
    only_safe = by_measure(measure(SET, [Count("hate", ALL, False, False, 20)]))
    assert only_safe[Measure.recall].value is only_safe[Measure.f1].value is None
    assert only_safe[Measure.false_positive_rate].value == 0 and only_safe[Measure.accuracy].value == 1


def test_a_metric_has_the_keys_that_programs_read() -> None:
    (metric, *_) = measure(SET, [Count("hate", "kind=a", True, True, 3)])
    assert list(metric.to_json()) == [
        "set", "policy", "slice", "metric", "value", "low", "high", "n", "positives", "tp", "fp", "fn", "tn",
        "unreadable", "unknown", "method",
    ]  # fmt: skip
    assert metric.to_json()["metric"] == "recall"


@given(some_counts)
def test_every_content_is_counted_once(counts: list[Count]) -> None:
    totals: Counter[tuple[str, str]] = Counter()
    for count in counts:
        totals[count.policy, count.slice] += count.contents
    cells = confusions(counts)
    assert {key: c.n + c.unknown for key, c in cells.items()} == totals
    for c in cells.values():
        readable = c.readable
        assert readable.n + c.unreadable == c.n and readable.unreadable == 0 and min(readable) >= 0
    for metric in measure(SET, counts):
        assert metric.n == (metric.tp or 0) + (metric.fp or 0) + (metric.fn or 0) + (metric.tn or 0)
        assert metric.value is None or (metric.low or 0) <= metric.value <= (metric.high or 0)
    assert measure(SET, counts) == measure(SET, counts[::-1])


@given(some_counts, st.data())
def test_an_answer_that_becomes_unreadable_makes_no_score_better(counts: list[Count], data: st.DataObject) -> None:
    if not counts:
        return
    index = data.draw(st.integers(0, len(counts) - 1))
    worse = [count._replace(predicted=None) if at == index else count for at, count in enumerate(counts)]
    for before, after in zip(measure(SET, counts), measure(SET, worse), strict=True):
        for old, new in ((before.value, after.value), (before.low, after.low), (before.high, after.high)):
            if old is None or new is None:
                continue
            assert new >= old - 1e-12 if before.metric in LESS_IS_BETTER else new <= old + 1e-12


@pytest.mark.parametrize(
    ("content", "right"),
    [
        ([Answer(True, True), Answer(False, False)], True),
        ([Answer(True, True), Answer(False, True)], False),
        ([Answer(True, True), Answer(False, None)], False),
        ([Answer(True, True), Answer(None, None), Answer(None, True)], True),
        ([Answer(None, True)], None),
        ([], None),
    ],
)
def test_a_content_is_right_only_if_all_its_policies_are(content: list[Answer], right: bool | None) -> None:
    assert is_right(content) is right


def test_the_exact_match_is_over_contents() -> None:
    counts = [
        ItemCount(ALL, True, False, 46), ItemCount(ALL, False, False, 44), ItemCount(ALL, False, True, 10),
        ItemCount(ALL, None, True, 5), ItemCount("kind=a", None, False, 2),
    ]  # fmt: skip
    whole, empty = exact_match(SET, counts)
    assert (whole.policy, whole.slice, whole.metric, whole.value, whole.n) == (ALL, ALL, "exact_match", 0.46, 100)
    assert (whole.unreadable, whole.unknown, whole.tp, whole.positives) == (10, 5, None, None)
    assert (empty.slice, empty.value, empty.n, empty.unknown) == ("kind=a", None, 0, 2)


def test_two_labelers_are_compared_on_the_same_contents() -> None:
    counts = [
        PairCount("hate", ALL, True, True, True, 70), PairCount("hate", ALL, True, True, False, 20),
        PairCount("hate", ALL, True, None, True, 4), PairCount("hate", ALL, True, False, None, 6),
        PairCount("hate", ALL, False, None, False, 5), PairCount("hate", ALL, False, False, True, 25),
        PairCount("hate", ALL, False, False, False, 70), PairCount("hate", ALL, None, True, False, 900),
    ]  # fmt: skip
    gaps = {gap.metric: gap for gap in paired_differences(SET, counts)}
    recall = gaps[Measure.recall]
    assert (recall.value, recall.n, recall.first_only, recall.second_only) == (0.16, 100, 20, 4)
    assert recall.low is not None and recall.low > 0 and recall.p_value < 0.01
    alarms = gaps[Measure.false_positive_rate]
    assert (alarms.value, alarms.n, alarms.first_only, alarms.second_only) == (-0.2, 100, 5, 25)
    assert gaps[Measure.accuracy].value == (90 + 95 - 74 - 75) / 200  # violations and safe contents right
    assert gaps[Measure.unreadable_rate].value == (9 - 6) / 200


@given(st.lists(pairs, max_size=8))
def test_a_paired_difference_is_the_difference_of_the_two_scores(counts: list[PairCount]) -> None:
    first = by_measure(measure(SET, [Count(c.policy, c.slice, c.expected, c.first, c.contents) for c in counts]))
    second = by_measure(measure(SET, [Count(c.policy, c.slice, c.expected, c.second, c.contents) for c in counts]))
    gaps = paired_differences(SET, counts)
    assert [gap.metric for gap in gaps] == (list(PAIRED) if counts else [])
    for gap in gaps:
        one, other = first[gap.metric].value, second[gap.metric].value
        if one is None or other is None:
            assert (gap.value, gap.n, gap.p_value) == (None, 0, 1)
        else:
            assert gap.value == pytest.approx(one - other, abs=1e-12)
    back = paired_differences(SET, [c._replace(first=c.second, second=c.first) for c in counts])
    assert [gap.p_value for gap in back] == [gap.p_value for gap in gaps]


def test_exact_matches_are_compared_per_slice() -> None:
    counts = [
        ItemPairCount(ALL, True, True, 40), ItemPairCount(ALL, True, False, 30), ItemPairCount(ALL, False, True, 10),
        ItemPairCount(ALL, False, False, 20),
    ]  # fmt: skip
    (gap,) = exact_match_differences(SET, counts)
    assert isinstance(gap, MetricDifference) and gap.metric is Measure.exact_match and gap.policy == ALL
    assert (gap.value, gap.n, gap.first_only, gap.second_only) == (0.2, 100, 30, 10)
    assert gap.to_json()["method"] == "newcombe_paired"


def test_a_labeler_disagrees_with_itself_by_pairs_of_runs() -> None:
    def rate_of(*counts: RepeatCount) -> float | None:
        (metric,) = disagreement(SET, counts)
        return metric.value

    assert rate_of(RepeatCount("hate", ALL, 2, 0, 0, 95), RepeatCount("hate", ALL, 1, 1, 0, 5)) == 0.05
    assert rate_of(RepeatCount("hate", ALL, 1, 4, 0, 1)) == pytest.approx(0.4)  # 4 of 10 pairs
    assert rate_of(RepeatCount("hate", ALL, 1, 1, 1, 1)) == 1
    assert rate_of(RepeatCount("hate", ALL, 0, 0, 3, 1)) == 0
    (alone,) = disagreement(SET, [RepeatCount("hate", ALL, 1, 0, 0, 8)])
    assert (alone.value, alone.n, alone.unknown) == (None, 0, 8)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4), st.integers(1, 9)), min_size=1))
def test_disagreement_is_a_share_of_contents_with_two_runs(repeats: list[tuple[int, int, int, int]]) -> None:
    (metric,) = disagreement(SET, [RepeatCount("hate", ALL, *repeat) for repeat in repeats])
    assert metric.n == sum(contents for *runs, contents in repeats if sum(runs) > 1)
    if metric.value is not None and metric.low is not None and metric.high is not None:
        assert 0 <= metric.low <= metric.value + 1e-12 and metric.value <= metric.high + 1e-12 <= 1 + 1e-9
