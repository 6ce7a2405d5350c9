"""The endpoint engine: a window of requests kept open to one OpenAI-compatible server.

The caller's thread pulls requests and yields answers; one background thread runs the event loop that sends them.
aiohttp, because with hundreds of connections it keeps up with the server and other clients' pools do not.
"""

import asyncio
import contextlib
import math
import queue
import threading
import time
from collections.abc import Coroutine, Iterable, Iterator
from concurrent.futures import Future
from functools import lru_cache
from typing import Any, Self

import orjson

from safeguard_spark.config.engine import EndpointConfig
from safeguard_spark.engines.address import Address, api_key, parse_address
from safeguard_spark.engines.client import Client, Knowledge
from safeguard_spark.engines.server import Server
from safeguard_spark.engines.timings import DEFAULT_TIMINGS, Timings
from safeguard_spark.errors import EngineError
from safeguard_spark.labelling.engine import Answer, CallSpec, Decided, Request


class EndpointEngine:
    """An `Engine` behind a URL. `window` is how many requests are kept in flight; it may be changed at any time.

    `server` is restarted when requests fail, if it is this executor's own.
    """

    def __init__(
        self,
        config: EndpointConfig,
        window: int,
        server: Server | None = None,
        run_id: str = "",
        timings: Timings = DEFAULT_TIMINGS,
    ) -> None:
        self._config, self.window = config, max(1, window)
        self._server, self._run_id, self._timings = server, run_id, timings
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._client: Client | None = None
        self._sent_at: dict[int, float] = {}  # when each open request was sent, in that order
        self._serial = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def server_ids(self) -> frozenset[str]:
        """Servers that this run started and this engine has used."""
        return self._server.server_ids if self._server else frozenset()

    @property
    def in_flight(self) -> int:
        """Requests sent and not answered."""
        return len(self._sent_at)

    @property
    def oldest_s(self) -> float:
        """Age of the oldest of them, seconds; 0 if there is none."""
        sent_at = next(iter(self._sent_at.copy().values()), None)
        return 0.0 if sent_at is None else time.monotonic() - sent_at

    @property
    def unavailable(self) -> str | None:
        """Why no more requests are sent; None while they are."""
        return self._client.unavailable if self._client else None

    @property
    def forms(self) -> list[str]:
        """How requests are written for this server, as JSON."""
        return [orjson.dumps(form._asdict()).decode() for form in self._client.forms] if self._client else []

    def answers(self, spec: CallSpec, requests: Iterable[Request | Decided]) -> Iterator[Answer]:
        """Yield one answer per request, as they finish. Raises ConfigError, and EngineError like `Engine.answers`."""
        source: Iterator[Request | Decided] | None = iter(requests)
        calls = _Calls()
        first_sent: float | None = None
        try:
            while True:
                yield from self._finished(calls, wait_s=0.0)
                is_warming = (
                    first_sent is not None
                    and not calls.any_finished
                    and time.monotonic() - first_sent < self._timings.warm_up_s
                )
                if source is not None and not is_warming and len(calls.open) < self.window:
                    request = next(source, None)
                    if request is None:
                        source = None
                    elif isinstance(request, Decided):
                        yield Answer(request.key, verdict=request.verdict)
                    else:
                        client = self._opened()
                        first_sent = first_sent or time.monotonic()
                        self._send(client, spec, request, calls)
                elif calls.open:
                    yield from self._finished(calls, wait_s=0.05 if is_warming else None)
                elif source is None:
                    return
        finally:
            self._cancel(calls)

    def close(self) -> None:
        """Cancel what is in flight and close every connection."""
        loop, thread, client = self._loop, self._thread, self._client
        self._loop = self._thread = self._client = None
        if loop is None or thread is None:
            return
        try:
            if client:
                with contextlib.suppress(Exception):  # connections that do not close must not fail paid answers
                    self._in_loop(client.close(), loop)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(self._timings.close_s)

    def _opened(self) -> Client:
        if self._client is None:
            address, key = parse_address(self._config.url), api_key(self._config.api_key_env)
            runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)  # else the loop is set for this thread as well
            self._loop = loop = runner.get_loop()
            self._thread = threading.Thread(target=_run, args=(runner,), name="engine-endpoint", daemon=True)
            self._thread.start()
            self._client = self._in_loop(self._create_client(address, key), loop)
            if self._timings.first_answer_s < math.inf:
                asyncio.run_coroutine_threadsafe(self._client.require_reply(), loop).result()
        return self._client

    async def _create_client(self, address: Address, key: str | None) -> Client:  # aiohttp needs a running loop
        knowledge = _knowledge(self._run_id, self._config.url) if self._run_id else Knowledge()
        return Client(self._config, address, key, self._server, self._run_id, knowledge, self._timings)

    def _in_loop(self, work: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(self._timings.close_s)

    def _send(self, client: Client, spec: CallSpec, request: Request, calls: "_Calls") -> None:
        assert self._loop is not None
        self._serial += 1
        serial = self._serial
        self._sent_at[serial] = time.monotonic()
        future = asyncio.run_coroutine_threadsafe(client.ask(spec, request), self._loop)
        calls.open[serial] = (request, future)
        future.add_done_callback(lambda _: calls.finished.put(serial))

    def _finished(self, calls: "_Calls", wait_s: float | None) -> Iterator[Answer]:
        """Finished answers; with `wait_s`, at least one if it finishes within that time (None: without limit)."""
        try:
            serial = calls.finished.get(block=wait_s != 0.0, timeout=wait_s or None)
            while True:
                request, future = calls.open.pop(serial)
                self._sent_at.pop(serial, None)
                calls.any_finished = True
                yield self._answer(request, future)
                serial = calls.finished.get_nowait()
        except queue.Empty:
            return

    def _answer(self, request: Request, future: "Future[Answer]") -> Answer:
        try:
            answer = future.result()
        except Exception as error:  # never expected; it fails one row, not the task
            return Answer(request.key, failure=f"unexpected {type(error).__name__}")
        if answer.unavailable and self._client and not self._client.has_answered:
            raise EngineError(answer.failure or "")
        return answer

    def _cancel(self, calls: "_Calls") -> None:
        for serial, (_, future) in calls.open.items():
            future.cancel()
            self._sent_at.pop(serial, None)
        calls.open.clear()


class _Calls:
    """The open requests of one `answers` by serial number, and the numbers of finished ones."""

    def __init__(self) -> None:
        self.open: dict[int, tuple[Request, Future[Answer]]] = {}
        self.finished: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.any_finished = False


@lru_cache(maxsize=8)
def _knowledge(run_id: str, url: str) -> Knowledge:  # noqa: ARG001  the arguments are its key
    """What the tasks of a run know of its endpoint. Spark gives the tasks of an executor to the same processes."""
    return Knowledge()


def _run(runner: asyncio.Runner) -> None:
    with runner:  # its end cancels the requests that are left
        runner.get_loop().run_forever()
