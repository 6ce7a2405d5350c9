"""Search: everything that is known of one content id. The id is sent in a form, so that no address has it."""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safeguard_spark.review.console import console_of, field, page, refuse, user_of
from safeguard_spark.review.reading import history_of

FOR_AUTHORS = "This screen is for authors and leads: it shows what the model said before a reviewer has decided."


async def search(request: Request) -> Response:
    """The form, and once it was sent the history."""
    console = console_of(request)
    if not user_of(request).may_author:
        return refuse(request, FOR_AUTHORS)
    content_id, history = field(request, "content_id").strip(), None
    if content_id:
        history = await run_in_threadpool(history_of, console.tables, content_id)
    items = console.items.of_content(content_id) if content_id else []
    decisions = [d for d in console.journal.decisions() if d.content_id == content_id] if content_id else []
    return page(request, "search.html", content_id=content_id, history=history, items=items, decisions=decisions)


routes = [Route("/search", search, methods=["GET", "POST"])]
