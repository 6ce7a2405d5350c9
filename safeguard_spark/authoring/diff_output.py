"""Diff output: a policy diff for people."""

from collections.abc import Iterator

from safeguard_spark.authoring.diff import PolicyDiff


def diff_text(found: PolicyDiff) -> str:
    """Behaviour first, then text, each rule by rule; then what cannot change a label."""
    consequence = (
        "different policy hash: every content is judged again"
        if found.labels_may_change
        else "same policy hash: no label can change"
    )
    lines = [f"{found.before} -> {found.after} ({consequence})"]
    for title, part in (("Behaviour", _behaviour(found)), ("Text", _text(found)), ("Front matter", _fields(found))):
        listed = list(part)
        if listed:
            lines.extend(["", title, *listed])
    return "\n".join([*lines, ""])


def _behaviour(found: PolicyDiff) -> Iterator[str]:
    for owner, changes in found.behaviour.items():
        yield from (f"  {owner}: {change}" for change in changes)
    for change in found.cases:
        yield f"  case {change.case}: {change.before} -> {change.after}"
    for count, what, ids in (
        (len(found.cases_added), "new", found.cases_added),
        (len(found.cases_removed), "removed", found.cases_removed),
    ):
        if count:
            yield f"  {count} {what} case{'s' if count > 1 else ''}: {', '.join(ids)}"


def _text(found: PolicyDiff) -> Iterator[str]:
    for owner in dict.fromkeys(change.owner for change in found.text):
        yield f"  {owner}"
        for change in found.text:
            if change.owner == owner:
                yield from (f"    - {line.strip()}" for line in change.removed)
                yield from (f"    + {line.strip()}" for line in change.added)


def _fields(found: PolicyDiff) -> Iterator[str]:
    for change in found.fields:
        yield f"  {change.name}: {change.before!r} -> {change.after!r}"
