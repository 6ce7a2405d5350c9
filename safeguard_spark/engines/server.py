"""The one server of an executor, as a task uses it: started if there is none, shared, restarted, ended.

What is known of it is in its folder (`server_folder`), because any task may have started it.
"""

import contextlib
import logging
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from safeguard_spark.config.engine import VllmConfig
from safeguard_spark.engines import command, gpu_host, hardware
from safeguard_spark.engines.health import Health, check_health, is_healthy
from safeguard_spark.engines.paths import server_home, server_path
from safeguard_spark.engines.processes import ProcessId, end_tree, lower_priority, machine_id
from safeguard_spark.engines.server_folder import (
    IDLE,
    FailedStart,
    Phase,
    ServerEnd,
    ServerFolder,
    ServerState,
    Starts,
)
from safeguard_spark.engines.server_log import cause, is_lasting, is_passing, tail
from safeguard_spark.engines.supervisor import SupervisorSpec
from safeguard_spark.engines.timings import DEFAULT_TIMINGS, Timings
from safeguard_spark.errors import EngineError

RUNS_KEPT = 16  # in starts.json
log = logging.getLogger(__name__)


class Stopped(NamedTuple):
    """A server that ended while a task waited for it. `is_late`: it was ended because it was not ready in time."""

    cause: str
    is_late: bool = False


