"""Rules of two versions: added, removed, changed, or only reworded, and so which old labels a change affects."""

import re
from dataclasses import asdict, dataclass
from typing import Any

from safeguard_spark.authoring.diff import RELABELS, PolicyDiff, diff_policies
from safeguard_spark.policy.document import Policy, version_key


@dataclass(frozen=True)
class RuleChanges:
    """Rule ids by kind of change. `sections` are headings outside the rules whose text changed."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    reworded: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()  # of removed and changed rules, for answers that name no rule
    new_categories: tuple[str, ...] = ()  # of added and changed rules
    labeler: tuple[str, ...] = ()  # settings that the versions recommend differently

    @property
    def affected(self) -> tuple[str, ...]:
        """Rules that an old label may name and whose change may make it invalid."""
        return (*self.removed, *self.changed)

    @property
    def explaining(self) -> frozenset[str]:
        """Rules whose change explains a flip."""
        return frozenset((*self.added, *self.removed, *self.changed))

    @property
    def explaining_categories(self) -> frozenset[str]:
        """Categories whose change explains a flip."""
        return frozenset((*self.categories, *self.new_categories))

    @property
    def any(self) -> bool:
        """Whether any change can change a label."""
        return bool(self.added or self.removed or self.changed or self.reworded or self.sections or self.labeler)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


def rule_changes(old: Policy, new: Policy) -> RuleChanges:
    """Compare two versions rule by rule.

    A rule is only reworded if its words are the same except for case, punctuation and markup, or if the author declares
    it by raising only the patch number.
    """
    diff = diff_policies(old, new)
    before, after = set(old.rule_ids), set(new.rule_ids)
    patch = version_key(old.version)[:2] == version_key(new.version)[:2] and old.version != new.version
    texts = {owner for owner in diff.owners if owner in before & after}
    changed: list[str] = []
    reworded: list[str] = []
    for rule in new.rule_ids:
        if rule not in texts:
            continue
        only_words = rule not in diff.behavior and (patch or _same_words(diff, rule))
        (reworded if only_words else changed).append(rule)
    added = tuple(rule for rule in new.rule_ids if rule not in before)
    removed = tuple(rule for rule in old.rule_ids if rule not in after)
    return RuleChanges(
        added=added,
        removed=removed,
        changed=tuple(changed),
        reworded=tuple(reworded),
        sections=tuple(owner for owner in diff.owners if owner not in before | after),
        categories=_categories(old, (*removed, *changed)),
        new_categories=_categories(new, (*added, *changed)),
        labeler=diff.labeler,
    )


def rule_lines(changes: RuleChanges) -> list[str]:
    """One line per kind of change, for people."""
    kinds = (
        ("added", changes.added),
        ("removed", changes.removed),
        ("changed", changes.changed),
        ("only reworded", changes.reworded),
    )
    lines = [f"rules {kind}: {', '.join(ids)}" for kind, ids in kinds if ids]
    if changes.sections:
        lines.append(f"text outside the rules changed, which may affect any rule: {', '.join(changes.sections)}")
    if changes.labeler:
        lines.append(f"{', '.join(changes.labeler)}: {RELABELS}")
    return lines or ["no rule and no text changed: every label stays valid"]


def _same_words(diff: PolicyDiff, rule: str) -> bool:
    changes = [change for change in diff.text if change.owner == rule]
    return all(_words(change.removed) == _words(change.added) for change in changes)


def _words(lines: tuple[str, ...]) -> list[str]:
    return re.findall(r"\w+", " ".join(lines).lower())


def _categories(policy: Policy, rules: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(rule.category for rule in policy.rules if rule.id in rules))
