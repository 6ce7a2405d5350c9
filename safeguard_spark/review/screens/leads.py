"""For leads: items on which two people differ, and how reviewers agree with each other and with known answers."""

import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import groupby

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safeguard_spark.evaluation.intervals import Rate
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
from safeguard_spark.review.decisions import Resolved, resolve
from safeguard_spark.review.estimate import share_with_bounds
from safeguard_spark.review.items import CALIBRATION
from safeguard_spark.review.journal import Journal
from safeguard_spark.review.queue import ADJUDICATION, Answer, NotYoursError
from safeguard_spark.review.screens.queue import ANSWERS

FOR_LEADS = "This screen is for leads."
SECONDS = "item_id IN (SELECT item_id FROM decisions WHERE slot = 'second' AND NOT withdrawn)"
NOT_ADJUDICATED = f"item_id NOT IN (SELECT item_id FROM decisions WHERE slot = '{ADJUDICATION}' AND NOT withdrawn)"
# By their numbers, which an index has: with decisions by the million only those that are needed are read.
CALIBRATIONS = f"number IN (SELECT number FROM decisions WHERE slot LIKE '{CALIBRATION}:%' AND NOT withdrawn)"


async def show_open(request: Request) -> Response:
    """The next item on which two people differ."""
    console, user = console_of(request), user_of(request)
    if not user.may_lead:
        return refuse(request, FOR_LEADS)
    return await _page(request, console)


async def adjudicate(request: Request) -> Response:
    """Record what the lead says of an item."""
    console, user = console_of(request), user_of(request)
    if not user.may_lead:
        return refuse(request, FOR_LEADS)
    decision_id = field(request, "decision_id")
    if console.journal.decisions("decision_id = ? AND reviewer = ?", decision_id, user.reviewer):
        return see_other("/adjudication")  # the form was sent twice
    item = console.items.find(field(request, "item_id"))
    answer, reason = field(request, "answer"), field(request, "reason").strip()
    if item is None:
        return refuse(request, "This item is gone. Nothing was recorded.", 409)
    if answer not in ANSWERS or not reason:
        return await _page(request, console, "Choose an answer, and say why.")
    rules = tuple(rule["id"] for rule in rules_of(console.policy_of(item)) if rule["id"] in fields(request, "rule"))
    said = Answer(decision_id, answer, rules if answer == "violation" else (), reason)
    try:
        open_item = console.queue.take_item(user.reviewer, item.item_id, ADJUDICATION)
        console.queue.decide(user.reviewer, open_item, said, item.template)
    except NotYoursError as error:
        return refuse(request, str(error), 409)
    return see_other("/adjudication")


async def _page(request: Request, console: Console, problem: str = "") -> Response:
    disputed = await run_in_threadpool(_disputed, console.journal)
    waiting = [item_id for item_id in disputed if item_id in console.items]
    item = console.items.find(waiting[0]) if waiting else None
    if item is None:
        return page(request, "message.html", title="Adjudication", message="No two people differ about an item.")
    resolved = resolve(console.journal.decisions("item_id = ?", item.item_id))
    policy = console.policy_of(item)
    return page(
        request,
        "adjudication.html",
        status=422 if problem else 200,
        item=item,
        policy=policy,
        rules=rules_of(policy),
        answers=ANSWERS,
        decision_id=uuid.uuid4().hex,
        first=resolved.final,
        second=resolved.second,
        left=len(waiting),
        problem=problem,
    )


async def show_reviewers(request: Request) -> Response:
    """Agreement of second reviews, and each reviewer's recall on items whose answer is known, with bounds."""
    console = console_of(request)
    if not user_of(request).may_lead:
        return refuse(request, FOR_LEADS)
    known = {item.item_id: item.known_violation for item in console.items.of_purpose(CALIBRATION)}
    agreement = await run_in_threadpool(_agreement, console.journal)
    answers = await run_in_threadpool(_known_answers, console.journal, known)

    def share_right(reviewer: str, truth: bool) -> Rate | None:
        counts = {answer: answers[reviewer, truth, answer] for answer in (True, False, None)}
        return share_with_bounds(counts[truth], sum(counts.values()))

    rows = [
        {"reviewer": name, "items": items, "recall": share_right(name, True), "specificity": share_right(name, False)}
        for name, items in console.journal.items_by_reviewer().items()
    ]
    return page(request, "reviewers.html", agreement=share_with_bounds(agreement[True], agreement.total()), rows=rows)


def _disputed(journal: Journal) -> list[str]:
    """The items about which two people differ and nobody has adjudicated."""
    undecided = _resolved(journal, f"{SECONDS} AND {NOT_ADJUDICATED}")
    return [item_id for item_id, resolved in undecided if resolved.needs_adjudication]


def _agreement(journal: Journal) -> Counter[bool]:
    """How many items two people judged alike, and how many not."""
    return Counter(
        not _first_two_differ(resolved)
        for _, resolved in _resolved(journal, SECONDS)
        if resolved.second is not None and resolved.final is not None
    )


def _known_answers(journal: Journal, known: Mapping[str, bool]) -> Counter[tuple[str, bool, bool | None]]:
    """How often who gave which answer where which is known: (reviewer, the known answer, theirs). Blind ones alone."""
    return Counter(
        (decision.reviewer, known[decision.item_id], decision.violation)
        for decision in journal.stream(CALIBRATIONS)
        if decision.is_blind and decision.item_id in known
    )


def _first_two_differ(resolved: Resolved) -> bool:
    if resolved.final is not None and resolved.final.stage == ADJUDICATION:
        return True  # only items about which two people differ are adjudicated
    return resolved.needs_adjudication


def _resolved(journal: Journal, where: str) -> Iterator[tuple[str, Resolved]]:
    """The items with decisions that meet a condition, and what people made of each; one at a time."""
    decisions = journal.stream(where, order="item_id, number")
    return ((item_id, resolve(group)) for item_id, group in groupby(decisions, key=lambda one: one.item_id))


routes = [
    Route("/adjudication", show_open, methods=["GET"]),
    Route("/adjudication", adjudicate, methods=["POST"]),
    Route("/reviewers", show_reviewers),
]
