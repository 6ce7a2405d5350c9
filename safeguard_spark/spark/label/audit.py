"""The audit at the end of a run: what it says, and whether it retires the screen."""

from typing import NamedTuple

from safeguard_spark.screen.record import audit_text, unused_text
from safeguard_spark.spark.label.run import RunContext
from safeguard_spark.spark.screens import audit_run


class RunAudit(NamedTuple):
    """What a run says of its screen. `recall_low`: of all its runs; None if this one cleared nothing."""

    screen_id: str | None = None
    recall_low: float | None = None
    retires: bool = False
    sentences: tuple[str, ...] = ()


def audit_of_run(run: RunContext) -> RunAudit:
    """Audit the screen of a run whose labels are written, if it has one, and retire it if it is broken."""
    screen = run.screen
    if screen is None:
        return RunAudit()
    if screen.is_retired:
        return RunAudit(sentences=(unused_text(screen),))
    audited = audit_run(run.tables, screen, run.run_id)
    if audited is None:
        return RunAudit(screen.screen_id)
    sentences = [audit_text(screen, audited.latest, audited.pooled)]
    if audited.retired:
        sentences.append(
            f"Screen {screen.screen_id} is retired. {audited.retired} What it cleared is pending again: issue the same "
            "command again, and the labeler is called for it."
        )
    return RunAudit(screen.screen_id, audited.pooled.recall_low, audited.retired is not None, tuple(sentences))
