"""Policy diff: what changed between two versions, rule by rule; behavior and text are separate."""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from safeguard_spark.authoring.cases import Case
from safeguard_spark.authoring.text import PolicyText, mentions
from safeguard_spark.policy.document import LabelerDefaults, Policy
from safeguard_spark.terminal import as_lines

RELABELS = "every content is judged again, unless the job's configuration sets these labeler keys itself"


@dataclass(frozen=True)
class TextChange:
    """Lines removed and added at one place in the text. `owner` is the rule they are about, or the section."""

    owner: str
    removed: tuple[str, ...]
    added: tuple[str, ...]


@dataclass(frozen=True)
class CaseChange:
    """A content whose expected verdict changed."""

    case: str
    before: str
    after: str


@dataclass(frozen=True)
class FieldChange:
    """A front matter value outside the policy hash. Only `labeler` can change a label: by changing the labeler."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True)
class PolicyDiff:
    """What changed from one policy to another. `behavior` is by rule id, or "policy" for all rules.

    `labeler` are the settings that the policies recommend differently. `labels_may_change` is True for these too.
    """

    before: str
    after: str
    same_policy_hash: bool
    labels_may_change: bool
    behavior: dict[str, tuple[str, ...]]
    text: tuple[TextChange, ...]
    cases: tuple[CaseChange, ...]
    cases_added: tuple[str, ...]
    cases_removed: tuple[str, ...]
    fields: tuple[FieldChange, ...]
    labeler: tuple[str, ...] = ()

    @cached_property
    def owners(self) -> tuple[str, ...]:
        """Rules and sections with a change, in order of appearance."""
        return tuple(dict.fromkeys([*self.behavior, *(change.owner for change in self.text)]))


def diff_policies(before: Policy, after: Policy, cases: tuple[Iterable[Case], Iterable[Case]] = ((), ())) -> PolicyDiff:
    """The difference between two policies and, if passed, their cases."""
    old_cases, new_cases = ({case.content_hash: case for case in side} for side in cases)
    return PolicyDiff(
        before=before.ref,
        after=after.ref,
        same_policy_hash=before.policy_hash == after.policy_hash,
        labels_may_change=before.policy_hash != after.policy_hash or before.labeler != after.labeler,
        behavior=_behavior(before, after),
        text=tuple(_text(before, after)),
        cases=tuple(
            CaseChange(new_cases[key].id, old.expected, new_cases[key].expected)
            for key, old in old_cases.items()
            if key in new_cases and old.expected != new_cases[key].expected
        ),
        cases_added=tuple(case.id for key, case in new_cases.items() if key not in old_cases),
        cases_removed=tuple(case.id for key, case in old_cases.items() if key not in new_cases),
        fields=tuple(_fields(before, after)),
        labeler=labeler_changes(before.labeler, after.labeler),
    )


def labeler_changes(before: LabelerDefaults, after: LabelerDefaults) -> tuple[str, ...]:
    """The recommended settings that differ, such as `labeler.effort low -> high`."""
    old, new = (labeler.model_dump(mode="json") for labeler in (before, after))
    return tuple(
        f"labeler.{name} {old[name] or 'unset'} -> {new[name] or 'unset'}" for name in old if old[name] != new[name]
    )


def diff_json(diff: PolicyDiff) -> dict[str, Any]:
    """For programs. The key `behaviour` is the field `behavior`."""
    return {"behaviour" if name == "behavior" else name: value for name, value in asdict(diff).items()}


def diff_text(diff: PolicyDiff) -> str:
    """Behavior first, then text, each rule by rule; last the front matter that is not in the policy hash."""
    consequence = "same policy hash: no label can change"
    if not diff.same_policy_hash:
        consequence = "different policy hash: every content is judged again"
    elif diff.labeler:
        consequence = f"same policy hash, another labeler: {RELABELS}"
    lines = [f"{diff.before} -> {diff.after} ({consequence})"]
    fields = [line for change in diff.fields for line in _field_lines(change)]
    for title, part in (("Behavior", _behavior_lines(diff)), ("Text", _text_lines(diff)), ("Front matter", fields)):
        entries = list(part)
        if entries:
            lines.extend(["", title, *entries])
    return as_lines([*lines, ""])


def _behavior_lines(diff: PolicyDiff) -> Iterator[str]:
    for owner, changes in diff.behavior.items():
        yield from (f"  {owner}: {change}" for change in changes)
    for change in diff.cases:
        yield f"  case {change.case}: {change.before} -> {change.after}"
    for what, ids in (("new", diff.cases_added), ("removed", diff.cases_removed)):
        if ids:
            yield f"  {len(ids)} {what} case{'s' if len(ids) > 1 else ''}: {', '.join(ids)}"


def _field_lines(change: FieldChange) -> Iterator[str]:
    """The change of a value, or of each key of one that has keys."""
    if not (isinstance(change.before, dict) and isinstance(change.after, dict)):
        yield f"  {change.name}: {change.before!r} -> {change.after!r}"
        return
    for key in dict.fromkeys([*change.before, *change.after]):
        was, now = ("unset" if (value := side.get(key)) is None else value for side in (change.before, change.after))
        if was != now:
            yield f"  {change.name}.{key}: {was} -> {now}"


def _text_lines(diff: PolicyDiff) -> Iterator[str]:
    if not (diff.same_policy_hash or diff.behavior or diff.text):
        yield "  only blank lines differ"
    for owner in dict.fromkeys(change.owner for change in diff.text):
        yield f"  {owner}"
        for change in diff.text:
            if change.owner == owner and [x.split() for x in change.removed] == [x.split() for x in change.added]:
                yield from (f"    only spaces differ: {line.strip()}" for line in change.added)
            elif change.owner == owner:
                yield from (f"    - {line.strip()}" for line in change.removed)
                yield from (f"    + {line.strip()}" for line in change.added)


def _behavior(before: Policy, after: Policy) -> dict[str, tuple[str, ...]]:
    changes: dict[str, list[str]] = {}
    if before.output is not after.output:
        changes["policy"] = [f"answer format {before.output.value} -> {after.output.value}"]
    if before.answers != after.answers:
        changes.setdefault("policy", []).append("the words for a violation and for safe content (`answers`)")
    if before.allowed != after.allowed:
        changes.setdefault("policy", []).append("the labels for safe content (`allowed`)")
    if before.review != after.review:
        changes.setdefault("policy", []).append("the labels for content that a person must decide (`review`)")
    old, new = ({rule.id: rule for rule in policy.rules} for policy in (before, after))
    for rule_id in dict.fromkeys([*new, *old]):
        was, now = old.get(rule_id), new.get(rule_id)
        if was is None and now is not None:
            changes[rule_id] = [f"new rule, category {now.category}"]
        elif now is None and was is not None:
            changes[rule_id] = [f"rule removed, category {was.category}"]
        elif was and now and was.category != now.category:
            changes[rule_id] = [f"category {was.category} -> {now.category}"]
    if not changes and before.rule_ids != after.rule_ids:
        changes["policy"] = ["the order of the rules, which the answer format follows"]
    return {owner: tuple(lines) for owner, lines in changes.items()}


def _text(before: Policy, after: Policy) -> list[TextChange]:
    ids = tuple(dict.fromkeys([*after.rule_ids, *before.rule_ids]))
    old, new = _owned(before, ids), _owned(after, ids)
    matcher = difflib.SequenceMatcher(None, [line for _, line in old], [line for _, line in new], autojunk=False)
    changes: list[TextChange] = []
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal":
            continue
        removed, added = old[a:b], new[c:d]
        for owner in dict.fromkeys(owner for owner, _ in [*removed, *added]):
            minus, plus = (tuple(line for o, line in side if o == owner and line.strip()) for side in (removed, added))
            if minus or plus:
                changes.append(TextChange(owner, minus, plus))
    return changes


def _owned(policy: Policy, ids: tuple[str, ...]) -> list[tuple[str, str]]:
    """Every line with its owner: the one rule named in the line, in its innermost heading, or just above it."""
    owned: list[tuple[str, str]] = []
    for line in PolicyText(policy.body).lines:
        rules = _ids_in(line.text, ids) or (_ids_in(line.headings[-1], ids) if line.headings else [])
        section = line.headings[-1] if line.headings else "before the first heading"
        continues = line.text[:1].isspace() and owned and not line.is_heading and line.text.strip()
        owner = rules[0] if len(rules) == 1 else owned[-1][0] if continues else section
        owned.append((owner, line.text))
    return owned


def _ids_in(text: str, ids: tuple[str, ...]) -> list[str]:
    return [i for i in ids if mentions(text, i)]


def _fields(before: Policy, after: Policy) -> list[FieldChange]:
    old, new = (
        p.model_dump(
            mode="json", exclude={"body", "rules", "output", "allowed", "answers", "review", "name", "version"}
        )
        for p in (before, after)
    )
    changes = [FieldChange(name, old[name], new[name]) for name in old if old[name] != new[name]]
    was = {rule.id: rule for rule in before.rules}
    changes.extend(
        FieldChange(f"{rule.id} {name}", str(getattr(was[rule.id], name)), str(getattr(rule, name)))
        for rule in after.rules
        for name in ("title", "severity")
        if rule.id in was and getattr(was[rule.id], name) != getattr(rule, name)
    )
    return changes
