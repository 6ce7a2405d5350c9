"""The vLLM engine of an executor: its server is started when first needed, shared, watched, and brought back.

Context length is `engine.args.max_model_len`, the model's own without it: the server is the same for every labeler of
a run, so it cannot follow one labeler's limits.
"""

import contextlib
import itertools
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Self

from safeguard_spark.config.model import EngineConfig
from safeguard_spark.engines.endpoint import EndpointEngine
from safeguard_spark.engines.health import Load, load
from safeguard_spark.engines.server import RunningServer, Server
from safeguard_spark.errors import EngineError
from safeguard_spark.labelling.engine import Answer, CallSpec, Request

WATCH_S = 2.0
SHARES = 2
# A server with open requests that makes no token for so much of a request's deadline hangs. One that does not count
# its tokens can only be judged by whole answers, which may take long.
HUNG, HUNG_UNCOUNTED = 0.25, 0.75


class VllmEngine:
    """An `Engine` that owns this executor's vLLM server together with the other tasks.

    `executor_key` is whose end the server must not survive; `devices` are GPU addresses for the server alone; `window`
    is this task's share of the requests in flight. It keeps twice as many if others share them, and all when those
    leave the server idle. Raises EngineError with the server's own words if it cannot start.
    """

    def __init__(self, config: EngineConfig, executor_key: str, devices: list[str], window: int, run_id: str) -> None:
        self._server = Server(config, executor_key, devices, run_id)
        local = config.model_copy(update={"api_key_env": None})
        # Twice the share: a task's last answers take the longest, and the sooner they are asked for the sooner its slot
        # is free. What is too much for the server's batch waits in its queue, which nobody else uses.
        self._total = max(window, config.requests_in_flight)
        self._share = min(self._total, SHARES * window)
        self._endpoint = EndpointEngine(local, self._share, url=f"unix:{self._server.socket}", guard=self)
        self._run_id, self._deadline_s = run_id, config.deadline_s
        self._now: RunningServer | None = None
        self._started: frozenset[str] = frozenset()
        self._changing, self._closed = threading.Lock(), threading.Event()
        self._watch: threading.Thread | None = None
        self._progressed = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._endpoint.close()

    @property
    def server_ids(self) -> frozenset[str]:
        """Servers this run started that this task has used."""
        return self._started

    @property
    def oldest_s(self) -> float:
        """Age of the oldest of them, seconds."""
        return self._endpoint.oldest_s

    @property
    def unavailable(self) -> str | None:
        """Why the server cannot be asked any more: it died more often than `engine.restarts` makes up for."""
        return self._endpoint.unavailable

    @property
    def server_id(self) -> str:
        """The server that requests go to."""
        return self._now.server_id if self._now else ""

    @property
    def stalled_s(self) -> float:
        """For how long the server has made no progress with our requests, seconds."""
        return time.monotonic() - self._progressed if self._endpoint.in_flight else 0.0

    def answers(self, task: CallSpec, requests: Iterable[Request]) -> Iterator[Answer]:
        """One answer per request, as they finish. The first request starts the server; none starts none."""
        source = iter(requests)
        first = next(source, None)
        if first is None:
            return
        self._start()
        touched = 0.0
        for answer in self._endpoint.answers(task, itertools.chain([first], source)):
            if answer.completion is not None and time.monotonic() - touched > 1.0:
                touched = time.monotonic()
                self._server.touch("answered")
            yield answer

    def restart(self, server_id: str) -> None:
        """Called by the endpoint when a request was lost: restart the server if it is dead. Raises EngineError."""
        self._renew(server_id, hung=False)

    def _start(self) -> None:
        if self._now is None:
            self._note(self._server.ensure_running())
        if self._watch is None:
            self._watch = threading.Thread(target=self._look, name="engine-watch", daemon=True)
            self._watch.start()

    def _renew(self, server_id: str, *, hung: bool) -> None:
        with self._changing:
            if server_id == self.server_id:
                self._note(self._server.restart(server_id, hung=hung))

    def _note(self, incarnation: RunningServer) -> None:
        if incarnation.run_id == self._run_id:
            self._started |= {incarnation.server_id}
        self._now = incarnation

    def _look(self) -> None:
        """Keep the lease; end a server that hangs, whereupon the requests it held come to `restart`."""
        seen: tuple[object, ...] = ()
        counted = False
        while not self._closed.wait(WATCH_S):
            self._server.touch("lease")
            server_id, busy = self.server_id, self._endpoint.in_flight > 0
            work = load(self._server.socket) if busy else Load()
            if work.requests is not None:
                self._endpoint.window = fitted(self._endpoint.window, self._share, self._total, work.requests)
            made = work.tokens
            counted = counted or made is not None
            # A server that does not answer shows no progress by that: the last count stands.
            progress = (made if made is not None else seen and seen[0], self._server.answered(), server_id)
            if not busy or progress != seen:
                seen, self._progressed = progress, time.monotonic()
            elif self.stalled_s > self._deadline_s * (HUNG if counted else HUNG_UNCOUNTED):
                with contextlib.suppress(EngineError):  # the endpoint hears the same when its requests come back
                    self._renew(server_id, hung=True)
                self._progressed = time.monotonic()


def fitted(window: int, share: int, total: int, at_server: int) -> int:
    """The next window of one of several tasks, when `total` requests of all of them should be open and `at_server` are.

    A task whose input has run out waits for its longest answers and leaves the server idle, unless others take more
    than their share. Each closes a part of the gap, as all of them see the same one.
    """
    tasks = -(-total // share)
    return min(total, max(share, window + 2 * (total - at_server) // (tasks + 1)))
