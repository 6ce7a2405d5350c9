"""The record of a screen: what it is, for which policy and labeler, and what was measured when it was made."""

from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict

from safeguard_spark.errors import ConfigError
from safeguard_spark.evaluation.intervals import smallest_n
from safeguard_spark.keys import sha256
from safeguard_spark.labelling.rows import LabelSpec
from safeguard_spark.policy.document import Policy, Severity
from safeguard_spark.screen.audit import Audit, num_checks
from safeguard_spark.screen.parts import SHARES_OF, Part
from safeguard_spark.screen.scorer import Scores
from safeguard_spark.screen.threshold import Strata, Thresholds, distances

Kind = Literal["linear", "glance"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class StratumThreshold(BaseModel):
    """The threshold of a stratum, and how many of its calibration violations lie below; None: they are too few."""

    model_config = ConfigDict(frozen=True)

    stratum: str
    positives: int
    threshold: float | None
    rank: int | None


class Screen(BaseModel):
    """A screen: the columns of `screens`. Clears contents whose score is strictly below the threshold.

    With `strata`, a column of the source or an expression over it, `threshold` is None and each stratum has its own.
    """

    model_config = ConfigDict(frozen=True)

    kind: Kind
    policy: str
    policy_version: str
    policy_hash: str
    labeler: str
    labeler_hash: str
    target: float
    risk: float
    threshold: float | None
    rank: int
    positives: int
    contents: int
    prevalence: float
    cleared: float
    cleared_low: float
    cleared_high: float
    recall: float | None
    recall_low: float | None
    critical: bool
    collection: str
    labels_version: int
    artifact: str | None = None
    artifact_sha256: str | None = None
    retired_reason: str | None = None
    strata: str | None = None
    thresholds: tuple[StratumThreshold, ...] | None = None

    @property
    def screen_hash(self) -> str:
        """Lower-case hex SHA-256 over what decides what it clears."""
        names = {"kind", "artifact_sha256", "policy_hash", "labeler_hash", "threshold"}
        values = self.model_dump(mode="json", include=names)
        if self.strata is not None:
            values |= {"strata": self.strata, "thresholds": self._limits}
        return sha256(values)

    @property
    def _limits(self) -> dict[str | None, float]:
        return {one.stratum: one.threshold for one in self.thresholds or () if one.threshold is not None}

    def distances(self, scores: Scores, strata: Strata | None = None) -> Scores:
        """By how much scores are above their threshold: contents below 0 are cleared. `strata` if it is by strata."""
        limits = self._limits
        if self.threshold is not None:
            limits = {None: self.threshold}
        return distances(limits, scores, strata)

    @property
    def screen_id(self) -> str:
        """The short id for commands and tables."""
        return f"s{self.screen_hash[:11]}"

    @property
    def is_retired(self) -> bool:
        """Whether no run may use it."""
        return self.retired_reason is not None

    @property
    def policy_ref(self) -> str:
        """`name@version` of its policy."""
        return f"{self.policy}@{self.policy_version}"

    def fits(self, spec: LabelSpec) -> bool:
        """Whether it stands in for this labeler under this policy text."""
        return (self.policy_hash, self.labeler_hash) == (spec.policy.policy_hash, spec.labeler.labeler_hash)

    def refuse_other(self, spec: LabelSpec) -> None:
        """Raise ConfigError unless it stands in for this labeler under this policy text."""
        if self.policy_hash != spec.policy.policy_hash:
            raise ConfigError(
                f"Screen {self.screen_id} is for the text of {self.policy_ref} ({self.policy_hash[:8]}), not for that "
                f"of {spec.policy.ref} ({spec.policy.policy_hash[:8]}). Make one for it (safeguard screen train "
                f"--policy {spec.policy.ref}), or label without one (screen.id=null)."
            )
        if self.labeler_hash != spec.labeler.labeler_hash:
            raise ConfigError(
                f"Screen {self.screen_id} stands in for labeler {self.labeler} ({self.labeler_hash[:8]}), not for "
                f"{spec.labeler.ref}. Use the configuration of that labeler, make a screen for this one, or label "
                "without one (screen.id=null)."
            )

    def checks_of_run(self, cleared: int, calls: int, earlier: int, configured: int | None = None) -> int:
        """How many of `cleared` contents to audit, in a run with `calls` without a screen; by default `num_checks`.

        `earlier`: checks of the screen's earlier runs.
        """
        if configured is not None:
            return min(cleared, configured)
        return num_checks(round(calls * self.prevalence * self.target), cleared, self.target, earlier)


def refuse_critical(policy: Policy, allowed: bool) -> None:
    """Raise ConfigError for a policy with critical rules, unless it is allowed."""
    critical = [rule.id for rule in policy.rules if rule.severity is Severity.critical]
    if critical and not allowed:
        raise ConfigError(
            f"{policy.ref} has critical rules ({', '.join(critical)}), and a screen clears contents before the labeler "
            "sees which rule they break. If it may miss some of those too, up to the target: --critical."
        )


def fallen_text(screen: Screen, new: Policy) -> str:
    """That a screen falls with a change of its policy or labeler, and what another costs."""
    strata = sum(one.threshold is not None for one in screen.thresholds or ()) or 1
    needed = strata * (smallest_n(screen.target, level=1 - screen.risk / strata) or 0)
    calls = round(needed / SHARES_OF[Part.calibration] / screen.prevalence)
    return (
        f"Screen {screen.screen_id} is for {screen.policy_ref} by {screen.labeler} alone and clears nothing under "
        f"{new.ref}. Another for a target of {screen.target:.0%} takes at least {needed:,} violations to calibrate on: "
        f"about {calls:,} contents labelled at random, at {screen.prevalence:.1%} violations."
    )


def unused_text(screen: Screen) -> str:
    """That a screen is configured and retired."""
    why = str(screen.retired_reason).removesuffix(".")
    return f"Screen {screen.screen_id} is retired and not used: {why}. Set screen.id to another one, or to null."


def audit_text(screen: Screen, latest: Audit, pooled: Audit) -> str:
    """What the audits show, in the words of the promise."""
    shown = (
        f"Over all its runs it keeps at least {pooled.recall_low:.1%} (95 %) of the violations that {screen.labeler} "
        f"finds; the target is {screen.target:.0%}."
    )
    if not pooled.flagged and not pooled.missed:
        shown = "None of its runs has had a violation yet, so they do not show which share it keeps."
    return (
        f"Screen {screen.screen_id}: of {latest.cleared:,} contents that it cleared {latest.checked:,} were checked, "
        f"{latest.missed:,} of them violations. {shown}"
    )


def retired_text(screen: Screen, pooled: Audit) -> str:
    """Why the audits of a screen's runs retire it."""
    newest = pooled.newest
    if newest.recall_high < screen.target:
        num_runs = sum(run.cleared > 0 for run in newest.runs)
        of_what, high = "this run" if num_runs == 1 else f"its last {num_runs} runs", newest.recall_high
    else:
        of_what, high = "all its runs", pooled.recall_high
    return (
        f"By the audit of {of_what} it keeps at most {high:.1%} (99 %) of the violations that {screen.labeler} finds, "
        f"below its target of {screen.target:.0%}."
    )


def stratum_thresholds(thresholds: Thresholds) -> tuple[StratumThreshold, ...] | None:
    """As a screen has them: None without strata."""
    if None in thresholds.by_stratum:
        return None
    made = [(name, one.positives, one.score, one.rank) for name, one in thresholds.by_stratum.items()]
    rows = [*made, *((name, positives, None, None) for name, positives in thresholds.too_few.items())]
    return tuple(StratumThreshold(stratum=str(n), positives=p, threshold=t, rank=r) for n, p, t, r in rows)


def row_of(screen: Screen, **times: Any) -> dict[str, Any]:
    """The row of `screens`; `times` are `created_at` and `retired_at`."""
    return {**screen.model_dump(), "screen_id": screen.screen_id, "screen_hash": screen.screen_hash, **times}
