"""Plan to re-label: what a new version of a policy would cost, and exactly which contents it is about."""

import json
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict

from safeguard_spark.keys import sha256
from safeguard_spark.relabel.estimate import Estimate, estimate_text
from safeguard_spark.relabel.rules import RuleChanges, rule_lines
from safeguard_spark.relabel.scope import Scope

UNHASHED = {"rows", "pending", "calls", "prompt_tokens"}  # what was found, not what was asked


class RelabelPlan(BaseModel):
    """A plan. Its id is the start of its hash: the same question about the same tables is the same plan."""

    model_config = ConfigDict(frozen=True)

    policy: str
    old_version: str | None
    old_hash: str | None
    new_version: str
    new_hash: str
    labeler_hash: str
    scope: Scope
    source: str
    source_version: int | None
    labels_version: int
    rows: int
    pending: int
    calls: int
    prompt_tokens: int

    @cached_property
    def plan_hash(self) -> str:
        """Over what is selected and what it was planned on."""
        return sha256(self.model_dump(mode="json", exclude=UNHASHED))

    @property
    def plan_id(self) -> str:
        """What people call it."""
        return f"p{self.plan_hash[:11]}"

    @property
    def new_ref(self) -> str:
        """`name@version` to label under."""
        return f"{self.policy}@{self.new_version}"

    def to_row(self, cost: Estimate | None) -> dict[str, Any]:
        """The row of `plans`, `created_at` aside."""
        values = self.model_dump(mode="json")
        return {
            **values,
            "scope": json.dumps(values["scope"]),
            "scope_kind": self.scope.kind.value,
            "plan_id": self.plan_id,
            "plan_hash": self.plan_hash,
            "estimate": None if cost is None else json.dumps(cost.to_json()),
        }

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> "RelabelPlan":
        """The plan of a row of `plans`."""
        names = set(cls.model_fields) - {"scope"}
        return cls(scope=Scope.model_validate_json(row["scope"]), **{name: row[name] for name in names})


class PlanReport(BaseModel):
    """A plan with what is said about it once: the rules that changed, the cost, the other scopes beside it."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    plan: RelabelPlan
    changes: RuleChanges
    cost: Estimate | None
    unlabelled: int  # contents of the source that have no label under the new version
    others: dict[str, tuple[int, int]]  # scope: contents, distinct ones without a verdict
    currency: str = ""

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        plan = self.plan
        return {
            "plan_id": plan.plan_id,
            "plan_hash": plan.plan_hash,
            **plan.model_dump(mode="json"),
            "changes": self.changes.to_json(),
            "unlabelled": self.unlabelled,
            "estimate": None if self.cost is None else self.cost.to_json(),
            "others": {name: {"rows": rows, "calls_at_most": calls} for name, (rows, calls) in self.others.items()},
        }


def plan_text(planned: PlanReport) -> str:
    """For people: what changed, what each scope comes to, and the command that applies the plan."""
    plan = planned.plan
    old = f"{plan.policy}@{plan.old_version}" if plan.old_version else "no earlier version"
    lines = [f"Plan {plan.plan_id}: {old} -> {plan.new_ref}", ""]
    lines += [f"  {line}" for line in rule_lines(planned.changes)]
    version = f" at version {plan.source_version}" if plan.source_version is not None else ""
    lines += ["", f"  {planned.unlabelled:,} contents of {plan.source}{version} have no label under {plan.new_ref}."]
    lines.append("")
    table = [("scope", "contents", "without a label", "model calls")]
    table.append((str(plan.scope), f"{plan.rows:,}", f"{plan.pending:,}", f"{plan.calls:,}"))
    table += [(name, f"{rows:,}", "", f"at most {calls:,}") for name, (rows, calls) in planned.others.items()]
    widths = [max(len(row[column]) for row in table) for column in range(4)]
    for first, *rest in table:
        cells = "  ".join(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
        lines.append(f"  {first.ljust(widths[0])}  {cells}")
    cost = estimate_text(planned.cost, planned.currency)
    lines += ["", f"  {plan.calls:,} calls, {plan.prompt_tokens:,} prompt tokens;", f"  {cost}."]
    lines += [f"  {line}" for line in _notes(planned)]
    return "\n".join([*lines, "", f"Nothing was labelled. To go on: safeguard relabel apply {plan.plan_id}", ""])


def _notes(planned: PlanReport) -> list[str]:
    plan, changes = planned.plan, planned.changes
    notes = []
    if changes.added and plan.scope.kind.value == "touched":
        named = ", ".join(changes.added)
        notes.append(f"No old label names {named}: only the share of the rest can show what it catches.")
    if plan.old_version and plan.old_hash == plan.new_hash:
        notes.append("The two versions have the same policy hash: every verdict stands, and no call is needed.")
    return notes
