"""One endpoint as seen from an event loop: asks until there is an answer or no hope of one."""

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

import aiohttp
import orjson

from safeguard_spark.config.model import EngineConfig
from safeguard_spark.engines import protocol
from safeguard_spark.engines.address import Address
from safeguard_spark.engines.failures import FailureKind, RequestFailure, back_off, of_status, too_long
from safeguard_spark.engines.protocol import GarbageError, OptionalFields, Route
from safeguard_spark.errors import EngineError
from safeguard_spark.labelling.engine import Answer, CallSpec, Request
from safeguard_spark.labelling.verdict import Completion

REACH_S = 4.0  # how long an endpoint that was never reached may refuse: a hiccup of its start, not an outage
CONNECT_S = 10.0
KEEP_ALIVE_S = 3.0  # below the 5 s after which uvicorn closes an idle connection: else requests race with that
STALL_S = 3.0  # no progress for so long may be the beginning of a hang
REPLY_BYTES, ERROR_BYTES = 32 << 20, 64 << 10
GIVEN_UP_AFTER, GIVEN_UP_S = 8, 30.0  # requests that failed with no answer to any between them, over so long
T = TypeVar("T")
log = logging.getLogger(__name__)


class Guard(Protocol):
    """What stands behind an endpoint and can bring it back to server_id."""

    @property
    def server_id(self) -> str:
        """Which server_id of the server is on."""
        ...

    @property
    def stalled_s(self) -> float:
        """For how long the server has made no progress with open requests, seconds."""
        ...

    def restart(self, server_id: str) -> None:
        """Called when a request was lost in `server_id`: see to it that a server lives. Blocks.

        Raises EngineError if it cannot be brought back.
        """
        ...


