"""The threshold: strictly below which score a screen may clear, and what that spares.

What is promised: with probability 1 - risk over the calibration contents, the screen keeps at least the share `target`
of the violations that the reasoner would find, whatever the distribution of the scores (a tolerance limit; S. S. Wilks,
1941). It holds for contents like those it was calibrated on, so what was cleared has to be audited.

With strata, such as languages, the promise is made for each stratum, and with probability 1 - risk all of them keep it:
the risk is divided evenly over the strata, because the probability that any of them breaks it is at most the sum (C. E.
Bonferroni, 1936).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from safeguard_spark.errors import GateError
from safeguard_spark.evaluation.intervals import LEVEL, Rate, Weighted, rate, screen_rank, smallest_n
from safeguard_spark.screen.audit import num_checks
from safeguard_spark.screen.scorer import Scores

WORTH_IT = 0.1  # of a run's calls: what trains, audits and watches a screen costs people's time too
TARGETS = (0.99, 0.98, 0.95, 0.90, 0.80)  # what a plan shows


Strata = Sequence[str | None]  # of contents; None for a content whose stratum is not known


class Scored(NamedTuple):
    """Distinct contents with a screen's scores and the reasoner's verdicts, in one order; of some screens, strata."""

    scores: Scores
    violations: npt.NDArray[np.bool_]
    strata: Strata | None = None

    @property
    def positives(self) -> Scores:
        """The scores of the violations."""
        return self.scores[self.violations]

    @property
    def positives_by_stratum(self) -> dict[str | None, Scores]:
        """`positives` of each stratum that is known; without strata all of them, as those of None."""
        if self.strata is None:
            return {None: self.positives}
        of = np.array(self.strata, dtype=object)
        names = sorted({name for name in self.strata if name is not None})
        return {name: self.scores[self.violations & (of == name)] for name in names}


@dataclass(frozen=True)
class Threshold:
    """A screen clears a content whose score is strictly below `score`.

    `positives`: calibration violations, of which `rank` lie below it.
    """

    target: float
    risk: float
    positives: int
    rank: int
    score: float

    def clears(self, scores: Scores) -> npt.NDArray[np.bool_]:
        """Which contents are cleared. A score that is not a number clears nothing."""
        return scores < self.score


def distances(thresholds: Mapping[str | None, float], scores: Scores, strata: Strata | None) -> Scores:
    """By how much each score is above the threshold of its stratum: contents below 0 are cleared.

    Without strata the threshold is that of None. Infinite for a content whose stratum has no threshold.
    """
    of = [None] * len(scores) if strata is None else strata
    return scores - np.array([thresholds.get(stratum, -np.inf) for stratum in of], dtype=np.float64)


class Thresholds(NamedTuple):
    """The thresholds of a screen by stratum, which is None if it has no strata.

    `too_few`: the violations of each other stratum; one of these would need `needed`.
    """

    by_stratum: dict[str | None, Threshold]
    too_few: dict[str | None, int]
    needed: int | None

    @property
    def positives(self) -> int:
        """Calibration violations of the strata with a threshold."""
        return sum(threshold.positives for threshold in self.by_stratum.values())

    @property
    def rank(self) -> int:
        """How many of these lie below the threshold of their stratum."""
        return sum(threshold.rank for threshold in self.by_stratum.values())

    def clears(self, scored: Scored) -> npt.NDArray[np.bool_]:
        """Which contents are cleared."""
        limits = {stratum: threshold.score for stratum, threshold in self.by_stratum.items()}
        return distances(limits, scored.scores, scored.strata) < 0


def calibrate(positives: Scores, target: float, risk: float = 1 - LEVEL) -> Threshold:
    """The highest threshold that keeps the promise.

    `positives`: the scores of distinct violations that the screen has not seen in training. Raises GateError if there
    are too few, with the number that is needed.
    """
    rank = screen_rank(len(positives), target, risk)
    if rank is None:
        needed = smallest_n(target, level=1 - risk)
        raise GateError(
            f"A recall of {target:g} cannot be shown: {len(positives):,} violations to calibrate on, "
            f"{needed:,} are needed. Label more of the table, or set a lower target."
            if needed
            else f"A recall of {target:g} cannot be shown by any number of contents. Set a target below 1."
        )
    return Threshold(target, risk, len(positives), rank, float(np.sort(positives)[rank]))


def thresholds_of(calibration: Scored, target: float, risk: float = 1 - LEVEL) -> Thresholds:
    """A threshold for each stratum that has enough violations, so that all of them keep the promise together.

    The risk is divided over these alone, as many of them as there can be. That depends on the numbers of violations and
    not on their scores, so it takes nothing from the promise.
    """
    positives = calibration.positives_by_stratum
    largest_first = sorted(positives, key=lambda name: (-len(positives[name]), name or ""))
    ranks = (
        screen_rank(len(positives[name]), target, risk / number) for number, name in enumerate(largest_first, start=1)
    )
    count = sum(rank is not None for rank in ranks)  # each needs more than the one before it, and has fewer
    return Thresholds(
        {name: calibrate(positives[name], target, risk / count) for name in largest_first[:count]},
        {name: len(positives[name]) for name in largest_first[count:]},
        smallest_n(target, level=1 - risk / (count + 1)),
    )


@dataclass(frozen=True)
class Point:
    """What a target costs and gives. `cleared` and `recall` are None where it cannot be shown.

    `needed`: the fewest calibration violations, of each stratum. `cleared`: of all test contents. `recall`: of the test
    violations, relative to the reasoner; it is reported, the thresholds do not depend on it.
    """

    target: float
    needed: int | None
    thresholds: Thresholds
    cleared: Rate | None = None
    recall: Rate | None = None


def curve(
    calibration: Scored, test: Scored, targets: Sequence[float] = TARGETS, risk: float = 1 - LEVEL
) -> list[Point]:
    """A point for each target. The two parts must have no content in common, with each other or with training."""
    return [_point(calibration, test, target, risk) for target in targets]


def _point(calibration: Scored, test: Scored, target: float, risk: float) -> Point:
    thresholds = thresholds_of(calibration, target, risk)
    needed = smallest_n(target, level=1 - risk / max(1, len(thresholds.by_stratum)))
    if not thresholds.by_stratum:
        return Point(target, needed, thresholds)
    cleared = thresholds.clears(test)
    return Point(target, needed, thresholds, _share(cleared), _share(~cleared[test.violations]))


def _share(hits: npt.NDArray[np.bool_]) -> Rate | None:
    count = int(hits.sum())
    return rate([Weighted(count, 1.0, True), Weighted(len(hits) - count, 1.0, False)])


@dataclass(frozen=True)
class Savings:
    """Calls of a run with a screen. `spared` has the interval's ends; `audit` of them are made to check the screen."""

    pending: int
    spared: int
    spared_low: int
    spared_high: int
    audit: int

    @property
    def is_worth_it(self) -> bool:
        """Whether even the low end, less the audit, spares a tenth of the calls."""
        return self.spared_low - self.audit >= WORTH_IT * self.pending


def savings(point: Point, pending: int, prevalence: float) -> Savings | None:
    """What a target spares in a run with `pending` calls; None where it cannot be shown.

    `prevalence`: the share of violations, which the audit's size depends on.
    """
    if point.cleared is None:
        return None
    spared, low, high = (
        round(pending * share) for share in (point.cleared.value, point.cleared.low, point.cleared.high)
    )
    checks = num_checks(round(pending * prevalence * point.target), spared, point.target)
    return Savings(pending, spared, low, high, checks)
