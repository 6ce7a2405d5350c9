"""The threshold: strictly below which score a screen may clear, and what that spares.

What is promised: with probability 1 - risk over the calibration contents, the screen keeps at least the share `target`
of the violations that the reasoner would find, whatever the distribution of the scores (a tolerance limit; S. S. Wilks,
1941). It holds for contents like those it was calibrated on, so what was cleared has to be audited.
"""

from collections.abc import Sequence
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


class Scored(NamedTuple):
    """Distinct contents with a screen's scores and the reasoner's verdicts, in one order."""

    scores: Scores
    violations: npt.NDArray[np.bool_]

    @property
    def positives(self) -> Scores:
        """The scores of the violations."""
        return self.scores[self.violations]


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


@dataclass(frozen=True)
class Point:
    """What a target costs and gives. `threshold`, `cleared`, `recall` are None where it cannot be shown.

    `needed`: the fewest calibration violations. `cleared`: of all test contents. `recall`: of the test violations,
    relative to the reasoner; it is reported, the threshold does not depend on it.
    """

    target: float
    needed: int | None
    threshold: Threshold | None = None
    cleared: Rate | None = None
    recall: Rate | None = None


def curve(
    calibration: Scored, test: Scored, targets: Sequence[float] = TARGETS, risk: float = 1 - LEVEL
) -> list[Point]:
    """A point for each target. The two parts must have no content in common, with each other or with training."""
    return [_point(calibration.positives, test, target, risk) for target in targets]


def _point(positives: Scores, test: Scored, target: float, risk: float) -> Point:
    needed = smallest_n(target, level=1 - risk)
    if needed is None or len(positives) < needed:
        return Point(target, needed)
    threshold = calibrate(positives, target, risk)
    cleared = threshold.clears(test.scores)
    return Point(target, needed, threshold, _share(cleared), _share(~cleared[test.violations]))


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
