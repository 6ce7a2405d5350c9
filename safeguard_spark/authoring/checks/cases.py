"""Checks of a policy's cases: each by itself, against each other, and against the rules."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from pydantic import ValidationError

from safeguard_spark.authoring.cases import Case
from safeguard_spark.authoring.diagnostics import Diagnostic, nearest
from safeguard_spark.authoring.draft import Draft, DraftCases
from safeguard_spark.policy.document import NONE, REVIEW, Output
from safeguard_spark.policy.positions import Span


class IndexedCase(NamedTuple):
    """A readable case and its index in the list."""

    position: int
    case: Case


def check_cases(draft: Draft) -> Iterator[Diagnostic]:
    """Every problem of the cases next to a policy, except problems of structure."""
    if draft.cases is None:
        if draft.path.name == "policy.md":  # a single file elsewhere needs no cases
            problem = "there is no cases.yaml next to the policy"
            hint = "add a few contents on both sides of the boundary; `safeguard verify` runs them"
            yield draft.source.diagnose("no-cases", Span(1, 1, 3), problem, hint)
        return
    cases = list(_readable(draft.cases))
    yield from _ids(draft.cases)
    yield from _same_content(draft.cases, cases)
    for indexed in cases:
        yield from _expectation(draft, draft.cases, indexed)
    if not draft.cases.problems:
        yield from _coverage(draft, draft.cases, [indexed.case for indexed in cases])


def _readable(document: DraftCases) -> Iterator[IndexedCase]:
    for index, value in document.values.items():
        fields: dict[str, Any] = {key: item for key, item in value.items() if key in Case.model_fields}
        try:
            yield IndexedCase(index, Case.model_validate(fields))
        except ValidationError:
            continue  # already reported as a problem of structure


def _ids(document: DraftCases) -> Iterator[Diagnostic]:
    first: dict[str, int] = {}
    for index, value in document.values.items():
        name = str(value.get("id", ""))
        if name and name in first:
            span = document.yaml.value_span(("cases", index, "id"))
            hint = f"first used on line {document.yaml.value_span(('cases', first[name], 'id')).line}"
            yield document.source.diagnose("duplicate-case-id", span, f"case id {name} is used twice", hint)
        first.setdefault(name, index)


def _same_content(document: DraftCases, cases: Iterable[IndexedCase]) -> Iterator[Diagnostic]:
    first: dict[str, IndexedCase] = {}
    for indexed in cases:
        case = indexed.case
        earlier = first.setdefault(case.content_hash, indexed)
        if earlier is indexed:
            continue
        span = _entry(document, indexed.position)
        expected = (case.violation, case.expected_category, set(case.rules))
        before = (earlier.case.violation, earlier.case.expected_category, set(earlier.case.rules))
        line = _entry(document, earlier.position).line
        if expected == before:
            problem = f"case {case.id} has the same content as {earlier.case.id} (line {line})"
            yield document.source.diagnose("duplicate-case", span, problem, "remove one of them")
        else:
            problem = f"case {case.id} contradicts {earlier.case.id} (line {line}): same content"
            yield document.source.diagnose(
                "contradicting-cases", span, problem, "decide which is right, and remove the other"
            )


def _expectation(draft: Draft, document: DraftCases, indexed: IndexedCase) -> Iterator[Diagnostic]:
    case, index, source = indexed.case, indexed.position, document.source
    has_unknown_key = bool(document.values[index].keys() - Case.model_fields.keys())  # perhaps the mistyped one
    category_of = {rule.id: rule.category for rule in draft.rules}
    for number, rule in enumerate(case.rules):
        if rule not in category_of:
            span = document.yaml.value_span(("cases", index, "rules", number))
            problem = f"case {case.id} names rule {rule}, which the policy does not define"
            yield source.diagnose("unknown-case-rule", span, problem, nearest(rule, category_of), rule)
    category = case.expected_category
    where = document.yaml.value_span(("cases", index, "category"))
    if category is not None and category not in category_of.values():
        problem = f"case {case.id} names category {category}, which the policy does not define"
        yield source.diagnose("unknown-case-rule", where, problem, nearest(category, category_of.values()), category)
    elif category and case.rules and not {category, None} & {category_of.get(rule) for rule in case.rules}:
        problem = f"case {case.id} says {category}, but its rules belong to another category"
        yield source.diagnose("inconsistent-case", where, problem, "use the category of its rules, or leave it out")
    if not case.violation and (case.rules or category):
        violated = ", ".join(case.rules) or category
        problem = f"case {case.id} violates nothing but names {violated}"
        span = document.yaml.value_span(("cases", index, "violation"))
        yield source.diagnose("inconsistent-case", span, problem, "set `violation: true`, or remove the rules")
    if case.violation and case.category == NONE:
        problem = f"case {case.id} is a violation with category {NONE}"
        yield source.diagnose("inconsistent-case", where, problem, "name the category that is violated")
    if case.violation == REVIEW and draft.policy and not draft.policy.review:
        problem = f"case {case.id} expects review, which is no answer of this policy"
        span = document.yaml.value_span(("cases", index, "violation"))
        yield source.diagnose("inconsistent-case", span, problem, "name the policy's word for it under `review`")
    if (
        case.violation is True
        and not case.rules
        and category_of
        and draft.output is Output.full
        and not has_unknown_key
    ):
        problem, hint = f"case {case.id} does not say which rule it violates", "for example `rules: [{}]`"
        span = document.yaml.value_span(("cases", index, "violation"))
        yield source.diagnose("case-without-rule", span, problem, hint.format(next(iter(category_of))))
    if not case.why.strip() and not has_unknown_key:
        problem = f"case {case.id} does not say why"
        hint = "add one sentence: it helps when a later version changes the verdict"
        yield source.diagnose("unexplained-case", _entry(document, index), problem, hint)


def _coverage(draft: Draft, document: DraftCases, cases: list[Case]) -> Iterator[Diagnostic]:
    top = Span(1)
    if not cases:
        yield document.source.diagnose(
            "no-cases", top, "the file has no cases", "add a few on both sides of the boundary"
        )
        return
    if len({case.violation for case in cases}) == 1:
        only, other = "safe content", "violations"
        if cases[0].violation:
            only, other = ("left to a person" if cases[0].violation == REVIEW else "violations"), "safe content"
        problem = f"all {len(cases)} cases are {only}" if len(cases) > 1 else f"there is only one case, of {only}"
        yield document.source.diagnose("one-sided-cases", top, problem, f"add {other} near the boundary")
    tested = {rule for case in cases for rule in case.rules} | {case.expected_category for case in cases}
    for rule in draft.rules:
        if rule.id not in tested and (rule.category not in tested or draft.output is Output.full):
            span = draft.front.value_span(("rules", rule.position, "id"))
            problem = f"no case tests rule {rule.id}"
            yield draft.source.diagnose("untested-rule", span, problem, f"add one to {document.source.file}")


def _entry(document: DraftCases, index: int) -> Span:
    """The span of the case's id, or of the entry if it has none."""
    return document.yaml.value_span(("cases", index, "id"))
