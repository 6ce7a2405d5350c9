"""Checks of a policy's front matter: rules, folders, allowed warnings."""

import re
from collections.abc import Iterator

from safeguard_spark.authoring.diagnostics import CHECKS, Diagnostic, Level
from safeguard_spark.authoring.draft import Draft
from safeguard_spark.policy.document import VERSION, Output
from safeguard_spark.policy.positions import Span


def check_front(draft: Draft) -> Iterator[Diagnostic]:
    """Every problem of the front matter, except problems of structure."""
    yield from _rules(draft)
    yield from _folders(draft)
    for index, code in enumerate(draft.words("allow")):
        if code not in CHECKS or CHECKS[code].level is Level.error:
            allowable = ", ".join(code for code, check in CHECKS.items() if check.level is Level.warning)
            span = draft.front.value_span(("allow", index))
            problem = f"`{code}` is not a warning that can be allowed"
            yield draft.source.diagnose("bad-value", span, problem, f"one of {allowable}")


def _rules(draft: Draft) -> Iterator[Diagnostic]:
    source, front = draft.source, draft.front
    first: dict[str, int] = {}
    for rule in draft.rules:
        span = front.value_span(("rules", rule.position, "id"))
        if rule.id in first:
            hint = f"first defined on line {front.value_span(('rules', first[rule.id], 'id')).line}"
            yield source.diagnose("duplicate-rule", span, f"rule {rule.id} is defined twice", hint)
        first.setdefault(rule.id, rule.position)
    if not draft.rules and draft.output is not Output.binary and draft.body:
        where = front.key_span(("rules",)) if "rules" in front.value else Span(1, 1, 3)
        yield source.diagnose(
            "no-rules", where, f"`output: {draft.output.value}` names rules and categories, but there are none",
            "add rules, or set `output: binary`",
        )  # fmt: skip


def _folders(draft: Draft) -> Iterator[Diagnostic]:
    """Only for a file laid out as published policies are: `<name>/<version>/policy.md`."""
    path = draft.path.resolve()
    if path.name != "policy.md" or not re.match(VERSION, path.parent.name):
        return
    for key, folder in (("name", path.parent.parent.name), ("version", path.parent.name)):
        value = draft.front.value.get(key)
        if isinstance(value, str) and value != folder:
            span = draft.front.value_span((key,))
            problem = f"`{key}` is {value}, but the folder is {folder}"
            yield draft.source.diagnose("wrong-folder", span, problem, "make them equal")
