"""Transport: the connections to one endpoint. One request goes out, one value comes back, whatever happens."""

import asyncio
import codecs
import contextlib
import itertools
import re
import socket
import ssl
from typing import Any

import aiohttp
import orjson

from safeguard_spark.engines import protocol
from safeguard_spark.engines.address import Address
from safeguard_spark.engines.failures import FailureKind, RequestFailure, back_off, is_filtered, of_status, too_long
from safeguard_spark.engines.protocol import ChatReplyError, Form, MalformedReplyError
from safeguard_spark.engines.timings import Timings
from safeguard_spark.labelling.engine import CallSpec
from safeguard_spark.labelling.prompt import Prompt
from safeguard_spark.labelling.verdict import Completion

REPLY_BYTES, ERROR_BYTES = 32 << 20, 64 << 10
CONTENT_FILTER = "content_filter"
FAILED = (aiohttp.ClientError, ConnectionError, OSError, ValueError)  # how a connection fails


class Transport:
    """Connections to one endpoint. Made and used inside the event loop.

    `is_reached`: a connection was opened, now or, as the caller knows, earlier.
    """

    def __init__(self, address: Address, model: str, key: str | None, timings: Timings, *, is_reached: bool) -> None:
        self._address, self._model, self._timings = address, model, timings
        self.is_reached = is_reached
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

    async def post(self, form: Form, spec: CallSpec, prompt: Prompt) -> Completion | RequestFailure:
        """POST a prompt in a form, once. What goes wrong is a value."""
        try:
            data = orjson.dumps(form.route.body(self._model, spec, prompt, form))
        except (TypeError, ValueError):
            return RequestFailure(FailureKind.unsendable, "the prompt cannot be encoded")
        try:
            url, proxy = self._address.base + form.path, self._address.proxy
            async with self._session.post(url, data=data, proxy=proxy, allow_redirects=False) as response:
                self.is_reached = True
                if response.status != 200:
                    body = b""
                    # A body that cannot be read is as good as none: the status alone must do.
                    with contextlib.suppress(aiohttp.ClientError, OSError):
                        body = await _read(response, ERROR_BYTES)
                    return _refusal(response, body, spec, form)
                body = await _read(response, REPLY_BYTES)
                return _whole(form.route.read(_json(body)), spec, prompt)
        except ChatReplyError:  # no outage: every reply will be one
            remedy = "set engine.dialect=chat"
            return RequestFailure(FailureKind.refused_form, "it answers as a chat server", remedy=remedy)
        except MalformedReplyError as error:
            return RequestFailure(FailureKind.transient, f"malformed reply, {error}")
        except FAILED as error:
            failure = self._failure(error)
            self.is_reached = self.is_reached or failure.kind is FailureKind.transient
            return failure

    async def models(self) -> list[str] | RequestFailure:
        """The names of the models that the server lists; none if it has no list. What goes wrong is a value."""
        url, proxy = f"{self._address.base}/v1/models", self._address.proxy
        timeout = aiohttp.ClientTimeout(total=self._timings.connect_s)
        try:
            async with self._session.get(url, proxy=proxy, allow_redirects=False, timeout=timeout) as response:
                if response.status != 200:
                    failure = of_status(response.status, response.headers)
                    return [] if response.status in (404, 405, 501) else failure
                return [str(entry["id"]) for entry in _json(await _read(response, REPLY_BYTES))["data"]]
        except (MalformedReplyError, LookupError, TypeError):
            return []
        except FAILED as error:
            return self._failure(error)

    async def silence(self) -> RequestFailure | None:
        """Why the server gives no reply of any kind; None once it gives one. Takes up to about 20 s."""
        timeout = aiohttp.ClientTimeout(total=self._timings.connect_s)
        clock = asyncio.get_running_loop().time
        started = clock()
        for attempt in itertools.count():
            try:
                url, proxy = f"{self._address.base}/v1/models", self._address.proxy
                async with self._session.get(url, proxy=proxy, allow_redirects=False, timeout=timeout):
                    return None
            except FAILED as error:
                failure = self._failure(error)
            if failure.kind is FailureKind.untrusted:
                break
            if clock() - started >= self._timings.unreachable_s:
                failure = failure._replace(kind=FailureKind.unreachable)
                break
            await asyncio.sleep(back_off(attempt, None, self._timings))
        return failure

    def _failure(self, error: Exception) -> RequestFailure:
        """The failure of a connection."""
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return RequestFailure(FailureKind.untrusted, "its certificate cannot be verified")
        is_unreachable = isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
        kind = FailureKind.unreachable if is_unreachable else FailureKind.transient
        return RequestFailure(kind, _cause(error, self._timings.connect_s))


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """A reply's body, or more than `limit` bytes of it if it is longer."""
    body = bytearray()
    async for part in response.content.iter_any():
        body += part
        if len(body) > limit:
            break
    return bytes(body)


def _json(body: bytes) -> Any:
    """The value of a reply's body. Raises MalformedReplyError, which says what kind of thing came instead."""
    if len(body) > REPLY_BYTES:
        raise MalformedReplyError(f"more than {REPLY_BYTES >> 20} MiB")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedReplyError(_kind_of(body[:1024])) from error


def _kind_of(start: bytes) -> str:
    """What kind of body begins so, if it is not JSON."""
    start = start.removeprefix(codecs.BOM_UTF8).strip().lower()
    if not start:
        return "an empty body"
    if start.startswith(b"<"):
        is_page = re.match(rb"<(!doctype )?html", start)
        return "an HTML page" if is_page else "XML or HTML"
    if re.match(rb"(data|event|id|retry)?:", start):
        return "a stream of events, which was not requested"
    return "broken JSON" if start[:1] in (b"{", b"[") else "text that is not JSON"


def _cause(error: BaseException, connect_s: float) -> str:
    """A failed connection in a few words, never the server's own."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(cause, ssl.SSLError):
        return "no TLS connection"
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return f"no connection within {connect_s:g} s"
    if isinstance(error, TimeoutError):
        return f"no answer within {connect_s:g} s"
    if isinstance(cause, FileNotFoundError):
        return "there is no such socket"
    if isinstance(cause, ConnectionRefusedError):
        return "connection refused"
    if isinstance(cause, ConnectionError | aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError):
        return "connection closed"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    return "connection closed" if isinstance(cause, aiohttp.ClientConnectionError) else type(cause).__name__


def _refusal(response: aiohttp.ClientResponse, body: bytes, spec: CallSpec, form: Form) -> Completion | RequestFailure:
    """The result of a reply whose status is not 200. A content filter's refusal is an answer."""
    failure = of_status(response.status, response.headers, body)
    if failure.kind is FailureKind.not_found:
        return failure._replace(cause=f"{failure.cause} on {form.path}")
    if failure.kind is not FailureKind.bad_request:
        return failure
    if is_filtered(body):
        return Completion(CONTENT_FILTER, text="")
    return too_long(body, spec.labeler.max_tokens) or failure


def _whole(completion: Completion, spec: CallSpec, prompt: Prompt) -> Completion | RequestFailure:
    """The completion, or a failure if the server says that it read less than was sent."""
    policy_tokens, prompt_tokens = protocol.sent_tokens(spec, prompt)
    num_read = completion.prompt_tokens  # 0: not reported
    if 0 < num_read < policy_tokens:
        return RequestFailure(FailureKind.cut_policy, f"{num_read:,} of {policy_tokens:,} tokens or more")
    if 0 < num_read < prompt_tokens:
        return RequestFailure(FailureKind.too_long, "the server read only a part of it")
    return completion
