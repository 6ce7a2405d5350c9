"""Policies: rules, checks, cases and differences of versions, overturns by rule, open gaps."""

from collections import Counter
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safeguard_spark.authoring.cases import Case, cases_path, load_cases
from safeguard_spark.authoring.check import check_file
from safeguard_spark.authoring.diff import diff_policies, diff_text
from safeguard_spark.errors import PolicyError
from safeguard_spark.policy.document import Policy
from safeguard_spark.policy.layout import policy_refs
from safeguard_spark.policy.ref import policy_file
from safeguard_spark.review.console import Console, console_of, page, refuse, rules_of, user_of
from safeguard_spark.review.decisions import standing
from safeguard_spark.review.screens.search import FOR_AUTHORS


async def show_all(request: Request) -> Response:
    """Every policy version of the policies folder."""
    console = console_of(request)
    if not user_of(request).may_author:
        return refuse(request, FOR_AUTHORS)
    versions: dict[str, list[str]] = {}
    for ref in policy_refs(console.config.policies):
        name, _, version = ref.partition("@")
        versions.setdefault(name, []).insert(0, version)
    return page(request, "policies.html", versions=versions)


async def show_version(request: Request) -> Response:
    """One version, compared with the version before it."""
    console, name, version = console_of(request), request.path_params["name"], request.path_params["version"]
    if not user_of(request).may_author:
        return refuse(request, FOR_AUTHORS)
    refs = [ref for ref in policy_refs(console.config.policies) if ref.partition("@")[0] == name]
    if f"{name}@{version}" not in refs:
        return refuse(request, "There is no such policy version.", 404)
    policy = console.policy(name, version)
    older = refs[: refs.index(f"{name}@{version}")]
    before = console.policy(*older[-1].split("@", 1)) if older else None
    difference = ""
    if policy and before:
        difference = diff_text(diff_policies(before, policy, (_cases(console, before), _cases(console, policy))))
    return page(
        request,
        "policy.html",
        ref=f"{name}@{version}",
        policy=policy,
        rules=rules_of(policy),
        problems=check_file(policy_file(console.config.policies, name, version)),
        cases=_cases(console, policy) if policy else (),
        difference=difference,
        reviewed=_reviewed(console, policy) if policy else None,
    )


def _cases(console: Console, policy: Policy) -> tuple[Case, ...]:
    file = cases_path(policy_file(console.config.policies, policy.name, policy.version))
    try:
        return load_cases(file) if file.is_file() else ()
    except PolicyError:
        return ()  # the check says what is wrong with them


def _reviewed(console: Console, policy: Policy) -> dict[str, Any]:
    """Of the reviewed items: overturned labels by the label's rule, and the gaps that people found."""
    decided, overturned, gaps = Counter[str](), Counter[str](), []
    last = {}
    condition = "json_extract(row, '$.policy') = ? AND json_extract(row, '$.policy_hash') = ?"
    for decision in standing(console.journal.decisions(condition, policy.name, policy.policy_hash)):
        last[decision.item_id] = decision
    for decision in last.values():
        item = console.items.find(decision.item_id)
        if item is None:
            continue
        for rule in item.rule_ids or ("safe",):
            decided[rule] += 1
            overturned[rule] += item.differs_from(decision)
        if decision.answer == "gap":
            gaps.append(decision.reason or "no reason given")
    return {"decided": dict(decided), "overturned": overturned, "gaps": gaps}


routes = [Route("/policies", show_all), Route("/policies/{name}/{version}", show_version)]
