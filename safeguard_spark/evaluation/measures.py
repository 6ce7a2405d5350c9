"""Measures: from counted verdicts on a golden set to rates with their intervals.

Pure: Spark only counts. An answer that could not be read is wrong, whatever the human answer: a miss on a violation, a
false alarm on safe content. The rate of unreadable answers stands beside every score, so that both readings are there.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from safeguard_spark.evaluation.intervals import Difference, Rate, Weighted, f1_rate, rate
from safeguard_spark.policy.document import ALL


class Measure(StrEnum):
    """What is measured. The comment is the share: what counts, over what."""

    recall = "recall"  # flagged violations / violations
    precision = "precision"  # violations / flagged contents
    f1 = "f1"
    false_positive_rate = "false_positive_rate"  # flagged safe contents / safe contents
    accuracy = "accuracy"  # right answers / contents
    unreadable_rate = "unreadable_rate"  # answers that could not be read / contents
    exact_match = "exact_match"  # contents that are right under every policy / contents
    disagreement = "disagreement"  # pairs of runs that answer differently / pairs of runs of a content


class Unreadable(StrEnum):
    """How an unreadable answer counts. `left_out` is for comparison with figures that others publish."""

    wrong = "wrong"
    left_out = "left_out"


class Count(NamedTuple):
    """A number of contents of a slice with the same answers. A content belongs to `ALL` and to a slice per column.

    `slice`: `ALL`, or `column=value`. `expected`: whether people called it a violation, None if unknown. `predicted`:
    whether the labeler did, None if its answer could not be read.
    """

    policy: str
    slice: str
    expected: bool | None
    predicted: bool | None
    contents: int


class Confusion(NamedTuple):
    """Contents of one policy and slice by human answer and verdict. Contents with unknown answers are in none of them.

    `fn` includes `unreadable_positives` and `fp` includes `unreadable_negatives`.
    """

    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0
    unreadable_positives: int = 0
    unreadable_negatives: int = 0
    unknown: int = 0

    @property
    def n(self) -> int:
        """Contents with a known answer."""
        return self.tp + self.fp + self.fn + self.tn

    @property
    def positives(self) -> int:
        """Violations."""
        return self.tp + self.fn

    @property
    def unreadable(self) -> int:
        """Contents with a known answer whose verdict could not be read."""
        return self.unreadable_positives + self.unreadable_negatives

    @property
    def readable(self) -> "Confusion":
        """The same without the contents whose verdict could not be read."""
        fp, fn = self.fp - self.unreadable_negatives, self.fn - self.unreadable_positives
        return Confusion(self.tp, fp, fn, self.tn, unknown=self.unknown)


class Share(NamedTuple):
    """What counts, of how many."""

    hits: int
    n: int


SHARES: dict[Measure, Callable[[Confusion], Share]] = {
    Measure.recall: lambda c: Share(c.tp, c.positives),
    Measure.precision: lambda c: Share(c.tp, c.tp + c.fp),
    Measure.false_positive_rate: lambda c: Share(c.fp, c.fp + c.tn),
    Measure.accuracy: lambda c: Share(c.tp + c.tn, c.n),
    Measure.unreadable_rate: lambda c: Share(c.unreadable, c.n),
}


class Ends(NamedTuple):
    """A value and the ends of its interval; None where nothing could be measured."""

    value: float | None = None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, result: Rate | Difference | None) -> "Ends":
        """Of a rate or a difference."""
        return cls() if result is None else cls(result.value, result.low, result.high)


@dataclass(frozen=True)
class Estimate:
    """One number about one policy and slice of a set, with its interval (95 %); None where nothing could be measured.

    `n`: contents that it comes from.
    """

    set: str
    policy: str
    slice: str
    metric: Measure
    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Metric(Estimate):
    """One number of an evaluation, with the counts it comes from.

    `n`: contents with a known answer; for `exact_match` and `disagreement` contents. The four counts are None for these
    two.
    """

    positives: int | None
    tp: int | None
    fp: int | None
    fn: int | None
    tn: int | None
    unreadable: int
    unknown: int
    method: str

    @classmethod
    def of_contents(
        cls, golden_set: str, policy: str, slice_: str, metric: Measure, ends: Ends, n: int, unreadable: int,
        unknown: int,
    ) -> "Metric":  # fmt: skip
        """A metric of contents as a whole, which has no true and false positives."""
        return cls(
            golden_set, policy, slice_, metric, *ends, n, positives=None, tp=None, fp=None, fn=None, tn=None,
            unreadable=unreadable, unknown=unknown, method="wilson",
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """For programs: as `evaluate --json` prints it."""
        return asdict(self)


def confusions(counts: Iterable[Count]) -> dict[tuple[str, str], Confusion]:
    """The confusion of every (policy, slice), in alphabetical order, `ALL` first."""
    totals: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for policy, slice_, expected, predicted, contents in counts:
        cells = totals[policy, slice_]
        if expected is None:
            cells["unknown"] += contents
            continue
        flagged = (not expected) if predicted is None else predicted
        cells[("tp" if flagged else "fn") if expected else ("fp" if flagged else "tn")] += contents
        if predicted is None:
            cells["unreadable_positives" if expected else "unreadable_negatives"] += contents
    return {key: Confusion(**totals[key]) for key in sorted(totals)}


def measure(golden_set: str, counts: Iterable[Count], unreadable: Unreadable = Unreadable.wrong) -> list[Metric]:
    """Recall, precision, F1, false positive rate, accuracy and unreadable rate of every policy and slice.

    `golden_set`: name@version. The counts of a metric are those that the rule for unreadable answers leaves; the number
    and the rate of unreadable answers are the same under both rules.
    """
    metrics = []
    for (policy, slice_), everything in confusions(counts).items():
        scored = everything if unreadable is Unreadable.wrong else everything.readable
        for name in (*SHARES, Measure.f1):
            cells = everything if name is Measure.unreadable_rate else scored
            result = f1_rate(cells.tp, cells.fp, cells.fn) if name is Measure.f1 else _rate(SHARES[name](cells))
            metrics.append(
                Metric(
                    golden_set, policy, slice_, name, *Ends.of(result), cells.n, cells.positives, cells.tp, cells.fp,
                    cells.fn, cells.tn, everything.unreadable, cells.unknown,
                    "wilson_jaccard" if name is Measure.f1 else "wilson",
                )
            )  # fmt: skip
    return metrics


class ItemCount(NamedTuple):
    """A number of contents of a slice that are all right, or not, under every policy with a known answer.

    `right`: see `is_right`; None if no policy's answer is known. `unreadable`: whether one of these could not be read.
    """

    slice: str
    right: bool | None
    unreadable: bool
    contents: int


class Answer(NamedTuple):
    """A human answer and a verdict under one policy; None is unknown and unreadable."""

    expected: bool | None
    predicted: bool | None


def is_right(answers: Iterable[Answer]) -> bool | None:
    """Whether a content is right under all its policies; an unknown answer is left out, None if all are.

    The multi-policy score that gpt-oss-safeguard was published with.
    """
    known = [answer for answer in answers if answer.expected is not None]
    return all(answer.expected == answer.predicted for answer in known) if known else None


def item_share(items: Iterable[ItemCount]) -> Share:
    """Of the contents with a known answer, those that are right under every policy."""
    known = [item for item in items if item.right is not None]
    return Share(sum(item.contents for item in known if item.right), sum(item.contents for item in known))


def exact_match(golden_set: str, counts: Iterable[ItemCount]) -> list[Metric]:
    """The share of contents that are right under every policy, per slice. The interval is over contents."""
    slices: dict[str, list[ItemCount]] = defaultdict(list)
    for count in counts:
        slices[count.slice].append(count)
    metrics = []
    for slice_, items in sorted(slices.items()):
        share = item_share(items)
        unreadable = sum(item.contents for item in items if item.unreadable and item.right is not None)
        unknown = sum(item.contents for item in items) - share.n
        metrics.append(
            Metric.of_contents(
                golden_set, ALL, slice_, Measure.exact_match, Ends.of(_rate(share)), share.n, unreadable, unknown
            )
        )
    return metrics


def _rate(share: Share) -> Rate | None:
    return rate([Weighted(share.hits, 1, True), Weighted(share.n - share.hits, 1, False)])
