"""Client of one endpoint, inside an event loop: sends each request until it is answered or cannot be.

Failures are values here (`failures.RequestFailure`); what to do about each kind is decided in `Client.ask`.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import Future

import aiohttp
import orjson

from safeguard_spark.config.engine import EndpointConfig
from safeguard_spark.engines import protocol
from safeguard_spark.engines.address import Address
from safeguard_spark.engines.failures import FailureKind, RequestFailure, back_off, of_status, too_long
from safeguard_spark.engines.protocol import MalformedReplyError, OptionalFields, Route
from safeguard_spark.engines.server import Server
from safeguard_spark.engines.timings import DEFAULT_TIMINGS, Timings
from safeguard_spark.errors import EngineError
from safeguard_spark.labelling.engine import Answer, CallSpec, Request
from safeguard_spark.labelling.verdict import Completion

REPLY_BYTES, ERROR_BYTES = 32 << 20, 64 << 10
MAX_FAILURES = 8  # in a row, over `Timings.unanswered_s`: then the endpoint is marked unavailable
MALFORMED = RequestFailure(FailureKind.transient, "malformed reply")
log = logging.getLogger(__name__)


class Client:
    """Sends requests to one endpoint. Made and used inside the event loop; only `unavailable` is read outside."""

    def __init__(
        self,
        config: EndpointConfig,
        address: Address,
        key: str | None,
        server: Server | None,
        run_id: str = "",
        timings: Timings = DEFAULT_TIMINGS,
    ) -> None:
        self._config, self._address, self._server = config, address, server
        self._run_id, self._timings = run_id, timings
        self._routes = protocol.routes(config.dialect)
        self._route = 0
        self._accepted_fields: dict[tuple[str, str], OptionalFields] = {}  # by path and output form
        self._reached = server is not None
        self._answered = False
        self._failures, self._answered_at = 0, asyncio.get_running_loop().time()  # failures since that answer
        self._restarting, self._over = asyncio.Lock(), asyncio.Event()
        self.unavailable: str | None = None
        connector = (
            aiohttp.UnixConnector(address.socket, limit=0, keepalive_timeout=timings.keep_alive_s)
            if address.socket
            else aiohttp.TCPConnector(limit=0, keepalive_timeout=timings.keep_alive_s)
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers={"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=timings.connect_s),
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    def mark_unavailable(self, reason: str) -> None:
        """Answer all open and future requests with the failure `reason`."""
        if self.unavailable is None:
            self.unavailable = reason
            server = f", server {self._server_id()}," if self._server else ""
            log.warning(
                "Run %s: engine at %s%s is unavailable: %s", self._run_id, self._address.display, server, reason
            )
        self._over.set()

    async def ask(self, spec: CallSpec, request: Request) -> Answer:
        """Return the one answer to a request. Raises EngineError only before the first completion."""
        clock = asyncio.get_running_loop().time
        started, attempts, waits, server_id = clock(), 0, 0, self._server_id()
        while True:
            if self.unavailable:
                return Answer(request.key, failure=self.unavailable)
            if server_id != self._server_id():  # a restart took its time from every request in flight
                started, server_id = clock(), self._server_id()
            deadline = started + self._config.deadline_s
            result = await self._attempt_until(deadline, spec, request)
            if isinstance(result, Completion):
                self._answered = self._reached = True
                self._failures, self._answered_at = 0, clock()
                return Answer(request.key, result)
            kind = result.kind
            if kind.is_retryable:
                await self._restart(server_id)
            elif kind is FailureKind.timeout:
                await self._wait_while_stalled(server_id)
            if server_id != self._server_id():
                continue
            attempts, waits = attempts + kind.counts_as_attempt, waits + (not kind.counts_as_attempt)
            earlier = (attempts if kind.counts_as_attempt else waits) - 1
            wait_s = back_off(earlier, result.wait_s, self._timings)
            self._raise_if_unusable(result, clock() + wait_s - started)
            if not kind.is_retryable or attempts > self._config.retries or clock() + wait_s >= deadline:
                return self._failed(request, result)
            await self._sleep(wait_s)

    def _server_id(self) -> str:
        return self._server.server_id if self._server else ""

    async def _attempt_until(self, deadline: float, spec: CallSpec, request: Request) -> Completion | RequestFailure:
        try:
            async with asyncio.timeout_at(deadline):
                return await self._attempt(spec, request)
        except TimeoutError:
            return RequestFailure(
                FailureKind.timeout, f"no answer within {self._config.deadline_s:g} s (engine.deadline_s)"
            )

    async def _attempt(self, spec: CallSpec, request: Request) -> Completion | RequestFailure:
        """One attempt. It is more than one POST only until it is known which routes and fields the server accepts."""
        while True:
            number = self._route
            result = await self._post_accepted(self._routes[number], spec, request)
            has_next = number + 1 < len(self._routes) and not self._answered
            if not (isinstance(result, RequestFailure) and result.kind is FailureKind.not_found and has_next):
                return result
            self._route = max(self._route, number + 1)

    async def _post_accepted(self, route: Route, spec: CallSpec, request: Request) -> Completion | RequestFailure:
        """POST with the optional fields that the server accepts on this route; try fewer of them until it does."""
        key = (route.path, spec.contract.output.value)
        accepted = self._accepted_fields.get(key)
        candidates = (accepted,) if accepted else protocol.optional_fields(spec)
        result: Completion | RequestFailure = RequestFailure(FailureKind.bad_request, "nothing to send")
        for fields in candidates:
            result = await self._post(route, spec, request, fields)
            if isinstance(result, Completion):
                if key not in self._accepted_fields and fields != candidates[0]:
                    dropped = _dropped(candidates[0], fields)
                    log.warning("%s rejects %s: sending requests without it.", self._address.display, dropped)
                self._accepted_fields.setdefault(key, fields)
                return result
            if result.kind is not FailureKind.bad_request:
                return result
        return result

    async def _post(
        self, route: Route, spec: CallSpec, request: Request, fields: OptionalFields
    ) -> Completion | RequestFailure:
        try:
            data = orjson.dumps(route.body(self._config.model, spec, request.prompt, fields))
        except (TypeError, ValueError):
            return RequestFailure(FailureKind.bad_request, "the prompt cannot be encoded")
        try:
            url, proxy = self._address.base + route.path, self._address.proxy
            async with self._session.post(url, data=data, proxy=proxy, allow_redirects=False) as response:
                if response.status != 200:
                    failure = of_status(response.status, response.headers)
                    if failure.kind is FailureKind.bad_request:
                        # A body that cannot be read is as good as none: the status alone must do.
                        with contextlib.suppress(aiohttp.ClientError, OSError):
                            return too_long(await _read(response, ERROR_BYTES), spec.labeler.max_tokens) or failure
                    return failure
                body = await _read(response, REPLY_BYTES)
                return route.read(orjson.loads(body)) if len(body) <= REPLY_BYTES else MALFORMED
        except (MalformedReplyError, orjson.JSONDecodeError):
            return MALFORMED
        except aiohttp.ClientConnectorCertificateError:
            return RequestFailure(FailureKind.untrusted, "its certificate cannot be verified")
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return RequestFailure(FailureKind.unreachable, _cause(error, self._timings.connect_s))
        except (aiohttp.ClientError, ConnectionError, OSError, ValueError) as error:
            return RequestFailure(FailureKind.transient, _cause(error, self._timings.connect_s))

    async def _restart(self, server_id: str) -> None:
        """Restart our own server if it is dead, once for all requests that failed together."""
        async with self._restarting:
            server = self._server
            if server is None or server_id != server.server_id or self.unavailable:
                return
            try:
                await in_thread(lambda: server.restart(server_id))
            except EngineError as error:
                self.mark_unavailable(str(error))

    async def _wait_while_stalled(self, server_id: str) -> None:
        """Wait until it is decided whether our own server hangs: until then the row is not to blame."""
        server, stalled_s = self._server, self._timings.stalled_s
        while server and server_id == server.server_id and server.stalled_s > stalled_s and not self.unavailable:
            await self._sleep(0.5)

    async def _sleep(self, seconds: float) -> None:
        """Wait; return early if the engine becomes unavailable."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), seconds)

    def _raise_if_unusable(self, failure: RequestFailure, spent_s: float) -> None:
        """Raise if no request was ever answered and none will be.

        After the first answer, rejected credentials or a certificate mark the engine unavailable instead.
        """
        if failure.kind is FailureKind.unreachable:
            if self._reached or spent_s <= min(self._timings.unreachable_s, self._config.deadline_s):
                return
            problem = f"cannot be reached: {failure.cause}; check engine.url and that the server runs."
        elif failure.kind is FailureKind.unauthorized:
            problem = f"denies access: {failure.cause}; check the key that engine.api_key_env names."
        elif failure.kind is FailureKind.untrusted:
            problem = (
                f"is not trusted: {failure.cause}; check engine.url, or add the authority that signed it to the "
                "certificates of this machine (SSL_CERT_FILE), on the driver and on every executor."
            )
        elif failure.kind is FailureKind.not_found:
            problem = (
                f"does not serve the model {self._config.model} on {self._routes[self._route].path}: {failure.cause}; "
                "check engine.url, engine.model and engine.dialect."
            )
        else:
            self._reached = True
            return
        message = f"Engine at {self._address.display} {problem}"
        if not self._answered:
            raise EngineError(message)
        if failure.kind is not FailureKind.not_found:
            self.mark_unavailable(message)

    def _failed(self, request: Request, failure: RequestFailure) -> Answer:
        if not failure.kind.blames_request:
            self._failures += 1
            unanswered_s = asyncio.get_running_loop().time() - self._answered_at
            limit_s = min(self._timings.unanswered_s, self._config.deadline_s)
            if unanswered_s >= limit_s and self._failures >= MAX_FAILURES:
                self.mark_unavailable(
                    f"Engine at {self._address.display} stopped answering: {self._failures} requests in a row failed, "
                    f"the last with {failure.cause}; check the server."
                )
        return Answer(
            request.key,
            failure=failure.cause,
            too_long=failure.kind is FailureKind.too_long,
            prompt_limit=failure.prompt_limit,
        )


