"""Screens for people: the list, one in full, and what making one says."""

from collections.abc import Sequence

from safeguard_spark.evaluation.intervals import smallest_n
from safeguard_spark.screen.audit import Audit
from safeguard_spark.screen.record import Screen, StratumThreshold
from safeguard_spark.terminal import aligned, one_line


def made_text(screen: Screen) -> str:
    """What was made, and how a run uses it."""
    cleared = _range(screen.cleared, screen.cleared_low, screen.cleared_high)
    promise = f"at least {screen.target:.0%} of the violations that {screen.labeler} finds"
    lines = [
        f"Screen {screen.screen_id}: {screen.kind}, for {screen.policy_ref}, in front of {screen.labeler}.",
        f"  It clears {cleared} of the test contents.",
    ]
    if screen.thresholds is None:
        lines.append(f"  It keeps {promise}, with 95 % confidence:")
        lines.append(f"  of {screen.positives:,} to calibrate on, {screen.rank:,} lie below its threshold.")
    else:
        lines += [f"  By {screen.strata} it keeps {promise} in each, with 95 % confidence for all:", ""]
        lines += [f"  {line}" for line in aligned(_strata(screen, screen.thresholds))] + [""]
    lines.append(f"A run uses it with --set screen.id={screen.screen_id}")
    return "\n".join([*lines, ""])


def _strata(screen: Screen, thresholds: Sequence[StratumThreshold]) -> list[tuple[str, ...]]:
    screened = sum(one.threshold is not None for one in thresholds)
    needed = smallest_n(screen.target, level=1 - screen.risk / (screened + 1))
    rows: list[tuple[str, ...]] = [("stratum", "to calibrate on", "below its threshold")]
    return rows + [
        (
            one_line(one.stratum),
            f"{one.positives:,}",
            f"not screened: {needed:,} are needed" if one.rank is None else f"{one.rank:,}",
        )
        for one in thresholds
    ]


def list_text(screens: Sequence[Screen]) -> str:
    """One line for each screen, the newest first."""
    if not screens:
        return "There are no screens. safeguard screen plan says whether one is worth it.\n"
    rows = [("screen", "kind", "policy", "labeler", "target", "cleared", "state")]
    rows += [
        (s.screen_id, s.kind, s.policy_ref, s.labeler, f"{s.target:.0%}", f"{s.cleared:.1%}", _state(s))
        for s in screens
    ]
    return "\n".join([*aligned(rows), ""])


def show_text(screen: Screen, audits: Sequence[tuple[str, Audit]]) -> str:
    """A screen and its audits, one line for each run."""
    lines = made_text(screen).splitlines()
    if screen.is_retired:
        lines[-1] = f"Retired: {screen.retired_reason}"
    if audits:
        rows: list[tuple[str, ...]] = [("run", "flagged", "cleared", "checked", "missed", "recall at least")]
        rows += [(run_id, *_counts(audit), f"{audit.recall_low:.1%}") for run_id, audit in audits]
        pooled = sum((audit for _, audit in audits), Audit())
        rows.append(("all", *_counts(pooled), f"{pooled.recall_low:.1%}"))
        lines += ["", *aligned(rows)]
    return "\n".join([*lines, ""])


def _counts(audit: Audit) -> tuple[str, ...]:
    return tuple(f"{count:,}" for count in (audit.flagged, audit.cleared, audit.checked, audit.missed))


def _state(screen: Screen) -> str:
    return "retired" if screen.is_retired else "usable"


def _range(value: float, low: float, high: float) -> str:
    return f"{value:.1%} ({low:.1%} to {high:.1%})"
