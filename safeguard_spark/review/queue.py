"""Queue: which item a person judges next, and what they may do with it. One item at a time, one person an item."""

import hashlib
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NamedTuple

from safeguard_spark.errors import SafeguardError
from safeguard_spark.review.decisions import VIOLATION, WITHDRAWN, Decision
from safeguard_spark.review.journal import Journal, slot_of

LEASE_S = 15 * 60.0  # an item that nobody decides goes back to the others after this
CALIBRATION_SHARE = 0.05  # of what a person judges, items whose answer is known, while there are any
ADJUDICATION = "adjudication"  # the stage

Clock = Callable[[], float]  # seconds since 1970

_INDEX = """
ATTACH ':memory:' AS mem;
CREATE TABLE mem.items (
  item_id TEXT PRIMARY KEY, policy TEXT NOT NULL, rank INTEGER NOT NULL, has_second INTEGER NOT NULL,
  is_calibration INTEGER NOT NULL, content_hash TEXT
);
CREATE INDEX mem.in_order ON items (policy, is_calibration, rank, item_id);
CREATE INDEX mem.by_content ON items (content_hash);
"""
# What a person may judge: an item that has no first decision, or one that needs a second and has a first by another.
_OPEN = """
FROM mem.items i WHERE i.policy = :policy AND NOT i.is_calibration
AND NOT EXISTS (SELECT 1 FROM decisions d WHERE d.item_id = i.item_id AND d.reviewer = :reviewer AND NOT d.withdrawn)
AND (
  NOT EXISTS (SELECT 1 FROM decisions d WHERE d.item_id = i.item_id AND d.slot = 'first' AND NOT d.withdrawn)
  OR i.has_second AND
  NOT EXISTS (SELECT 1 FROM decisions d WHERE d.item_id = i.item_id AND d.slot = 'second' AND NOT d.withdrawn)
)
"""
_SLOT = """
CASE WHEN EXISTS (SELECT 1 FROM decisions d WHERE d.item_id = i.item_id AND d.slot = 'first' AND NOT d.withdrawn)
THEN 'second' ELSE 'first' END
"""

_NEXT = f"""
SELECT i.item_id, {_SLOT} {_OPEN}
AND NOT EXISTS (SELECT 1 FROM leases l WHERE l.item_id = i.item_id AND l.slot = {_SLOT})
ORDER BY i.rank, i.item_id LIMIT 1
"""
# Not what the person has judged already, as this item or as another one about the same content.
_CALIBRATION = """
SELECT item_id, :slot FROM mem.items i WHERE policy = :policy AND is_calibration
AND NOT EXISTS (SELECT 1 FROM decisions d WHERE d.item_id = i.item_id AND d.slot = :slot AND NOT d.withdrawn)
AND NOT EXISTS (
  SELECT 1 FROM mem.items other JOIN decisions d ON d.item_id = other.item_id
  WHERE other.content_hash = i.content_hash AND d.reviewer = :reviewer AND NOT d.withdrawn
)
ORDER BY item_id LIMIT 1
"""


class Entry(NamedTuple):
    """What the queue knows of an item. A lower `rank` comes first; among equals the order is that of their ids."""

    item_id: str
    policy: str
    rank: int = 0
    has_second: bool = False
    is_calibration: bool = False
    content_hash: str | None = None


class NotYoursError(SafeguardError):
    """The item is not (or no longer) the person's to decide; nothing was recorded."""


@dataclass(frozen=True)
class Assignment:
    """The item that is open to a person. `decision_id`: their decision, once made, until they take the next item."""

    item_id: str
    slot: str
    shown_at: float
    decision_id: str | None

    @property
    def stage(self) -> str:
        """The stage of the review."""
        return self.slot.partition(":")[0]


class Answer(NamedTuple):
    """What a person says. `decision_id` is the form's: sent twice, it is recorded once."""

    decision_id: str
    answer: str
    rule_ids: tuple[str, ...] = ()
    reason: str = ""