class Server:
    """The server of `owner`'s executor, as a task of the run `run_id` uses it."""

    def __init__(
        self, config: VllmConfig, owner: ProcessId, devices: list[str], run_id: str, timings: Timings = DEFAULT_TIMINGS
    ) -> None:
        self.config, self.owner, self.devices, self.run_id, self.timings = config, owner, devices, run_id, timings
        self.folder = ServerFolder(server_path(config, owner, devices))
        self.server_id = ""  # the server that requests go to; empty before the first
        self.server_ids: frozenset[str] = frozenset()  # servers that this run started and this task has used
        self._restarting, self._progressed_at = threading.Lock(), time.monotonic()

    @property
    def stalled_s(self) -> float:
        """For how long the server has made no progress, seconds, by the watcher that calls `mark_progress`."""
        return time.monotonic() - self._progressed_at

    def mark_progress(self) -> None:
        """Record that the server has made progress, or has nothing to do."""
        self._progressed_at = time.monotonic()

    def ensure_running(self) -> None:
        """Use the running server; start it if there is none. Blocks up to `start_deadline_s`.

        Raises EngineError with the server's own message if it cannot be started, ConfigError for wrong settings.
        """
        with self._lock() as deadline:
            running = self._await_running(deadline)
            if running is None:
                self._raise_earlier_failure()
            self._use(running or self._start(deadline))

    def restart(self, server_id: str, *, hung: bool = False) -> None:
        """Restart the server if `server_id` is still in use, and dead or `hung`; use a healthy one as it is. Blocks.

        Raises EngineError if the run has no start left or this one fails.
        """
        with self._restarting:
            if server_id != self.server_id:
                return
            with self._lock() as deadline:
                self._use(self._restarted(server_id, deadline, hung=hung))

    def _restarted(self, server_id: str, deadline: float, *, hung: bool) -> ServerState:
        state = self._living_state()
        if state and state.server_id != server_id and (other := self._await_running(deadline)):
            return other
        if state and state.server_id == server_id:
            if not hung and is_healthy(self.folder.socket, self.timings):
                return state
            self._end(state, hung=hung)
        self._raise_earlier_failure()
        started, how = self._start(deadline), "hung" if hung else "died"
        log.warning("Run %s: server %s %s; server %s replaces it.", self.run_id, server_id, how, started.server_id)
        return started

    def _use(self, state: ServerState) -> None:
        if state.run_id == self.run_id:
            self.server_ids |= {state.server_id}
        self.server_id = state.server_id
        self.mark_progress()

    @contextlib.contextmanager
    def _lock(self) -> Iterator[float]:
        """Hold the folder's lock; yields the deadline for the server to be ready."""
        deadline = time.monotonic() + self.config.start_deadline_s
        self.folder.create(sockets=False)
        self.folder.touch("lease")
        try:
            with self.folder.lock(deadline, self.timings.start_poll_s) as is_held:
                if not is_held:
                    raise self._not_ready()
                yield deadline
        except OSError as error:
            raise EngineError(
                f"{self.folder.path} cannot be used: {error.strerror or error}; see engine.work_dir."
            ) from error

    def _living_state(self) -> ServerState | None:
        """The server that runs or is starting; None after cleaning up after a dead one."""
        deadline = time.monotonic() + self.timings.supervisor_start_s
        state = self.folder.state()
        while (phase := self.folder.phase(state)) is Phase.launching and time.monotonic() < deadline:
            time.sleep(self.timings.start_poll_s)  # the task that launched it was killed meanwhile
            state = self.folder.state()
        if phase in (Phase.starting, Phase.ready):
            return state
        if state and phase is not Phase.ended:
            self._end(state)
        return None

    def _await_running(self, deadline: float) -> ServerState | None:
        """The server that runs or is starting, once it is ready; None if no server is running."""
        state = self._living_state()
        if state is None:
            return None
        was_ready = self.folder.phase(state) is Phase.ready
        ready_again = time.monotonic() + self.timings.ready_again_s
        result = self._await_ready(min(deadline, ready_again) if was_ready else deadline)
        if isinstance(result, ServerState):
            return result
        if result.is_late and not was_ready:
            raise self._recorded(self._not_ready())
        return None

    def _start(self, deadline: float) -> ServerState:
        """Start a server, again if that fails: until the deadline for a reason that passes, else `restarts` times."""
        problem: EngineError | None = None  # of the start before
        while True:
            started = time.monotonic()
            try:
                result = self._launch() or self._await_ready(deadline)
            except EngineError as error:
                raise self._recorded(error) from None
            if isinstance(result, ServerState):
                self.folder.forget(FailedStart)
                ready_s = time.monotonic() - started
                log.info("Run %s: server %s is ready after %.1f s.", self.run_id, result.server_id, ready_s)
                return result
            if result.is_late:
                raise self._recorded(problem or self._not_ready())
            problem, server_log = self._start_failed(result.cause), tail(self.folder.log)
            pause_s = self.timings.start_again_s
            if is_passing(server_log):
                self._record_starts(self._starts() - 1)
                self._end_unused(self.folder.others())  # servers of other sessions, too
            elif is_lasting(server_log) or self._starts() > self.config.restarts:
                raise self._recorded(problem)
            if time.monotonic() + pause_s > deadline:
                raise self._recorded(problem)
            log.warning("Run %s: %s It is started again.", self.run_id, problem)
            self.folder.touch("lease")
            time.sleep(pause_s)

    def _launch(self) -> Stopped | None:
        server_id = str(uuid.uuid4())
        is_own_python = self.config.python is None and not self.config.command
        hardware_args = hardware.arguments() if is_own_python else {}
        if is_own_python and not hardware.is_cpu_build():
            gpu_host.require(self.devices)
        argv = command.command(self.config, self.folder.socket, hardware_args)
        home = server_home(self.folder.path)
        env = command.environment(self.config, os.environ, self.devices, self.folder.sockets, home, server_id)
        self._use_start()
        self._end_unused(self.folder.siblings())
        for folder in self.folder.path.parent.iterdir():
            ServerFolder(folder).delete_if_old()
        self.folder.create()
        home.mkdir(mode=0o700, exist_ok=True)
        self.folder.socket.unlink(missing_ok=True)  # vLLM refuses to start if there is one
        if self.folder.has_unknown_state:
            log.warning(
                "%s: another release has started a server here; it is neither used nor ended.", self.folder.path
            )
        state = ServerState(server_id, self.run_id, self.owner, machine=machine_id())
        self.folder.write(state)
        spec = SupervisorSpec(state, argv, env, self.folder.path, self.config.idle_s, self.timings)
        return self._supervise(spec)

    def _supervise(self, spec: SupervisorSpec) -> Stopped | None:
        """Start a supervisor, which starts the server."""
        with contextlib.suppress(FileNotFoundError):
            self.folder.log.replace(self.folder.old_log)
        with self.folder.log.open("ab") as out:
            result = subprocess.run(
                [sys.executable, "-m", "safeguard_spark.engines.supervisor", spec.state.server_id],
                input=pickle.dumps(spec),
                stdout=out,
                stderr=out,
                check=False,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)},
            )
        return Stopped("its supervisor did not start") if result.returncode else None

    def _await_ready(self, deadline: float) -> ServerState | Stopped:
        """Wait until the server is healthy. Ends one that is not by the deadline."""
        started = time.monotonic()
        while True:
            state = self.folder.state()
            phase = self.folder.phase(state)
            if state is None or phase is Phase.launching:
                if time.monotonic() - started > self.timings.supervisor_start_s:
                    return Stopped("its supervisor did not start")
            elif phase is Phase.ended:
                return Stopped(self.folder.end_cause(state) or "")
            elif phase is Phase.orphaned:
                self._end(state)
                return Stopped("its supervisor was killed")
            elif check_health(self.folder.socket, self.timings.probe_s) is Health.healthy:
                if state.server_pid:
                    # Not earlier: the server's engine process has started by now, and keeps its own priority.
                    lower_priority(state.server_pid, self.config.niceness)
                self.folder.mark_ready(state.server_id)
                return state
            if time.monotonic() > deadline:
                if state:
                    self._end(state)
                return Stopped("it did not answer", is_late=True)
            self.folder.touch("lease")
            time.sleep(self.timings.start_poll_s)

    def _end(self, state: ServerState, *, hung: bool = False) -> None:
        end_server(self.folder, state, hung=hung, timings=self.timings)

    def _end_unused(self, folders: Iterable[ServerFolder]) -> None:
        """End those of these servers on this machine that no task uses: they hold the memory this one needs."""
        self.folder.touch("lease")
        now_ns, machine = self.folder.touched_ns("lease"), machine_id()
        for folder in folders:
            state = folder.state()
            unused_s = (now_ns - folder.touched_ns("lease")) / 1e9
            is_running = state and state.supervisor and state.machine == machine and not folder.end_cause(state)
            if state and is_running and unused_s > self.timings.unused_s:
                log.info("Run %s: server %s is ended, which no task uses.", self.run_id, state.server_id)
                end_server(folder, state, timings=self.timings)

    def _use_start(self) -> None:
        """Count a start of this run. Raises EngineError if it has used all."""
        end, used = self.folder.read(ServerEnd), self._starts()
        if used and end and end.cause == IDLE:
            return  # no task needed it for a while, which is no failure
        if used > self.config.restarts:
            raise EngineError(
                f"The vLLM server died or hung {used} times in this run, more often than engine.restarts "
                f"({self.config.restarts}) allows. See its log: {self._log()}."
            )
        self._record_starts(used + 1)

    def _record_starts(self, used: int) -> None:
        starts = self.folder.read(Starts)
        others = {run_id: count for run_id, count in starts.by_run.items() if run_id != self.run_id} if starts else {}
        self.folder.write(Starts({**dict([*others.items()][-RUNS_KEPT:]), self.run_id: used}))

    def _starts(self) -> int:
        """How many starts this run has used."""
        starts = self.folder.read(Starts)
        return starts.by_run.get(self.run_id, 0) if starts else 0

    def _raise_earlier_failure(self) -> None:
        failed = self.folder.read(FailedStart)
        if failed and failed.run_id == self.run_id:
            raise EngineError(failed.message)

    def _recorded(self, error: EngineError) -> EngineError:
        self.folder.write(FailedStart(self.run_id, str(error)))
        return error

    def _start_failed(self, how: str) -> EngineError:
        message = cause(tail(self.folder.log))
        return EngineError(f"The vLLM server did not start: {message or how}. See its log: {self._log()}.")

    def _not_ready(self) -> EngineError:
        waited = f"{self.config.start_deadline_s:g} s (engine.start_deadline_s)"
        return EngineError(f"The vLLM server was not ready within {waited}. See its log: {self._log()}.")

    def _log(self) -> str:
        return f"{self.folder.log} on {socket.gethostname()}"


def end_server(
    folder: ServerFolder, state: ServerState, *, hung: bool = False, timings: Timings = DEFAULT_TIMINGS
) -> None:
    """End a server and its supervisor, and clean up after them. Blocks up to half a minute."""
    end_tree(state.server_id, hung=hung, timings=timings)
    current = folder.state()  # its supervisor may have started meanwhile
    if current and current.server_id == state.server_id and current.supervisor:
        current.supervisor.end(timings.end_s / 2)
    folder.record_end(state.server_id, "it was ended so that another can start")
