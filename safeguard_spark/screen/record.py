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

Kind = Literal["linear", "glance"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Screen(BaseModel):
    """A screen: the columns of `screens`. Clears contents whose score is strictly below `threshold`."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    policy: str
    policy_version: str
    policy_hash: str
    labeler: str
    labeler_hash: str
    target: float
    risk: float
    threshold: float
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

    @property
    def screen_hash(self) -> str:
        """Lower-case hex SHA-256 over what decides what it clears."""
        names = {"kind", "artifact_sha256", "policy_hash", "labeler_hash", "threshold"}
        return sha256(self.model_dump(mode="json", include=names))

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

    def checks_of_run(self, cleared: int, calls: int, configured: int | None = None) -> int:
        """How many of `cleared` contents to audit, in a run with `calls` without a screen; by default `num_checks`."""
        if configured is not None:
            return min(cleared, configured)
        return num_checks(round(calls * self.prevalence * self.target), cleared, self.target)


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
    needed = smallest_n(screen.target, level=1 - screen.risk) or 0
    calls = round(needed / SHARES_OF[Part.calibration] / screen.prevalence)
    return (
        f"Screen {screen.screen_id} is for {screen.policy_ref} by {screen.labeler} alone and clears nothing under "
        f"{new.ref}. Another for a target of {screen.target:.0%} takes at least {needed:,} violations to calibrate on: "
        f"about {calls:,} contents labelled at random, at {screen.prevalence:.1%} violations."
    )


def audit_text(screen: Screen, latest: Audit, pooled: Audit) -> str:
    """One sentence on what the audits show, in the words of the promise."""
    return (
        f"Screen {screen.screen_id}: of {latest.cleared:,} contents that it cleared {latest.checked:,} were checked, "
        f"{latest.missed:,} of them violations. Over all its runs it keeps at least {pooled.recall_low:.1%} (95 %) of "
        f"the violations that {screen.labeler} finds; the target is {screen.target:.0%}."
    )


def retired_text(screen: Screen, latest: Audit, pooled: Audit) -> str:
    """Why an audit retires a screen."""
    alone = latest.recall_high < screen.target
    high = latest.recall_high if alone else pooled.recall_high
    of_what = "this run" if alone else "all its runs"
    return (
        f"By the audit of {of_what} it keeps at most {high:.1%} (99 %) of the violations that {screen.labeler} finds, "
        f"below its target of {screen.target:.0%}."
    )


def row_of(screen: Screen, **times: Any) -> dict[str, Any]:
    """The row of `screens`; `times` are `created_at` and `retired_at`."""
    return {**screen.model_dump(), "screen_id": screen.screen_id, "screen_hash": screen.screen_hash, **times}
