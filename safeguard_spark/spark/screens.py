"""Screens in their tables: which there are, which are retired, and what their audits say."""

from datetime import datetime
from typing import Any, NamedTuple

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.errors import ConfigError
from safeguard_spark.labelling.verdict import Outcome
from safeguard_spark.screen.audit import Audit, Finding, is_broken
from safeguard_spark.screen.record import Screen, retired_text, row_of
from safeguard_spark.spark.labels import stands_for
from safeguard_spark.spark.small_tables import all_rows, read_existing
from safeguard_spark.spark.tables import Tables

COUNTS = ("flagged", "cleared", "checked", "missed")
BOUNDS = ("recall", "recall_low", "finding")
SCREEN_OF_AUDIT = ("policy", "policy_version", "labeler", "collection", "target")


class Audited(NamedTuple):
    """The audit of a run: its counts, those of all runs with the screen, and why it retires the screen, if it does."""

    latest: Audit
    pooled: Audit
    retired: str | None


def all_screens(tables: Tables) -> list[Screen]:
    """The screens of an output, the newest first."""
    try:
        rows = all_rows(tables, schema.SCREENS)
    except AnalysisException:  # an output of an earlier release, which has the table after the next label run
        return []
    # The row of a retirement has the time of the making too.
    states = {row["screen_id"]: row for row in sorted(rows, key=lambda row: row["retired_at"] or datetime.min)}
    newest_first = sorted(states.values(), key=lambda row: row["created_at"], reverse=True)
    values = [row.asDict(recursive=True) for row in newest_first]
    return [Screen(**{name: row[name] for name in Screen.model_fields}) for row in values]


def find_screen(tables: Tables, screen_id: str) -> Screen:
    """A screen by its id. Raises ConfigError if there is none."""
    screens = all_screens(tables)
    screen = next((screen for screen in screens if screen.screen_id == screen_id), None)
    if screen is None:
        listed = ", ".join(screen.screen_id for screen in screens[:5]) or "none"
        raise ConfigError(f"There is no screen {screen_id} in {tables.output}. The newest screens: {listed}.")
    return screen


def add_screen(tables: Tables, screen: Screen) -> None:
    """Append a new screen, once."""
    row = row_of(screen, created_at=tables.now(), retired_at=None)
    tables.append(schema.SCREENS, [row], screen.screen_id)


def retire_screen(tables: Tables, screen: Screen, reason: str) -> None:
    """Append that a screen is retired, once: what it cleared is pending from then on."""
    made = tables.read(schema.SCREENS).where(F.col("screen_id") == screen.screen_id).agg(F.min("created_at")).first()
    created_at = made[0] if made else None
    row = row_of(screen.model_copy(update={"retired_reason": reason}), created_at=created_at, retired_at=tables.now())
    tables.append(schema.SCREENS, [row], f"{screen.screen_id}/retired")


def without_retired(tables: Tables, labels: DataFrame, others: tuple[str, ...] = ()) -> DataFrame:
    """Labels without those of retired screens, and of screens with one of the `others` hashes."""
    hashes = {*others, *(screen.screen_hash for screen in all_screens(tables) if screen.is_retired)}
    if not hashes:
        return labels
    return labels.where(F.col("screened_for").isNull() | ~F.col("labeler_hash").isin(sorted(hashes)))


def past_audits(tables: Tables, screen_id: str) -> list[tuple[str, Audit]]:
    """Run ids and audits of a screen, the oldest first."""
    rows = read_existing(tables, schema.SCREEN_AUDITS)
    if rows is None:
        return []
    listed = rows.where(F.col("screen_id") == screen_id).orderBy("audited_at").collect()
    return [(row["run_id"], Audit(*(row[name] for name in COUNTS))) for row in listed]


def num_checked(tables: Tables, screen_id: str) -> int:
    """How many contents all audits of a screen have checked."""
    return sum(audit.checked for _, audit in past_audits(tables, screen_id))


def newest_audits(tables: Tables, start: str, end: str, policy: str | None = None) -> list[dict[str, Any]]:
    """The newest audit of each screen between two timestamps (SQL expressions), with what the screen is for."""
    audits = read_existing(tables, schema.SCREEN_AUDITS)
    if audits is None:
        return []
    in_period = audits.where(f"audited_at >= {start} AND audited_at < {end}")
    newest = in_period.groupBy("screen_id").agg(F.max_by(F.struct(*COUNTS, *BOUNDS), "audited_at").alias("audit"))
    rows = {row["screen_id"]: row["audit"].asDict() for row in newest.collect()}
    return [
        {**rows[screen.screen_id], **screen.model_dump(include={*SCREEN_OF_AUDIT}), "screen_id": screen.screen_id}
        for screen in all_screens(tables)
        if screen.screen_id in rows and policy in (None, screen.policy)
    ]


def audit_run(tables: Tables, screen: Screen, run_id: str) -> Audited | None:
    """Count what a run's audit found, record it, and retire the screen if it is broken. None if nothing was cleared.

    Contents that a person must decide (`review`) count as violations. An answer that could not be read checks nothing.
    """
    latest = _count(tables, screen, run_id)
    if not latest.cleared:
        return None
    earlier = sum((audit for other, audit in past_audits(tables, screen.screen_id) if other != run_id), Audit())
    pooled = earlier + latest
    broken = is_broken(pooled, screen.target)
    row = {
        "screen_id": screen.screen_id,
        "run_id": run_id,
        "audited_at": tables.now(),
        "target": screen.target,
        **{name: getattr(latest, name) for name in COUNTS},
        **{name: getattr(pooled, name) for name in ("recall", "recall_low", "recall_high")},
        "finding": (Finding.broken if broken else pooled.finding(screen.target)).value,
    }
    tables.append(schema.SCREEN_AUDITS, [row], f"{run_id}/audit")
    retired = retired_text(screen, pooled) if broken else None
    if retired:
        retire_screen(tables, screen, retired)
    return Audited(latest, pooled, retired)


def _count(tables: Tables, screen: Screen, run_id: str) -> Audit:
    """The audit of a run, from the labels it has written. Each content counts once, however many ids it has."""
    labels = tables.read(schema.LABELS).where(F.col("run_id") == run_id)
    labels = labels.where(stands_for() == screen.labeler_hash)
    labels = labels.where(F.col("policy_hash") == screen.policy_hash)
    is_cleared = F.col("screen") == screen.screen_id
    is_judged = F.col("outcome").isin(Outcome.labelled.value, Outcome.review.value)
    is_found = is_judged & (F.coalesce("violation", F.lit(True)))
    # A reused verdict was not in front of the screen: it has no tokens.
    was_called = F.col("prompt_tokens").isNotNull()
    counts = {
        "flagged": F.col("screen").isNull() & is_found & was_called,
        "cleared": is_cleared,
        "checked": is_cleared & is_judged,
        "missed": is_cleared & is_found,
    }
    row = labels.agg(
        *(F.count_distinct(F.when(condition, F.col("work_key"))).alias(name) for name, condition in counts.items())
    ).first()
    assert row is not None  # an aggregate without groups has one row
    return Audit(**row.asDict())
