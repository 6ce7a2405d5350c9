"""Decisions: what people said of an item, and which of it counts. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

WITHDRAWN = "withdrawn"
VIOLATION = {"violation": True, "safe": False}  # of an answer; any other answer decides nothing


@dataclass(frozen=True)
class Decision:
    """One row of the table `decisions`; the fields are its columns."""

    decision_id: str
    item_id: str
    collection: str | None
    content_id: str
    content_hash: str
    policy: str
    policy_version: str
    policy_hash: str
    stage: str
    reviewer: str
    answer: str
    violation: bool | None
    rule_ids: tuple[str, ...]
    is_blind: bool
    withdraws: str | None
    seconds: float | None
    decided_at: datetime
    reason: str | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Decision":
        """The decision of a row of the table."""
        return cls(**{**row, "rule_ids": tuple(row["rule_ids"] or ())})

    @property
    def row(self) -> dict[str, Any]:
        """The row of the table."""
        return {**asdict(self), "rule_ids": list(self.rule_ids)}


def standing(decisions: Iterable[Decision]) -> list[Decision]:
    """The decisions that were not taken back, oldest first."""
    decisions = list(decisions)
    withdrawn = {decision.withdraws for decision in decisions}
    kept = [d for d in decisions if d.answer != WITHDRAWN and d.decision_id not in withdrawn]
    return sorted(kept, key=lambda d: d.decided_at)


def differ(violation: bool | None, rule_ids: Sequence[str], other: bool | None, other_rule_ids: Sequence[str]) -> bool:
    """Whether two answers contradict each other: another violation, or violations of rules none of which is shared.

    An answer without a violation (null) contradicts nothing, nor do rules that one side did not name.
    """
    if violation is None or other is None:
        return False
    if violation != other:
        return True
    return bool(violation and rule_ids and other_rule_ids and not set(rule_ids) & set(other_rule_ids))


@dataclass(frozen=True)
class Resolved:
    """What people made of one item. Each is None if there is no such decision.

    `blind`: the first person's, before the verdict was shown. `final`: the adjudication, else the first person's last.
    `second`: the second person's last.
    """

    blind: Decision | None
    final: Decision | None
    second: Decision | None

    @property
    def needs_adjudication(self) -> bool:
        """Whether two people differ and nobody has adjudicated."""
        if self.final is None or self.second is None or self.final.stage == "adjudication":
            return False
        one, other = self.final, self.second
        return one.answer != other.answer or differ(one.violation, one.rule_ids, other.violation, other.rule_ids)


def resolve(decisions: Iterable[Decision]) -> Resolved:
    """What counts of the decisions about one item."""
    by_stage: dict[str, list[Decision]] = {}
    for decision in standing(decisions):
        by_stage.setdefault(decision.stage, []).append(decision)
    first = by_stage.get("first", [])
    blind = next((decision for decision in first if decision.is_blind), None)
    second, final = by_stage.get("second", []), [*first, *by_stage.get("adjudication", [])]
    return Resolved(blind, final[-1] if final else None, second[-1] if second else None)
