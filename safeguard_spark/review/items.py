"""Review items: what the console shows of them, read from the table and kept in memory, never on disk."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute

from safeguard_spark.labelling.content import Turn
from safeguard_spark.review.decisions import Decision, differ
from safeguard_spark.review.queue import Entry, share_of
from safeguard_spark.review.tables import LabelTables, arrow_schema, select, to_rows
from safeguard_spark.schema import REVIEW_ITEMS

CALIBRATION, APPEAL = "calibration", "appeal"


@dataclass(frozen=True)
class Item:
    """One row of `review_items`."""

    row: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        """The value of a column."""
        try:
            return self.row[name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def turns(self) -> list[Turn]:
        """The content as turns, the last of which is judged; a text is one turn without a role."""
        content = json.loads(self.row["content"] or "{}")
        if "turns" in content:
            return [Turn(*turn) for turn in content["turns"]]
        return [Turn(None, content.get("text"))]

    @property
    def is_conversation(self) -> bool:
        """Whether it is a conversation rather than a text."""
        return "turns" in json.loads(self.row["content"] or "{}")

    @property
    def invalid(self) -> str | None:
        """Why the content could not be read, if it could not."""
        cause = json.loads(self.row["content"] or "{}").get("invalid")
        return str(cause) if cause else None

    @property
    def policy_ref(self) -> str:
        """`name@version`."""
        return f"{self.row['policy']}@{self.row['policy_version']}"

    def differs_from(self, decision: Decision) -> bool:
        """Whether a person's decision contradicts the label."""
        return differ(self.row["violation"], self.row["rule_ids"] or (), decision.violation, decision.rule_ids)

    @property
    def template(self) -> Decision:
        """A decision about this item, to be filled in."""
        shared = ("item_id", "collection", "content_id", "content_hash", "policy", "policy_version", "policy_hash")
        return Decision(
            decision_id="", stage="first", reviewer="", answer="unsure", violation=None, rule_ids=(), is_blind=False,
            withdraws=None, seconds=None, decided_at=datetime.min.replace(tzinfo=UTC), reason=None,
            **{name: self.row[name] for name in shared},
        )  # fmt: skip


class Items:
    """The items of the table as it was when they were last read."""

    def __init__(self, tables: LabelTables) -> None:
        """Nothing is read yet."""
        self._tables = tables
        self._version: int | None = None
        self._rows = pa.schema([]).empty_table()
        self._index: dict[str, int] = {}

    def refresh(self) -> bool:
        """Read the table if it has changed; returns whether it has. Raises TableError."""
        table = self._tables.open(REVIEW_ITEMS)
        version = None if table is None else int(table.version())
        if version == self._version:
            return False
        self._rows = arrow_schema(REVIEW_ITEMS).empty_table() if table is None else select(table)
        ids = self._rows["item_id"].to_pylist()
        self._index = {item_id: number for number, item_id in reversed(list(enumerate(ids)))}
        self._version = version
        return True

    def find(self, item_id: str) -> Item | None:
        """An item; None if it is not, or no longer, in the table."""
        number = self._index.get(item_id)
        return None if number is None else Item(*to_rows(self._rows.slice(number, 1)))

    def __contains__(self, item_id: str) -> bool:
        """Whether an item is in the table."""
        return item_id in self._index

    def of_content(self, content_id: str) -> list[Item]:
        """The items about a content."""
        return self._where("content_id", content_id)

    def of_purpose(self, purpose: str) -> list[Item]:
        """The items that were drawn for a purpose."""
        return self._where("purpose", purpose)

    def entries(self, second_share: float) -> list[Entry]:
        """What the queue needs to know. Appeals come first; the order of the others is that of their hashes."""
        columns = self._rows.select(["item_id", "policy", "purpose", "content_hash"])
        return [
            Entry(
                item_id,
                policy,
                rank=int(purpose != APPEAL),
                has_second=share_of(f"second {item_id}", second_share),
                is_calibration=purpose == CALIBRATION,
                content_hash=content_hash,
            )
            for item_id, policy, purpose, content_hash in zip(*columns.to_pydict().values(), strict=True)
        ]

    def _where(self, column: str, value: str) -> list[Item]:
        return [Item(row) for row in to_rows(self._rows.filter(pa.compute.equal(self._rows[column], value)))]
