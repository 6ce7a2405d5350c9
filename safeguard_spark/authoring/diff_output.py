"""Diff output: a policy diff for people."""

from collections.abc import Iterator

from safeguard_spark.authoring.diff import PolicyDiff


def diff_text(diff: PolicyDiff) -> str:
    """Behavior first, then text, each rule by rule; last what cannot change a label."""
    consequence = (
        "different policy hash: every content is judged again"
        if diff.labels_may_change
        else "same policy hash: no label can change"
    )
    lines = [f"{diff.before} -> {diff.after} ({consequence})"]
    for title, part in (("Behavior", _behavior(diff)), ("Text", _text(diff)), ("Front matter", _fields(diff))):
        entries = list(part)
        if entries:
            lines.extend(["", title, *entries])
    return "\n".join([*lines, ""])


def _behavior(diff: PolicyDiff) -> Iterator[str]:
    for owner, changes in diff.behavior.items():
        yield from (f"  {owner}: {change}" for change in changes)
    for change in diff.cases:
        yield f"  case {change.case}: {change.before} -> {change.after}"
    for count, what, ids in (
        (len(diff.cases_added), "new", diff.cases_added),
        (len(diff.cases_removed), "removed", diff.cases_removed),
    ):
        if count:
            yield f"  {count} {what} case{'s' if count > 1 else ''}: {', '.join(ids)}"


def _text(diff: PolicyDiff) -> Iterator[str]:
    for owner in dict.fromkeys(change.owner for change in diff.text):
        yield f"  {owner}"
        for change in diff.text:
            if change.owner == owner:
                yield from (f"    - {line.strip()}" for line in change.removed)
                yield from (f"    + {line.strip()}" for line in change.added)


def _fields(diff: PolicyDiff) -> Iterator[str]:
    for change in diff.fields:
        yield f"  {change.name}: {change.before!r} -> {change.after!r}"
