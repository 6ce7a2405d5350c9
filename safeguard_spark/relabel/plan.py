"""Re-labelling plan: which contents to label under a new version of a policy, and what that costs."""

import json
from functools import cached_property
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from safeguard_spark.keys import sha256
from safeguard_spark.relabel.estimate import Estimate, estimate_text
from safeguard_spark.relabel.rules import RuleChanges, rule_lines
from safeguard_spark.relabel.scope import Scope, ScopeKind
from safeguard_spark.terminal import aligned, counted

ADDED = {"old_labeler_hash", "collection"}  # fields that plans of earlier releases lack: their hash stays
NOT_HASHED = {"rows", "pending", "calls", "prompt_tokens"}  # results: the hash is over the request


class PolicyVersion(NamedTuple):
    """A version of a policy, as plans and labels name it."""

    name: str
    version: str
    policy_hash: str


class RelabelPlan(BaseModel):
    """A plan. Its id is the start of its hash: the same request on the same tables is the same plan."""

    model_config = ConfigDict(frozen=True)

    policy: str
    old_version: str | None
    old_hash: str | None
    old_labeler_hash: str | None = None  # None: any labeler
    new_version: str
    new_hash: str
    labeler_hash: str
    scope: Scope
    collection: str | None = None  # None: as `source`
    source: str
    source_version: int | None
    labels_version: int
    rows: int
    pending: int
    calls: int
    prompt_tokens: int

    @cached_property
    def plan_hash(self) -> str:
        """SHA-256 over the selection and the table versions it was planned on."""
        absent = {name for name in ADDED if getattr(self, name) is None}
        return sha256(self.model_dump(mode="json", exclude=NOT_HASHED | absent))

    @property
    def plan_id(self) -> str:
        """The short id for commands and reports."""
        return f"p{self.plan_hash[:11]}"

    @property
    def old(self) -> PolicyVersion | None:
        """The version whose labels the scope reads, or None."""
        if self.old_version is None or self.old_hash is None:
            return None
        return PolicyVersion(self.policy, self.old_version, self.old_hash)

    @property
    def new_ref(self) -> str:
        """`name@version` of the version to label under."""
        return f"{self.policy}@{self.new_version}"

    def to_row(self, cost: Estimate | None) -> dict[str, Any]:
        """The row of `plans`, without `created_at`."""
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
        """The plan in a row of `plans`."""
        names = set(cls.model_fields) - {"scope"}
        return cls(scope=Scope.model_validate_json(row["scope"]), **{name: row[name] for name in names})


class ScopeSize(NamedTuple):
    """What a scope has: contents, and an upper bound on the model calls for them."""

    rows: int
    max_calls: int


class DecideAgain(NamedTuple):
    """Human decisions that name a rule which the new version changes: how many contents, and the first of their ids."""

    contents: int
    content_ids: tuple[str, ...]


class PlanReport(BaseModel):
    """A plan with what is reported when it is made: changed rules, cost, and other scopes to compare with."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    plan: RelabelPlan
    changes: RuleChanges
    cost: Estimate | None
    unlabelled: int  # contents of the source that have no label under the new version
    others: dict[str, ScopeSize]  # by scope
    labelers: tuple[str, str] | None = None  # of the old and the new labels, for people, if they differ
    decide_again: DecideAgain | None = None  # None: the table of decisions does not say rules and versions
    screens: tuple[str, ...] = ()  # a sentence for the screen that is used, and for each that falls with the change
    currency: str = ""
    not_stored: str = ""  # why the plan could not be stored, if the user may not write to `plans`

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
            "others": {
                name: {"rows": size.rows, "calls_at_most": size.max_calls} for name, size in self.others.items()
            },
            "screens": list(self.screens),
            "decide_again": None if self.decide_again is None else self.decide_again._asdict(),
        }


def plan_text(report: PlanReport, options: str = "") -> str:
    """For people: what changed, how many contents and calls each scope has, and the command that applies the plan.

    `options` are those of that command, as a shell takes them.
    """
    plan = report.plan
    old = f"{plan.policy}@{plan.old_version}" if plan.old_version else "no earlier version"
    lines = [f"Plan {plan.plan_id}: {old} -> {plan.new_ref}"]
    lines += ["  labeler: {} -> {}".format(*report.labelers)] if report.labelers else []
    lines.append("")
    if plan.scope.kind is ScopeKind.screened_by and not report.changes.any:
        lines.append(f"  no rule and no text changed: the labeler judges what screen {plan.scope.screen} cleared")
    elif report.changes.any or not report.labelers:
        lines += [f"  {line}" for line in rule_lines(report.changes)]
    else:
        lines.append("  no rule and no text changed, but another labeler may answer otherwise for every content")
    version = f" at version {plan.source_version}" if plan.source_version is not None else ""
    label = f"label under {plan.new_ref}" + (f" by {report.labelers[1]}" if report.labelers else "")
    where = f"of {plan.source}{version}"
    unlabelled = counted(report.unlabelled, f"content {where} has", f"contents {where} have")
    lines += ["", f"  {unlabelled} no {label}."]
    lines.append("")
    table = [("scope", "contents", "without a label", "model calls")]
    table.append((str(plan.scope), f"{plan.rows:,}", f"{plan.pending:,}", f"{plan.calls:,}"))
    table += [(name, f"{size.rows:,}", "", f"at most {size.max_calls:,}") for name, size in report.others.items()]
    lines += [f"  {line}" for line in aligned(table)]
    cost = estimate_text(report.cost, report.currency)
    tokens = f"{plan.prompt_tokens:,} prompt tokens" if plan.prompt_tokens or not plan.calls else "tokens unknown"
    lines += ["", f"  {counted(plan.calls, 'call', 'calls')}, {tokens};", f"  {cost}."]
    lines += [f"  {line}" for line in _notes(report)]
    apply = f"To label: safeguard relabel apply {plan.plan_id} {options}".rstrip()
    if report.not_stored:
        apply = f"The plan is not stored: {report.not_stored}. To apply it, plan again as a user who may write there."
    return "\n".join([*lines, "", f"Nothing was labelled. {apply}", ""])


def _notes(report: PlanReport) -> list[str]:
    plan, changes = report.plan, report.changes
    notes = []
    if changes.added and plan.scope.kind is ScopeKind.touched:
        added = ", ".join(changes.added)
        notes.append(f"No old label names {added}: only the share of the rest can show what it catches.")
    is_same = plan.old_version and plan.old_hash == plan.new_hash and not (changes.labeler or report.labelers)
    if is_same and plan.scope.kind is not ScopeKind.screened_by:
        notes.append("The two versions have the same policy hash: every verdict stays valid, and no call is needed.")
    if report.decide_again is not None and report.decide_again.contents:
        contents, ids = report.decide_again
        listed = ", ".join(ids[:10]) + (", …" if contents > 10 else "")
        notes.append(f"Human decisions that name a changed rule, to be decided again: {contents:,} ({listed}).")
    return [*notes, *report.screens]
