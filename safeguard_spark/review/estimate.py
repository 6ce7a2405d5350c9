"""Estimate: the violation rate of a table, corrected by what people decided about a sample of it. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from safeguard_spark.evaluation.intervals import LEVEL, Rate, Stratum, clopper_pearson, stratified_rate
from safeguard_spark.review.sampling import ReviewStratum


class Judged(NamedTuple):
    """An item that people have judged. `stratum` is null for items that were looked for.

    `violation` is null if they were unsure or the policy has a gap.
    """

    stratum: ReviewStratum | None
    violation: bool | None


@dataclass(frozen=True)
class CorrectedRates:
    """What a sample shows of a table: shares from 0 to 1. None: not measurable with this sample.

    `model`: the share that the model flags, exactly. `corrected`: the share of violations. `precision`: the share of
    violations among flagged contents. `undecided`: items of the sample without a yes or no.
    """

    model: float
    corrected: Rate | None
    precision: Rate | None
    undecided: int


def corrected_rates(
    items: Iterable[Judged], contents: Mapping[ReviewStratum, int], level: float = LEVEL
) -> CorrectedRates:
    """The rates of a table from one estimating sample of it; `contents` are the sizes of its strata.

    Items without a stratum never count: they were drawn because they looked wrong. An undecided item counts as safe in
    the lower end of an interval and as a violation in the upper end: leaving it out would assume that people are
    undecided about violations and safe contents alike.
    """
    sampled = [item for item in items if item.stratum is not None]
    total = sum(contents.values())
    by_stratum = {stratum: [item for item in sampled if item.stratum is stratum] for stratum in ReviewStratum}
    rates = {
        which: _rate({stratum: by_stratum[stratum] for stratum in strata}, contents, level)
        for which, strata in {"all": tuple(ReviewStratum), "flagged": (ReviewStratum.flagged,)}.items()
    }
    return CorrectedRates(
        model=contents[ReviewStratum.flagged] / total if total else 0.0,
        corrected=rates["all"],
        precision=rates["flagged"],
        undecided=sum(item.violation is None for item in sampled),
    )


def _rate(
    strata: Mapping[ReviewStratum, list[Judged]], contents: Mapping[ReviewStratum, int], level: float
) -> Rate | None:
    hits = {key: sum(item.violation is True for item in items) for key, items in strata.items()}
    undecided = {key: sum(item.violation is None for item in items) for key, items in strata.items()}
    value, lowest, highest = (
        stratified_rate([Stratum(h[key], n[key], contents[key]) for key in strata], level)
        for h, n in (
            (hits, {key: len(items) - undecided[key] for key, items in strata.items()}),
            (hits, {key: len(items) for key, items in strata.items()}),
            ({key: hits[key] + undecided[key] for key in strata}, {key: len(items) for key, items in strata.items()}),
        )
    )
    if value is None or lowest is None or highest is None:
        return None
    return replace(value, low=min(lowest.low, value.low), high=max(highest.high, value.high))


def share_with_bounds(hits: int, n: int, level: float = LEVEL) -> Rate | None:
    """A share with Clopper and Pearson's interval; None without contents."""
    if not n:
        return None
    low, high = clopper_pearson(hits, n, level)
    return Rate(hits / n, low, high, hits, n, float(n))
