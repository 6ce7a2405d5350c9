"""Search: everything that is known of one content. Its id is sent in a form, so that no address has it."""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safeguard_spark.review.console import console_of, field, page, refuse, user_of
from safeguard_spark.review.reading import history_of, labels_of

FOR_AUTHORS = "This screen is for authors and leads: it shows what the model said before a reviewer has decided."


async def search(request: Request) -> Response:
    """The form, and once it was sent the history."""
    console = console_of(request)
    if not user_of(request).may_author:
        return refuse(request, FOR_AUTHORS)
    content_id, collection, history = field(request, "content_id").strip(), field(request, "collection"), None
    labels = await run_in_threadpool(labels_of, console.tables, content_id) if content_id else []
    items = console.items.of_content(content_id)
    decisions = console.journal.decisions("json_extract(row, '$.content_id') = ?", content_id)
    # Another collection may have another content under the same id.
    collections = {row["collection"] for row in (*labels, *(item.row for item in items))}
    collections |= {decision.collection for decision in decisions}
    if len(collections) == 1:
        (collection,) = collections
    if content_id and (collection in collections or not collections):
        labels = [row for row in labels if row["collection"] == collection]
        history = await run_in_threadpool(history_of, console.tables, labels)
    return page(
        request,
        "search.html",
        content_id=content_id,
        collection=collection,
        collections=sorted(collections),
        history=history,
        items=[item for item in items if item.collection == collection],
        decisions=[decision for decision in decisions if decision.collection == collection],
    )


routes = [Route("/search", search, methods=["GET", "POST"])]