async def in_thread(work: Callable[[], None]) -> None:
    """Run blocking `work` in a daemon thread, which does not keep the process alive, and wait for it."""
    future: Future[None] = Future()

    def run() -> None:
        future.set_running_or_notify_cancel()
        try:
            work()
            future.set_result(None)
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="engine-restart", daemon=True).start()
    await asyncio.wrap_future(future)


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """A reply's body, or more than `limit` bytes of it if it is longer."""
    body = bytearray()
    async for part in response.content.iter_any():
        body += part
        if len(body) > limit:
            break
    return bytes(body)


def _cause(error: BaseException, connect_s: float) -> str:
    """A failed connection in a few words, never the server's own."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(cause, ssl.SSLError):
        return "no TLS connection"
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return f"no connection within {connect_s:g} s"
    if isinstance(cause, FileNotFoundError):
        return "there is no such socket"
    if isinstance(cause, ConnectionRefusedError):
        return "connection refused"
    if isinstance(cause, ConnectionError | aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError):
        return "connection closed"
    return type(cause).__name__


def _dropped(requested: OptionalFields, accepted: OptionalFields) -> str:
    fields = zip(OptionalFields._fields, requested, accepted, strict=True)
    names = [name for name, was_requested, is_accepted in fields if was_requested and not is_accepted]
    return " and ".join({"structured": "structured output", "effort": "reasoning_effort"}[name] for name in names)
