"""The queue: judge a content blind, then see the model's verdict, and judge again if need be."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safeguard_spark.policy.document import Severity
from safeguard_spark.review.breaks import minutes_without_break
from safeguard_spark.review.console import (
    Console,
    console_of,
    field,
    fields,
    page,
    refuse,
    rules_of,
    see_other,
    user_of,
)
from safeguard_spark.review.decisions import VIOLATION, Decision
from safeguard_spark.review.items import Item
from safeguard_spark.review.queue import Answer, Assignment, NotYoursError
from safeguard_spark.review.reading import reasoning_of

ANSWERS = {
    "violation": ("v", "Violation"),
    "safe": ("s", "Safe"),
    "unsure": ("u", "Unsure"),
    "gap": ("g", "Policy gap: it does not say"),
}
WORK_S = 4 * 3600.0  # decisions that the reminder looks back at
NO_REASON = "You and the model differ. Say why in a few words."


async def show(request: Request) -> Response:
    """The policies with items, or the only one's next item."""
    console, user = console_of(request), user_of(request)
    if not user.may_review:
        return refuse(request, "The queue is for reviewers. You may search, try and read policies.")
    policies = console.queue.policies()
    if len(policies) == 1:
        return see_other(f"/queue/{next(iter(policies))}")
    left = {policy: console.queue.left(user.reviewer, policy) for policy in policies}
    return page(request, "queues.html", policies=policies, left=left)


async def show_item(request: Request) -> Response:
    """The item that is open to a person, or the next one of the policy."""
    console, user = console_of(request), user_of(request)
    if not user.may_review:
        return refuse(request, "The queue is for reviewers.")
    policy = request.path_params["policy"]
    open_item, item = _open_item(console, user.reviewer, policy)
    if open_item is None or item is None:
        return page(request, "done.html", policy=policy)
    return _item_page(request, console, open_item, item)


async def act(request: Request) -> Response:
    """Record an answer, take the next item, or take back the last decision."""
    console, user = console_of(request), user_of(request)
    if not user.may_review:
        return refuse(request, "The queue is for reviewers.")
    policy, queue = request.path_params["policy"], console.queue
    action, here = field(request, "action"), f"/queue/{request.path_params['policy']}"
    if action == "undo":
        undone = queue.undo(user.reviewer)
        item = console.items.find(undone.item_id) if undone else None
        return see_other(f"/queue/{item.policy}" if item else here)
    open_item = queue.current(user.reviewer)
    item = console.items.find(open_item.item_id) if open_item else None
    shown = field(request, "item_id")
    if open_item is None or item is None or open_item.item_id != shown:
        if action == "next":  # it was pressed twice, or in another tab
            return see_other(here)
        if console.journal.decisions("item_id = ? AND reviewer = ? AND NOT withdrawn", shown, user.reviewer):
            message = "You have decided this item already, in another tab or window. This answer was not recorded."
        else:
            message = "This item was given to another person after 15 minutes, or is gone. Nothing was recorded."
        return page(request, "message.html", status=409, title="Not recorded", message=message, next_page=here)
    if action == "next":
        if _lacks_reason(item, _mine(console, user.reviewer, item)):
            return _item_page(request, console, open_item, item, problem=NO_REASON)
        queue.take(user.reviewer, policy)
        return see_other(here)
    return _record(request, console, open_item, item)


def _record(request: Request, console: Console, open_item: Assignment, item: Item) -> Response:
    user, policy = user_of(request), request.path_params["policy"]
    answer, rules = field(request, "answer"), fields(request, "rule")
    known = {rule["id"] for rule in rules_of(console.policy_of(item), item.rule_ids or ())}
    if answer not in ANSWERS or not set(rules) <= known:
        return _item_page(request, console, open_item, item, problem="Choose an answer.")
    said = Answer(
        field(request, "decision_id"), answer, rules if answer == "violation" else (), field(request, "reason")
    )
    is_again = open_item.decision_id is not None
    if is_again and not said.reason.strip() and item.differs_from(_as_decision(item, said)):
        return _item_page(request, console, open_item, item, problem=NO_REASON)
    try:
        console.queue.decide(user.reviewer, open_item, said, item.template)
    except NotYoursError as error:
        return page(
            request, "message.html", status=409, title="Not recorded", message=str(error), next_page=f"/queue/{policy}"
        )
    if is_again:
        console.queue.take(user.reviewer, policy)
    return see_other(f"/queue/{policy}")


def _as_decision(item: Item, answer: Answer) -> Decision:
    return replace(item.template, violation=VIOLATION.get(answer.answer), rule_ids=answer.rule_ids)


def _open_item(console: Console, reviewer: str, policy: str) -> tuple[Assignment | None, Item | None]:
    current = console.queue.current(reviewer)
    item = console.items.find(current.item_id) if current else None
    if current is None or item is None or (item.policy != policy and current.decision_id is None):
        current = console.queue.take(reviewer, policy)
        item = console.items.find(current.item_id) if current else None
    return current, item


def _mine(console: Console, reviewer: str, item: Item) -> list[Decision]:
    """A person's decisions on an item that stand, oldest first."""
    return console.journal.decisions("item_id = ? AND reviewer = ? AND NOT withdrawn", item.item_id, reviewer)


def _lacks_reason(item: Item, mine: list[Decision]) -> bool:
    return bool(mine) and item.differs_from(mine[-1]) and not any(decision.reason for decision in mine)


def _item_page(request: Request, console: Console, open_item: Assignment, item: Item, problem: str = "") -> Response:
    user, policy = user_of(request), console.policy_of(item)
    is_revealed = open_item.decision_id is not None
    mine = _mine(console, user.reviewer, item)
    may_see_reasoning = user.may_author or console.config.review.show_reasoning
    values: dict[str, Any] = {
        "item": item,
        "policy": policy,
        "rules": rules_of(policy, (item.rule_ids or ()) if is_revealed else ()),
        "answers": ANSWERS,
        "decision_id": uuid.uuid4().hex,
        "is_revealed": is_revealed,
        "mine": mine[-1] if mine else None,
        "differs": bool(mine) and item.differs_from(mine[-1]),
        "lacks_reason": _lacks_reason(item, mine),
        "is_severe": policy is not None and any(rule.severity is Severity.critical for rule in policy.rules),
        "left": console.queue.left(user.reviewer, item.policy),
        "minutes": _minutes(console, user.reviewer),
        "may_see_reasoning": may_see_reasoning,
        "reasoning": None,
        "problem": problem,
        "action": f"/queue/{item.policy}",
    }
    if is_revealed and may_see_reasoning and "reasoning" in request.query_params:
        values["reasoning"] = reasoning_of(console.tables, [item.work_key]).get(item.work_key, [])
    return page(request, "item.html", status=422 if problem else 200, **values)


def _minutes(console: Console, reviewer: str) -> int | None:
    now = console.clock()
    since = datetime.fromtimestamp(now - WORK_S, UTC).isoformat()
    recent = console.journal.decisions("reviewer = ? AND decided_at > ?", reviewer, since)
    return minutes_without_break([decision.decided_at.timestamp() for decision in recent], now)


routes = [
    Route("/queue", show),
    Route("/queue/{policy}", show_item, methods=["GET"]),
    Route("/queue/{policy}", act, methods=["POST"]),
]
