"""The audit: the reasoner is asked about some of what a screen cleared, and the screen's recall is bounded by that.

A screen is retired when the audit shows that its recall is below the target, not when it cannot show that it is above:
a screen that just keeps its promise lets some violations through, and an audit that finds one of them may be too small
for the bound to reach the target.
"""

from dataclasses import dataclass
from enum import StrEnum

from safeguard_spark.evaluation.intervals import LEVEL, Stratum, audit_size, fewest_hits, most_hits

# A screen is audited again and again, so a wrong retirement has to be rarer than 5 % each time.
RETIRE_LEVEL = 0.99

# Of the contents that a screen clears: at least so many are checked, so that a change shows, and of one run at most
# this share, so that it does not pay more for its audit than it spares. Audits add up: once so many are checked, a
# small run checks its share alone, and is judged together with the runs before it.
MIN_CHECKS, MAX_CHECKED_SHARE = 100, 0.1


class Finding(StrEnum):
    """What the audits say about a screen's recall, relative to the reasoner."""

    shown = "shown"  # at least the target, at 95 %
    not_shown = "not_shown"  # neither
    broken = "broken"  # below the target, at 99 %: the screen is retired


@dataclass(frozen=True)
class Audit:
    """Counts of one run, or of several added up, which are then its `runs`.

    `flagged`: violations among the contents that were not cleared. Of the `cleared`, `checked` were drawn at random and
    judged by the reasoner, and `missed` of them are violations.

    Runs check different shares of what they clear, a large run a small one, and a screen may miss more in some of them
    than in others. So each check of a run stands for as many contents as that run has cleared for it.
    """

    flagged: int = 0
    cleared: int = 0
    checked: int = 0
    missed: int = 0
    runs: tuple["Audit", ...] = ()

    def __post_init__(self) -> None:
        """Raises ValueError for counts that cannot be."""
        if not (0 <= self.missed <= self.checked <= self.cleared and self.flagged >= 0):
            raise ValueError(f"an audit with impossible counts: {self}")

    def __add__(self, other: "Audit") -> "Audit":
        """Both together."""
        return Audit(
            self.flagged + other.flagged,
            self.cleared + other.cleared,
            self.checked + other.checked,
            self.missed + other.missed,
            (*(self.runs or (self,)), *(other.runs or (other,))),
        )

    @property
    def newest(self) -> "Audit":
        """The latest of the runs, or as many of the latest as have enough checks.

        They see a new kind of violation, which a long good past would hide.
        """
        newest = Audit()
        for run in reversed(self.runs or (self,)):
            newest = run + newest
            if newest.checked >= MIN_CHECKS:
                break
        return newest

    @property
    def recall(self) -> float | None:
        """The best guess of the recall; None without a violation."""
        return self._recall(sum(size * hits / n for hits, n, size in self._strata if n))

    @property
    def recall_low(self) -> float:
        """The one-sided lower bound at 95 %. What a run cleared without a check counts as missed."""
        return self._recall(most_hits(self._strata, LEVEL)) or 0.0

    @property
    def recall_high(self) -> float:
        """The one-sided upper bound at 99 %."""
        high = self._recall(fewest_hits(self._strata, RETIRE_LEVEL))
        return 1.0 if high is None else high

    @property
    def _strata(self) -> list[Stratum]:
        return [Stratum(run.missed, run.checked, run.cleared) for run in self.runs or (self,)]

    def _recall(self, missed: float) -> float | None:
        violations = self.flagged + missed
        return self.flagged / violations if violations else None

    def finding(self, target: float) -> Finding:
        """What the audit says about a target."""
        if self.recall_high < target:
            return Finding.broken
        return Finding.shown if self.recall_low >= target else Finding.not_shown


def needed_checks(flagged: int, cleared: int, target: float) -> int | None:
    """The fewest contents to check for `Finding.shown` if none of them is a violation; None if no number does."""
    return audit_size(flagged, cleared, target)


def num_checks(flagged: int, cleared: int, target: float, earlier: int = 0) -> int:
    """How many of the cleared contents a run checks: as many as are needed, within the limits above.

    `earlier`: checks of the screen's earlier runs.
    """
    share = max(1, round(cleared * MAX_CHECKED_SHARE))
    fewest = max(MIN_CHECKS - earlier, min(MIN_CHECKS, share))
    needed, most = needed_checks(flagged, cleared, target), max(fewest, share)
    return min(cleared, max(fewest, most if needed is None else min(needed, most)))


def is_broken(pooled: Audit, target: float) -> bool:
    """Whether a screen is to be retired: by its newest runs, or by all of them together."""
    return Finding.broken in (pooled.newest.finding(target), pooled.finding(target))
