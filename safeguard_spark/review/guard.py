"""Guard: what every request must satisfy before a screen sees it, and what every reply carries.

A form is read here, so that no screen can take one without its token. What goes wrong is logged by its type alone: a
message may quote a content.
"""

import hmac
import logging
import secrets
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from safeguard_spark.review.users import LOCAL_NAMES, RefusedError, Users, is_loopback

log = logging.getLogger(__name__)

COOKIE = "session"
TOKEN = "token"  # the form field that holds the token
MAX_FORM = 16 << 20  # bytes; a pasted content may have megabytes
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",  # with no-referrer, browsers send our own forms with the origin null
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
Form = dict[str, list[str]]


class Guard:
    """An ASGI middleware: identity, origin, token, size, headers, errors."""

    def __init__(self, app: ASGIApp, users: Users) -> None:
        self._app, self._users = app, users

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it with one sentence."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False
        session = _session(Headers(scope=scope)) or secrets.token_urlsafe(32)

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.append("Set-Cookie", f"{COOKIE}={session}; Path=/; HttpOnly; SameSite=Strict{self._secure}")
            await send(message)

        try:
            problem = await self._check(scope, receive, session)
            app = PlainTextResponse(problem[1] + "\n", problem[0]) if problem else self._app
            await app(scope, receive, send_with_headers)
        except Exception as error:
            log.error("%s %s failed: %s", scope["method"], _screen(scope["path"]), type(error).__name__)
            if not started:
                text = "Something went wrong. Nothing was lost that was decided; try again.\n"
                await PlainTextResponse(text, 500)(scope, receive, send_with_headers)

    @property
    def _secure(self) -> str:
        return "" if is_loopback(self._users.config.host) else "; Secure"

    async def _check(self, scope: Scope, receive: Receive, session: str) -> tuple[int, str] | None:
        """Why a request is refused, or None; the sender and the form are then in its state."""
        headers, config = Headers(scope=scope), self._users.config
        peer = scope["client"][0] if scope.get("client") else ""
        # A page elsewhere whose name is made to point at this machine would otherwise be of our origin.
        if not config.user_header and _host(headers.get("host", "")) not in LOCAL_NAMES:
            return 421, "This console is opened as http://127.0.0.1 or http://localhost."
        try:
            user = self._users.sender(headers.getlist(config.user_header) if config.user_header else (), peer)
        except RefusedError as error:
            return 403, str(error)
        token = self._users.digest(f"form {session} {user.name}")
        state = scope.setdefault("state", {})
        state.update(user=user, token=token, form={})
        if scope["method"] in ("GET", "HEAD"):
            return None
        if not _is_same_origin(headers):
            return 403, "This form was sent from another site. Nothing was recorded."
        form = await _read_form(receive)
        if form is None:
            return 413, f"The form is larger than {MAX_FORM >> 20} MB. Nothing was recorded."
        if not hmac.compare_digest(form.get(TOKEN, [""])[-1].encode(), token.encode()):
            return 403, "This form has expired. Go back, load the page again, and repeat what you did."
        state["form"] = form
        return None


def _session(headers: Headers) -> str | None:
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return cookie.value if cookie and len(cookie.value) >= 32 and cookie.value.isascii() else None


def _host(value: str) -> str:
    return urlsplit(f"//{value}").hostname or ""


def _is_same_origin(headers: Headers) -> bool:
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


async def _read_form(receive: Receive) -> Form | None:
    """The fields of a form; None if it is too large."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_FORM:
            return None
        if not message.get("more_body", False):
            break
    form: Form = {}
    for name, value in _fields(bytes(body)):
        form.setdefault(name, []).append(value)
    return form


def _fields(body: bytes) -> Iterable[tuple[str, str]]:
    try:
        return parse_qsl(body.decode("ascii", "replace"), keep_blank_values=True, max_num_fields=1_000)
    except ValueError:
        return ()


def _screen(path: str) -> str:
    """The first part of a path: what follows may be a person's typing."""
    return "/" + path.lstrip("/").partition("/")[0][:20]
