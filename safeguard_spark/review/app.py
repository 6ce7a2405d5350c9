"""The web application of the console."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from safeguard_spark.review.console import HERE, Console, page, see_other, user_of
from safeguard_spark.review.guard import Guard
from safeguard_spark.review.journal import APPEND_S, Appender
from safeguard_spark.review.screens import leads, playground, policies, queue, search


def build_app(console: Console, append_every_s: float = APPEND_S) -> Starlette:
    """The application; decisions are appended to their table while it runs."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        appender = Appender(console.journal, console.tables, append_every_s)
        appender.start()
        yield
        appender.stop()

    routes = [
        Route("/", home),
        *queue.routes,
        *leads.routes,
        *search.routes,
        *playground.routes,
        *policies.routes,
        Mount("/static", StaticFiles(directory=HERE / "static")),
    ]
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[Middleware(Guard, users=console.users)],
        exception_handlers={404: not_there, 405: not_there},
    )
    app.state.console = console
    return app


async def home(request: Request) -> Response:
    """The screen a person uses most."""
    return see_other("/queue" if user_of(request).may_review else "/policies")


async def not_there(request: Request, _: Exception) -> Response:
    """A page for an address without one."""
    return page(request, "message.html", status=404, title="Not here", message="There is no such page.", next_page="/")
