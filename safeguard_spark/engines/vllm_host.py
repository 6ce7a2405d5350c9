"""The vLLM engine of an executor: its server starts when first needed, is shared, watched, and restarted.

Context length is `engine.args.max_model_len`, or the model's own without it: all labelers of a run share the server,
so it cannot follow the limits of one labeler.
"""

import contextlib
import itertools
import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator

from safeguard_spark.config.engine import VllmConfig
from safeguard_spark.engines.endpoint import EndpointEngine
from safeguard_spark.engines.health import Load, read_load
from safeguard_spark.engines.processes import ProcessId, lower_priority
from safeguard_spark.engines.server import Server
from safeguard_spark.engines.server_folder import SharedLoad
from safeguard_spark.engines.timings import DEFAULT_TIMINGS, Timings
from safeguard_spark.errors import EngineError
from safeguard_spark.labelling.engine import Answer, CallSpec, Decided, Request

log = logging.getLogger(__name__)

SHARES = 2
# The share of a request's deadline in which a server with open requests must make a token, or it hangs. A server that
# does not report its tokens is judged by whole answers, which may take long.
HUNG, HUNG_UNCOUNTED = 0.25, 0.75


class VllmEngine(EndpointEngine):
    """An `Engine` that owns this executor's vLLM server together with the other tasks.

    `owner` is the process that the server must not outlive; `devices` are GPU addresses for the server alone; `window`
    is this task's share of the requests in flight. It keeps twice as many if others share them, and all when
    those leave the server idle. Raises EngineError with the server's own message if it cannot start.
    """

    def __init__(
        self,
        config: VllmConfig,
        owner: ProcessId,
        devices: list[str],
        window: int,
        run_id: str,
        timings: Timings = DEFAULT_TIMINGS,
    ) -> None:
        self._own_server = Server(config, owner, devices, run_id, timings)
        # Twice the share: a task's last answers take the longest, and the sooner they are requested, the sooner its
        # slot is free. What is too much for the server's batch waits in its queue, which only these tasks use.
        self._total = max(window, config.requests_in_flight)
        self._share = min(self._total, SHARES * window)
        endpoint = config.as_endpoint(f"unix:{self._own_server.folder.socket}")
        super().__init__(endpoint, self._share, self._own_server, run_id, timings)
        self._niceness, self._closed = config.niceness, threading.Event()
        self._watcher: threading.Thread | None = None
        self._last_progress: tuple[object, ...] = ()
        self._is_counted = False

    def close(self) -> None:
        """Stop watching the server, which lives on, and close every connection."""
        self._closed.set()
        super().close()

    def answers(self, spec: CallSpec, requests: Iterable[Request | Decided]) -> Iterator[Answer]:
        """Yield one answer per request, as they finish. The first one that needs the model starts the server."""
        source = iter(requests)
        for first in source:
            if not isinstance(first, Decided):
                break
            yield Answer(first.key, verdict=first.verdict)
        else:
            return
        self._start()
        touched = 0.0
        for answer in super().answers(spec, itertools.chain([first], source)):
            if answer.completion is not None and time.monotonic() - touched > 1.0:
                touched = time.monotonic()
                self._own_server.folder.touch("answered")
            yield answer

    def _start(self) -> None:
        if self._watcher is not None:
            return
        self._own_server.ensure_running()
        self._watcher = threading.Thread(target=self._watch, name="engine-watch", daemon=True)
        self._watcher.start()
        if self._own_server.owner.pid != os.getpid():  # a worker; a caller's own process keeps its priority
            lower_priority(threading.get_native_id(), self._niceness)

    def _watch(self) -> None:
        """Renew the lease, and look after the server, until the engine is closed."""
        while not self._closed.wait(self._timings.watch_s):
            self._own_server.folder.touch("lease")
            try:
                self._look()
            except Exception as error:  # never expected; without a lease the server would end under load
                server_id, name = self._own_server.server_id, type(error).__name__
                log.warning("Run %s: server %s could not be looked after: %s", self._run_id, server_id, name)

    def _look(self) -> None:
        """Restart a server that hangs; its open requests then fail and are sent again."""
        server_id, is_busy = self._own_server.server_id, self.in_flight > 0
        load = self._load(server_id) if is_busy else Load()
        if load.requests is not None:
            self.window = fitted_window(self.window, self._share, self._total, load.requests)
        self._is_counted = self._is_counted or load.tokens is not None
        # A server that does not reply has made no progress by that: the last count stands.
        tokens = load.tokens if load.tokens is not None else self._last_progress and self._last_progress[0]
        progress = (tokens, self._own_server.folder.touched_ns("answered"), server_id)
        if not is_busy or progress != self._last_progress:
            self._last_progress = progress
            self._own_server.mark_progress()
        elif self._own_server.stalled_s > self._config.deadline_s * (HUNG if self._is_counted else HUNG_UNCOUNTED):
            try:
                with contextlib.suppress(EngineError):  # the endpoint gets the same error when its requests fail
                    self._own_server.restart(server_id, hung=True)
            finally:
                self._own_server.mark_progress()

    def _load(self, server_id: str) -> Load:
        """The server's work, as one of its tasks has read it: its metrics are long, and written for each reader."""
        folder = self._own_server.folder
        age_s = time.time() - folder.touched_ns("load.json") / 1e9
        if 0.0 <= age_s < self._timings.watch_s and (shared := folder.read(SharedLoad)):
            return Load(shared.tokens, shared.requests) if shared.server_id == server_id else Load()
        folder.touch("load.json")  # first, so that the others do not read them too
        load = read_load(folder.socket, self._timings.probe_s)
        with contextlib.suppress(OSError):
            folder.write(SharedLoad(server_id, *load))
        return load


def fitted_window(window: int, share: int, total: int, at_server: int) -> int:
    """The next window of one of several tasks: all tasks together should have `total` requests open at the server.

    A task whose input has ended waits for its longest answers and leaves the server idle, unless others take more
    than their share. Each task closes a part of the gap to `at_server`, the open requests, as all see the same gap.
    """
    tasks = -(-total // share)
    return min(total, max(share, window + 2 * (total - at_server) // (tasks + 1)))