class ReviewQueue:
    """The items and their leases. Not for several threads at once; the journal alone is shared between processes."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self.journal, self._clock = journal, clock
        journal.connection.executescript(_INDEX)

    def load(self, entries: Iterable[Entry]) -> None:
        """Replace the items."""
        with self.journal.transaction() as connection:
            connection.execute("DELETE FROM mem.items")
            connection.executemany("INSERT OR IGNORE INTO mem.items VALUES (?, ?, ?, ?, ?, ?)", entries)

    def policies(self) -> dict[str, int]:
        """The policies that have items, with the number of items each."""
        rows = self.journal.connection.execute(
            "SELECT policy, count(*) FROM mem.items WHERE NOT is_calibration GROUP BY policy ORDER BY policy"
        )
        return {row[0]: row[1] for row in rows}

    def left(self, reviewer: str, policy: str) -> int:
        """How many items of a policy a person could still judge."""
        values = {"reviewer": reviewer, "policy": policy}
        (count,) = self.journal.connection.execute(f"SELECT count(*) {_OPEN}", values).fetchone()
        return int(count)

    def current(self, reviewer: str) -> Assignment | None:
        """The item that is open to a person; its lease is renewed."""
        with self.journal.transaction() as connection:
            now = self._clock()
            row = connection.execute("SELECT * FROM leases WHERE reviewer = ?", (reviewer,)).fetchone()
            if row is None or (row["expires_at"] is not None and row["expires_at"] < now):
                return None
            if row["decision_id"] is None:
                connection.execute("UPDATE leases SET expires_at = ? WHERE reviewer = ?", (now + LEASE_S, reviewer))
            return Assignment(row["item_id"], row["slot"], row["shown_at"], row["decision_id"])

    def take(self, reviewer: str, policy: str) -> Assignment | None:
        """The next item of a policy, leased to a person; what was open to them is given back. None if none is left."""
        with self.journal.transaction() as connection:
            connection.execute("DELETE FROM leases WHERE reviewer = ? OR expires_at < ?", (reviewer, self._clock()))
            values = {"reviewer": reviewer, "policy": policy}
            row = self._calibration(reviewer, policy) or connection.execute(_NEXT, values).fetchone()
            return None if row is None else self._lease(reviewer, row[0], row[1])

    def take_item(self, reviewer: str, item_id: str, stage: str) -> Assignment:
        """Lease one item, for an adjudication. Raises NotYoursError if another person has it."""
        with self.journal.transaction() as connection:
            connection.execute("DELETE FROM leases WHERE reviewer = ? OR expires_at < ?", (reviewer, self._clock()))
            taken = connection.execute("SELECT 1 FROM leases WHERE item_id = ? AND slot = ?", (item_id, stage))
            if taken.fetchone() or self._standing(item_id, stage):
                raise NotYoursError("Another person has this item. Nothing was recorded.")
            return self._lease(reviewer, item_id, stage)

    def decide(self, reviewer: str, open_item: Assignment, answer: Answer, template: Decision) -> Decision:
        """Record an answer about the item that is open to a person.

        `template` has the item's columns. The first answer to an item is blind unless the person had one before; a
        later one is a second row. Raises NotYoursError if the item is no longer theirs.
        """
        with self.journal.transaction() as connection:
            if known := self.journal.decisions("decision_id = ? AND reviewer = ?", answer.decision_id, reviewer):
                return known[0]
            lease = connection.execute(
                "SELECT * FROM leases WHERE reviewer = ? AND item_id = ? AND slot = ?",
                (reviewer, open_item.item_id, open_item.slot),
            ).fetchone()
            if lease is None:
                raise NotYoursError("This item was given to another person after 15 minutes. Nothing was recorded.")
            now, stage = self._clock(), open_item.stage
            earlier = self.journal.decisions("item_id = ? AND reviewer = ?", open_item.item_id, reviewer)
            is_again = lease["decision_id"] is not None
            decision = replace(
                template,
                decision_id=answer.decision_id,
                stage=stage,
                reviewer=reviewer,
                answer=answer.answer,
                violation=VIOLATION.get(answer.answer),
                rule_ids=answer.rule_ids,
                is_blind=not earlier and stage != ADJUDICATION,
                withdraws=None,
                seconds=round(max(0.0, now - lease["shown_at"]), 1),
                decided_at=datetime.fromtimestamp(now, UTC),
                reason=answer.reason or None,
            )
            self.journal.insert(decision, is_again=is_again)
            if stage == ADJUDICATION:  # it is not open to them in the queue as well, where it could be changed blindly
                connection.execute("DELETE FROM leases WHERE reviewer = ?", (reviewer,))
            else:
                connection.execute(
                    "UPDATE leases SET decision_id = coalesce(decision_id, ?), expires_at = NULL WHERE reviewer = ?",
                    (decision.decision_id, reviewer),
                )
            return decision

    def undo(self, reviewer: str) -> Assignment | None:
        """Take back a person's last decision and open its item to them again. None if there is nothing to take back.

        Adjudications stay: the queue is not where they were made.
        """
        with self.journal.transaction() as connection:
            mine = "reviewer = ? AND slot <> ? AND NOT withdrawn AND NOT imported"
            last = self.journal.decisions(mine, reviewer, ADJUDICATION)[-1:]
            if not last:
                return None
            decision, now = last[0], self._clock()
            withdrawal = replace(
                decision,
                decision_id=uuid.uuid4().hex,
                answer=WITHDRAWN,
                violation=None,
                rule_ids=(),
                is_blind=False,
                withdraws=decision.decision_id,
                seconds=None,
                decided_at=datetime.fromtimestamp(now, UTC),
                reason=None,
            )
            self.journal.insert(withdrawal, is_again=False)
            connection.execute("DELETE FROM leases WHERE reviewer = ? OR expires_at < ?", (reviewer, now))
            slot = slot_of(decision.stage, reviewer)
            before = [d for d in self._standing(decision.item_id, slot) if d.reviewer == reviewer]
            return self._lease(reviewer, decision.item_id, slot, before[0].decision_id if before else None)

    def _standing(self, item_id: str, slot: str) -> list[Decision]:
        return self.journal.decisions("item_id = ? AND slot = ? AND NOT withdrawn", item_id, slot)

    def _lease(self, reviewer: str, item_id: str, slot: str, decision_id: str | None = None) -> Assignment:
        now = self._clock()
        expires = None if decision_id else now + LEASE_S
        self.journal.connection.execute(
            "INSERT INTO leases VALUES (?, ?, ?, ?, ?, ?)", (reviewer, item_id, slot, now, expires, decision_id)
        )
        return Assignment(item_id, slot, now, decision_id)

    def _calibration(self, reviewer: str, policy: str) -> tuple[str, str] | None:
        """A calibration item, where one is due: after a number of decisions that looks random to the person."""
        connection = self.journal.connection
        (count,) = connection.execute("SELECT count(*) FROM decisions WHERE reviewer = ?", (reviewer,)).fetchone()
        if not share_of(f"{reviewer} {count}", CALIBRATION_SHARE):
            return None
        values = {"policy": policy, "slot": slot_of("calibration", reviewer), "reviewer": reviewer}
        row: tuple[str, str] | None = connection.execute(_CALIBRATION, values).fetchone()
        return row


def share_of(key: str, share: float) -> bool:
    """Whether a key is in this share of all keys, always the same answer for a key."""
    digest = hashlib.sha256(key.encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64
