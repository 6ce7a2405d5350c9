"""The endpoint engine: a window of requests kept open to one OpenAI-compatible server.

The caller's thread pulls requests and yields answers; one background thread runs the event loop that asks. aiohttp
because at hundreds of connections it keeps up with the server and other clients' pools do not.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Coroutine, Iterable, Iterator
from concurrent.futures import Future
from typing import Any, Self

from safeguard_spark.config.model import EngineConfig
from safeguard_spark.engines.address import address, api_key
from safeguard_spark.engines.client import Client, Guard
from safeguard_spark.errors import EngineError
from safeguard_spark.labelling.engine import Answer, CallSpec, Request

# Equal prefixes that arrive together are each computed; the first request of a call goes ahead so that the others find
# the policy in the cache. Its prefix is there long before its answer. Where it is not, the scheduler fills about one
# step (`max_num_batched_tokens`) with it again: to wait longer would cost every task of every chunk more.
WARM_UP_S = 0.25
CLOSE_S = 5.0


class EndpointEngine:
    """An `Engine` behind a URL. `window` is how many requests are kept in flight; it may be changed at any time.

    `url` stands for `config.url`; `guard` can bring the server back when requests are lost.
    """

    server_ids: frozenset[str] = frozenset()

    def __init__(self, config: EngineConfig, window: int, url: str | None = None, guard: Guard | None = None) -> None:
        self._config, self.window, self._url, self._guard = config, max(1, window), url or config.url or "", guard
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._client: Client | None = None
        self._asked: dict[int, float] = {}  # when each open request was asked, in that order
        self._serial = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def in_flight(self) -> int:
        """Requests asked and not answered."""
        return len(self._asked)

    @property
    def oldest_s(self) -> float:
        """Age of the oldest of them, seconds."""
        asked = next(iter(self._asked.copy().values()), None)
        return 0.0 if asked is None else time.monotonic() - asked

    @property
    def unavailable(self) -> str | None:
        """Why nothing is asked any more; None while requests are."""
        return self._client.unavailable if self._client else None

    def answers(self, task: CallSpec, requests: Iterable[Request]) -> Iterator[Answer]:
        """One answer per request, as they finish. Raises ConfigError, and EngineError as `Engine.answers` does."""
        source: Iterator[Request] | None = iter(requests)
        done = _Done()
        opened: float | None = None  # when the first request went out
        try:
            while True:
                yield from self._take(done, wait_s=0.0)
                warming = opened is not None and not done.any and time.monotonic() - opened < WARM_UP_S
                if source is not None and not warming and len(done.open) < self.window:
                    request = next(source, None)
                    if request is None:
                        source = None
                    elif (client := self._opened()).unavailable:
                        yield Answer(request.key, failure=client.unavailable)
                    else:
                        opened = opened or time.monotonic()
                        self._ask(client, task, request, done)
                elif done.open:
                    yield from self._take(done, wait_s=0.05 if warming else None)
                elif source is None:
                    return
        finally:
            self._abandon(done)

    def close(self) -> None:
        """Give up what is in flight and close every connection."""
        loop, thread, client = self._loop, self._thread, self._client
        self._loop = self._thread = self._client = None
        if loop is None or thread is None:
            return
        if client:
            self._do(client.close(), loop)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(CLOSE_S)

    def _opened(self) -> Client:
        if self._client is None:
            where, key = address(self._url), api_key(self._config.api_key_env)
            loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=_run, args=(loop,), name="engine-endpoint", daemon=True)
            self._thread.start()
            self._loop = loop
            self._client = self._do(_made(self._config, where, key, self._guard), loop)
        return self._client

    @staticmethod
    def _do(work: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(CLOSE_S)

    def _ask(self, client: Client, task: CallSpec, request: Request, done: "_Done") -> None:
        assert self._loop is not None
        self._serial += 1
        serial = self._serial
        self._asked[serial] = time.monotonic()
        future = asyncio.run_coroutine_threadsafe(client.ask(task, request), self._loop)
        done.open[serial] = (request, future)
        future.add_done_callback(lambda _: done.queue.put(serial))

    def _take(self, done: "_Done", wait_s: float | None) -> Iterator[Answer]:
        """Answers that are there; with `wait_s`, at least one if it comes within so many seconds (None: for ever)."""
        try:
            serial = done.queue.get(block=wait_s != 0.0, timeout=wait_s or None)
            while True:
                request, future = done.open.pop(serial)
                self._asked.pop(serial, None)
                answer = self._answer(request, future, first=not done.any)
                done.any = True
                yield answer
                serial = done.queue.get_nowait()
        except queue.Empty:
            return

    def _answer(self, request: Request, future: "Future[Answer]", *, first: bool) -> Answer:
        try:
            return future.result()
        except EngineError as error:
            if first:
                raise
            if self._client:
                self._client.mark_unavailable(str(error))
            return Answer(request.key, failure=str(error))
        except Exception as error:  # never expected; one row's loss, not the task's
            return Answer(request.key, failure=f"unexpected {type(error).__name__}")

    def _abandon(self, done: "_Done") -> None:
        for serial, (_, future) in done.open.items():
            future.cancel()
            self._asked.pop(serial, None)
        done.open.clear()


class _Done:
    """One call's open requests by serial number, and the numbers of those that ended."""

    def __init__(self) -> None:
        self.open: dict[int, tuple[Request, Future[Answer]]] = {}
        self.queue: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.any = False


async def _made(config: EngineConfig, where: Any, key: str | None, guard: Guard | None) -> Client:
    return Client(config, where, key, guard)  # aiohttp wants its loop running


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
    loop.run_until_complete(_given_up())
    loop.close()


async def _given_up() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