class Client:
    """Asks one endpoint. Made and used inside the event loop; only `lost` is read outside."""

    def __init__(self, config: EngineConfig, address: Address, key: str | None, guard: Guard | None) -> None:
        self._config, self._address, self._guard = config, address, guard
        self._routes = protocol.routes(config.dialect)
        self._route = 0
        self._forms: dict[tuple[str, str], OptionalFields] = {}  # by path and output form, once a server took one
        self._reached = guard is not None
        self._answered = False
        self._failures, self._well = 0, asyncio.get_running_loop().time()  # in a row; when one was last answered
        self._mending, self._over = asyncio.Lock(), asyncio.Event()
        self.unavailable: str | None = None
        connector = (
            aiohttp.UnixConnector(address.socket, limit=0, keepalive_timeout=KEEP_ALIVE_S)
            if address.socket
            else aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S)
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers={"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    def mark_unavailable(self, why: str) -> None:
        """Answer what is open and what will come with `why`."""
        self.unavailable = self.unavailable or why
        self._over.set()

    async def ask(self, task: CallSpec, request: Request) -> Answer:
        """The one answer to a request. Raises EngineError only before the first completion."""
        clock = asyncio.get_running_loop().time
        began, tries, refused, server_id = clock(), 0, 0, self._server_id()
        while True:
            if self.unavailable:
                return Answer(request.key, failure=self.unavailable)
            if server_id != self._server_id():  # a restart took its time from every request in flight
                began, server_id = clock(), self._server_id()
            ends = began + self._config.deadline_s
            got = await self._within(ends, task, request)
            if isinstance(got, Completion):
                self._answered = self._reached = True
                self._failures, self._well = 0, clock()
                return Answer(request.key, got)
            if self._guard and got.kind in (FailureKind.unreachable, FailureKind.transient, FailureKind.busy):
                await self._mend(server_id)
            if got.kind is FailureKind.timeout:
                await self._outlast(server_id)
            if server_id != self._server_id():
                continue
            free = got.kind in (FailureKind.unreachable, FailureKind.busy)
            refused, tries = refused + free, tries + (not free)
            wait = back_off((refused if free else tries) - 1, got.wait_s)
            self._raise_hopeless(got, clock() + wait - began)
            final = not free and got.kind is not FailureKind.transient
            if final or tries > self._config.retries or clock() + wait >= ends:
                return self._failed(request, got)
            await self._sleep(wait)

    def _server_id(self) -> str:
        return self._guard.server_id if self._guard else ""

    async def _within(self, ends: float, task: CallSpec, request: Request) -> Completion | RequestFailure:
        try:
            async with asyncio.timeout_at(ends):
                return await self._attempt(task, request)
        except TimeoutError:
            return RequestFailure(
                FailureKind.timeout, f"no answer within {self._config.deadline_s:g} s (engine.deadline_s)"
            )

    async def _attempt(self, task: CallSpec, request: Request) -> Completion | RequestFailure:
        """One attempt; more than one post only while it is open what the server takes."""
        while True:
            number = self._route
            route = self._routes[number]
            got = await self._in_some_form(route, task, request)
            more = number + 1 < len(self._routes) and not self._answered
            if not (isinstance(got, RequestFailure) and got.kind is FailureKind.not_found and more):
                return got
            self._route = max(self._route, number + 1)

    async def _in_some_form(self, route: Route, task: CallSpec, request: Request) -> Completion | RequestFailure:
        place = (route.path, task.contract.output.value)
        known = self._forms.get(place)
        tried = (known,) if known else protocol.forms(task)
        got: Completion | RequestFailure = RequestFailure(FailureKind.bad_request, "nothing to ask")
        for form in tried:
            got = await self._post(route, task, request, form)
            if isinstance(got, Completion):
                if place not in self._forms and form != tried[0]:
                    log.warning("%s does not take %s: asked without.", self._address.shown, _dropped(tried[0], form))
                self._forms.setdefault(place, form)
                return got
            if got.kind is not FailureKind.bad_request:
                return got
        return got

    async def _post(
        self, route: Route, task: CallSpec, request: Request, form: OptionalFields
    ) -> Completion | RequestFailure:
        try:
            body = orjson.dumps(route.body(str(self._config.model), task, request.prompt, form))
        except (TypeError, ValueError):
            return RequestFailure(FailureKind.bad_request, "the prompt cannot be encoded")
        try:
            url, proxy = self._address.base + route.path, self._address.proxy
            async with self._session.post(url, data=body, proxy=proxy, allow_redirects=False) as response:
                if response.status != 200:
                    trouble = of_status(response.status, response.headers)
                    if trouble.kind is FailureKind.bad_request:
                        return too_long(await _beginning(response), task.labeler.max_tokens) or trouble
                    return trouble
                return route.read(orjson.loads(await _bounded(response)))
        except (GarbageError, orjson.JSONDecodeError):
            return RequestFailure(FailureKind.transient, "the reply was garbage")
        except aiohttp.ClientConnectorCertificateError:
            return RequestFailure(FailureKind.unauthorized, "its certificate is not trusted")
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return RequestFailure(FailureKind.unreachable, _why(error))
        except (aiohttp.ClientError, ConnectionError, OSError, ValueError) as error:
            return RequestFailure(FailureKind.transient, _why(error))

    async def _mend(self, server_id: str) -> None:
        """Have the guard look after the server, once for all requests that were lost together."""
        guard = self._guard
        assert guard is not None
        async with self._mending:
            if server_id != guard.server_id or self.unavailable:
                return
            try:
                await in_thread(lambda: guard.restart(server_id))
            except EngineError as error:
                self.mark_unavailable(str(error))

    async def _outlast(self, server_id: str) -> None:
        """A deadline that passes while the server seems to hang is not the row's: wait until that is decided."""
        while (
            self._guard
            and server_id == self._guard.server_id
            and self._guard.stalled_s > STALL_S
            and not self.unavailable
        ):
            await self._sleep(0.5)

    async def _sleep(self, seconds: float) -> None:
        """Wait, or less if the engine is lost meanwhile."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), seconds)

    def _raise_hopeless(self, trouble: RequestFailure, spent_s: float) -> None:
        """Raise if nothing was ever answered and nothing will be; afterwards being denied ends the engine quietly."""
        shown = self._address.shown
        if trouble.kind is FailureKind.unreachable:
            if not self._reached and spent_s > min(REACH_S, self._config.deadline_s):
                raise EngineError(
                    f"Engine at {shown} cannot be reached: {trouble.cause}; check engine.url and that the server runs."
                )
            return
        if trouble.kind is FailureKind.unauthorized:
            said = f"Engine at {shown} refuses us: {trouble.cause}; check the key that engine.api_key_env names."
        elif trouble.kind is FailureKind.not_found:
            said = (
                f"Engine at {shown} does not serve the model {self._config.model} on "
                f"{self._routes[self._route].path}: {trouble.cause}; check engine.url, engine.model and engine.dialect."
            )
        else:
            self._reached = True
            return
        if not self._answered:
            raise EngineError(said)
        if trouble.kind is FailureKind.unauthorized:
            self.mark_unavailable(said)

    def _failed(self, request: Request, trouble: RequestFailure) -> Answer:
        now = asyncio.get_running_loop().time()
        if trouble.kind not in (FailureKind.bad_request, FailureKind.too_long):
            self._failures += 1
            quiet = now - self._well >= min(GIVEN_UP_S, self._config.deadline_s)
            if quiet and self._failures >= GIVEN_UP_AFTER:
                self.mark_unavailable(
                    f"Engine at {self._address.shown} was given up: {trouble.cause}, again and again."
                )
        return Answer(
            request.key,
            failure=trouble.cause,
            too_long=trouble.kind is FailureKind.too_long,
            prompt_limit=trouble.prompt_limit,
        )


async def in_thread(work: Callable[[], T]) -> T:
    """The result of blocking `work`, done in a thread that need not end before this process does."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: BaseException | None) -> None:
        if result.done():
            return
        if error is not None:
            result.set_exception(error)
        else:
            result.set_result(value)  # type: ignore[arg-type]

    def run() -> None:
        value: T | None = None
        problem: BaseException | None = None
        try:
            value = work()
        except BaseException as error:
            problem = error
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(settle, value, problem)

    threading.Thread(target=run, name="engine-mend", daemon=True).start()
    return await result


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    parts, size = [], 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > REPLY_BYTES:
            raise GarbageError("too long")
        parts.append(part)
    return b"".join(parts)


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """What a rejection's body begins with; the status says enough where it cannot be read."""
    read = bytearray()
    with contextlib.suppress(aiohttp.ClientError, OSError):
        async for part in response.content.iter_any():
            read += part
            if len(read) > ERROR_BYTES:
                break
    return bytes(read)


def _why(error: BaseException) -> str:
    """A connection's failure in a few words, never the reply's own."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(cause, ssl.SSLError):
        return "no TLS connection"
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return f"no connection within {CONNECT_S:g} s"
    if isinstance(cause, FileNotFoundError):
        return "there is no such socket"
    if isinstance(cause, ConnectionRefusedError):
        return "connection refused"
    if isinstance(cause, ConnectionError | aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError):
        return "connection closed"
    return type(cause).__name__


def _dropped(asked: OptionalFields, taken: OptionalFields) -> str:
    names = [name for name, was, now in zip(OptionalFields._fields, asked, taken, strict=True) if was and not now]
    return " and ".join({"structured": "a bound answer", "effort": "reasoning_effort"}[name] for name in names)
