"""Differences: one labeler or version against another on the same contents, and one against itself."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from safeguard_spark.evaluation.intervals import PairedCounts, mcnemar, paired_difference, wilson
from safeguard_spark.evaluation.measures import Ends, Estimate, Measure, Metric
from safeguard_spark.policy.document import ALL


class RepeatCount(NamedTuple):
    """A number of contents that were labelled several times, with the same numbers of answers of each kind."""

    policy: str
    slice: str
    violation: int
    safe: int
    unreadable: int
    contents: int


def disagreement(golden_set: str, counts: Iterable[RepeatCount]) -> list[Metric]:
    """How often two runs of one labeler answer the same content differently, per policy and slice.

    The mean over contents of the share of pairs of runs that differ, so it does not depend on the number of runs; an
    unreadable answer differs from a verdict. The interval is Wilson's over contents. A mean of shares varies no more
    than a share does, so it is rather too wide than too narrow. Contents with one run are left out, and counted as
    unknown.
    """
    groups: dict[tuple[str, str], list[RepeatCount]] = defaultdict(list)
    for count in counts:
        groups[count.policy, count.slice].append(count)
    metrics = []
    for (policy, slice_), repeats in sorted(groups.items()):
        n, differing, unreadable = 0, 0.0, 0
        for _, _, violation, safe, unread, contents in repeats:
            runs = violation + safe + unread
            if runs < 2:
                continue
            same = sum(answers * (answers - 1) for answers in (violation, safe, unread))
            n += contents
            differing += contents * (1 - same / (runs * (runs - 1)))
            unreadable += contents if unread else 0
        ends = Ends(differing / n, *wilson(differing / n, n)) if n else Ends()
        unknown = sum(repeat.contents for repeat in repeats) - n
        metrics.append(
            Metric.of_contents(golden_set, policy, slice_, Measure.disagreement, ends, n, unreadable, unknown)
        )
    return metrics


class PairCount(NamedTuple):
    """A number of contents of a slice with the same human answer and the same two verdicts; None as in `Count`."""

    policy: str
    slice: str
    expected: bool | None
    first: bool | None
    second: bool | None
    contents: int


@dataclass(frozen=True)
class MetricDifference(Estimate):
    """A metric of the first labeler or version minus that of the second, on the same contents.

    `first_only`, `second_only`: contents that count for one of them alone. `p_value`: McNemar's exact test.
    """

    first_only: int
    second_only: int
    p_value: float
    method: str = "newcombe_paired"

    def to_json(self) -> dict[str, Any]:
        """For programs: as `evaluate --versus --json` prints it."""
        return asdict(self)


# Precision and F1 are not here: they are over what each side flagged, which are not the same contents.
PAIRED = (Measure.recall, Measure.false_positive_rate, Measure.accuracy, Measure.unreadable_rate)


def paired_differences(golden_set: str, counts: Iterable[PairCount]) -> list[MetricDifference]:
    """The paired differences of recall, false positive rate, accuracy and unreadable rate per policy and slice."""
    groups: dict[tuple[str, str], list[PairCount]] = defaultdict(list)
    for count in counts:
        groups[count.policy, count.slice].append(count)
    differences = []
    for (policy, slice_), pairs in sorted(groups.items()):
        for metric in PAIRED:
            cells = _paired_counts(
                (_is_hit(metric, pair.expected, pair.first), _is_hit(metric, pair.expected, pair.second), pair.contents)
                for pair in pairs
            )
            differences.append(_difference(golden_set, policy, slice_, metric, cells))
    return differences


def _is_hit(metric: Measure, expected: bool | None, predicted: bool | None) -> bool | None:
    """Whether a content counts for a metric; None if the metric is not over it. As in `measures.SHARES`."""
    if expected is None:
        return None
    match metric:
        case Measure.recall:
            return predicted is True if expected else None
        case Measure.false_positive_rate:
            return None if expected else predicted is not False
        case Measure.accuracy:
            return predicted == expected
    return predicted is None


class ItemPairCount(NamedTuple):
    """A number of contents of a slice that are right, or not, under every policy, by both labelers (`is_right`)."""

    slice: str
    first: bool
    second: bool
    contents: int


def exact_match_differences(golden_set: str, counts: Iterable[ItemPairCount]) -> list[MetricDifference]:
    """The paired difference of the exact match per slice. Contents without a known answer are not to be counted."""
    slices: dict[str, list[ItemPairCount]] = defaultdict(list)
    for count in counts:
        slices[count.slice].append(count)
    return [
        _difference(golden_set, ALL, slice_, Measure.exact_match, _paired_counts(pair[1:] for pair in pairs))
        for slice_, pairs in sorted(slices.items())
    ]


def _paired_counts(pairs: Iterable[tuple[bool | None, bool | None, int]]) -> PairedCounts:
    cells = {(True, True): 0, (True, False): 0, (False, True): 0, (False, False): 0}
    for first, second, contents in pairs:
        if first is not None and second is not None:
            cells[first, second] += contents
    return PairedCounts(*cells.values())


def _difference(golden_set: str, policy: str, slice_: str, metric: Measure, cells: PairedCounts) -> MetricDifference:
    ends, p_value = Ends.of(paired_difference(cells)), mcnemar(cells.first_only, cells.second_only)
    return MetricDifference(
        golden_set, policy, slice_, metric, *ends, sum(cells), cells.first_only, cells.second_only, p_value
    )
