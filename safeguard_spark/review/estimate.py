"""Estimate: the rates of a table, corrected by what people decided about a sample of it. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

from safeguard_spark.evaluation.intervals import (
    LEVEL,
    Rate,
    Stratum,
    clopper_pearson,
    stratified_rate,
    stratified_recall,
)
from safeguard_spark.review.sampling import ReviewStratum

METHOD = "MOVER over Clopper-Pearson"
MIN_DECISIONS = 30  # of a stratum, or all of it: with fewer its interval says next to nothing
FLAGGED, UNFLAGGED = ReviewStratum.flagged, ReviewStratum.unflagged


class Judged(NamedTuple):
    """Items that people have judged alike. `stratum` is null for items that were looked for.

    `violation` is null if they were unsure, differed, or the policy has a gap. `has_verdict`: whether the label says
    violation or safe.
    """

    stratum: ReviewStratum | None
    violation: bool | None
    items: int = 1
    has_verdict: bool = True


@dataclass(frozen=True)
class CorrectedRates:
    """What a sample shows of a table: shares from 0 to 1. None: not measurable with this sample.

    `model`: the share that the model flags, exactly. `corrected`: the share of violations. `precision`: the share of
    violations among flagged contents. `recall`: the share of violations that are flagged. `accuracy`: the share of
    contents that people and the model judge alike. `undecided`: items of the sample without a yes or no. `model` and
    `accuracy` are of the contents whose label has a verdict, the others of all: people can judge what the model cannot.
    """

    model: float | None
    corrected: Rate | None
    precision: Rate | None
    recall: Rate | None
    accuracy: Rate | None
    undecided: int


class _Counts(NamedTuple):
    violations: int = 0
    safe: int = 0
    undecided: int = 0

    @property
    def items(self) -> int:
        return sum(self)


class _Table(NamedTuple):
    """What people decided by stratum, and the sizes of the strata."""

    counts: Mapping[ReviewStratum, _Counts]
    contents: Mapping[ReviewStratum, int]

    @classmethod
    def of(cls, judged: Iterable[Judged], contents: Mapping[ReviewStratum, int]) -> "_Table":
        items = [*judged]
        return cls({key: _count(item for item in items if item.stratum is key) for key in ReviewStratum}, contents)


Estimator = Callable[[Stratum, Stratum, float], Rate | None]


def corrected_rates(
    judged: Iterable[Judged], contents: Mapping[ReviewStratum, int], not_judged: int = 0, level: float = LEVEL
) -> CorrectedRates:
    """The rates of a table from one estimating sample of it; `contents` are the sizes of its strata.

    `not_judged`: how many labels of the unflagged stratum have no verdict.

    Items without a stratum never count: they were drawn because they looked wrong. An undecided item widens an interval
    on both sides, as if it had been a violation and as if it had been safe: leaving it out would assume that people are
    undecided about violations and safe contents alike.
    """
    sampled = [item for item in judged if item.stratum is not None]
    everything = _Table.of(sampled, contents)
    # A random part of the stratum's items is a random sample of that part of the stratum.
    with_verdict = _Table.of(
        (item for item in sampled if item.has_verdict),
        {FLAGGED: contents[FLAGGED], UNFLAGGED: contents[UNFLAGGED] - not_judged},
    )

    def estimate(table: _Table, estimator: Estimator, *strata: ReviewStratum) -> Rate | None:
        if any(table.counts[key].items < min(MIN_DECISIONS, table.contents[key]) for key in strata):
            return None
        return _rate(estimator, table, level)

    total = sum(with_verdict.contents.values())
    return CorrectedRates(
        model=contents[FLAGGED] / total if total else None,
        corrected=estimate(everything, lambda f, u, at: stratified_rate([f, u], at), *ReviewStratum),
        precision=estimate(everything, lambda f, _, at: stratified_rate([f], at), FLAGGED),
        recall=estimate(everything, stratified_recall, *ReviewStratum),
        accuracy=estimate(
            with_verdict, lambda f, u, at: stratified_rate([f, u._replace(hits=u.n - u.hits)], at), *ReviewStratum
        ),
        undecided=sum(count.undecided for count in everything.counts.values()),
    )


def _count(items: Iterable[Judged]) -> _Counts:
    numbers = {True: 0, False: 0, None: 0}
    for item in items:
        numbers[item.violation] += item.items
    return _Counts(numbers[True], numbers[False], numbers[None])


def _rate(estimator: Estimator, table: _Table, level: float) -> Rate | None:
    """The rate by the decided items, with the widest interval that the undecided ones leave open."""
    counts, contents = table

    def strata(n: Callable[[_Counts], int], first: int = 0, second: int = 0) -> tuple[Stratum, Stratum]:
        """The strata of `n` items; of the undecided items of the first or the second, all are violations or none."""
        flagged, unflagged = counts[FLAGGED], counts[UNFLAGGED]
        return (
            Stratum(flagged.violations + first * flagged.undecided, n(flagged), contents[FLAGGED]),
            Stratum(unflagged.violations + second * unflagged.undecided, n(unflagged), contents[UNFLAGGED]),
        )

    value = estimator(*strata(lambda count: count.violations + count.safe), level)
    extremes = [estimator(*strata(lambda count: count.items, *which), level) for which in product((0, 1), repeat=2)]
    measured = [rate for rate in extremes if rate is not None]
    if value is None or len(measured) < len(extremes):
        return None
    low, high = min(rate.low for rate in measured), max(rate.high for rate in measured)
    return replace(value, low=min(low, value.low), high=max(high, value.high))


def share_with_bounds(hits: int, n: int, level: float = LEVEL) -> Rate | None:
    """A share with Clopper and Pearson's interval; None without contents."""
    if not n:
        return None
    low, high = clopper_pearson(hits, n, level)
    return Rate(hits / n, low, high, hits, n, float(n))
