"""Screens for people: the list, one in full, and what making one says."""

from collections.abc import Sequence

from safeguard_spark.screen.audit import Audit
from safeguard_spark.screen.record import Screen
from safeguard_spark.terminal import aligned


def made_text(screen: Screen) -> str:
    """What was made, and how a run uses it."""
    cleared = _range(screen.cleared, screen.cleared_low, screen.cleared_high)
    lines = [
        f"Screen {screen.screen_id}: {screen.kind}, for {screen.policy_ref}, in front of {screen.labeler}.",
        f"  It clears {cleared} of the test contents.",
        f"  It keeps at least {screen.target:.0%} of the violations that {screen.labeler} finds, with 95 % confidence:",
        f"  of {screen.positives:,} to calibrate on, {screen.rank:,} lie below its threshold.",
        f"A run uses it with --set screen.id={screen.screen_id}",
    ]
    return "\n".join([*lines, ""])


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
