"""The one server of an executor, as its folder records it: found, started, watched, ended.

<work_dir>/safeguard-<uid>/<executor>-<settings>/     0700
    lock         held while a task decides whether to start a server
    state.json   the server that runs: its server_id, its supervisor, the run that started it
    ready        the server_id of the last server that was ready
    ended.json   why the last one ended
    failed.json  why the last start of a run failed: its other tasks need not wait for the same failure again
    starts.json  how many starts each run has used
    lease        touched while a task needs the server; answered: touched when it answers
    s            its socket, in a folder of its own if this path is too long;  log, log.old: its output
"""

import contextlib
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from safeguard_spark.config.engine import VllmConfig
from safeguard_spark.engines import command, hardware
from safeguard_spark.engines.health import Health, check_health, is_healthy
from safeguard_spark.engines.paths import server_paths
from safeguard_spark.engines.processes import at_normal_priority, end_tree, is_alive, lower_priority
from safeguard_spark.engines.server_log import cause, tail
from safeguard_spark.engines.supervisor import IDLE, clean, end_supervisor, read_json, write_json
from safeguard_spark.engines.timings import DEFAULT_TIMINGS, Timings
from safeguard_spark.errors import EngineError

RUNS_KEPT = 16  # in starts.json
LOGS_KEPT_S = 7 * 86_400.0


class RunningServer(NamedTuple):
    """A server that is ready, and the run that started it."""

    server_id: str
    run_id: str


class _EndedError(Exception):
    """The server ended while a task waited for it; the message tells how."""


class _TimeoutError(_EndedError):
    """It was ended because it was not ready in time."""


class Server:
    """The server of one executor, whichever task started it. `key` is `<owner pid>-<owner start time>`."""

    def __init__(
        self, config: VllmConfig, key: str, devices: list[str], run_id: str, timings: Timings = DEFAULT_TIMINGS
    ) -> None:
        self.config, self.devices, self.run_id, self.timings = config, devices, run_id, timings
        pid, _, self.owner_started = key.partition("-")
        self.owner = int(pid)
        self.paths = server_paths(config, key, devices)
        self.folder, self.socket = self.paths.folder, self.paths.socket

    def ensure_running(self) -> RunningServer:
        """Return the running server; start it if there is none. Blocks up to `start_deadline_s`.

        Raises EngineError with the server's own message if it cannot be started, ConfigError for wrong settings.
        """
        deadline = time.monotonic() + self.config.start_deadline_s
        self.paths.create(sockets=False)
        self.touch("lease")
        with self._lock(deadline):
            self._raise_earlier_failure()
            return self._await_running(deadline) or self._start(deadline)

    def restart(self, server_id: str, *, hung: bool) -> RunningServer:
        """Restart the server if `server_id` is dead or hung; return the current one if that is healthy.

        Raises EngineError if the run has no start left or this one fails.
        """
        deadline = time.monotonic() + self.config.start_deadline_s
        self.paths.create(sockets=False)
        self.touch("lease")
        with self._lock(deadline):
            state = self._living_state()
            if state and state["server_id"] != server_id and (other := self._await_running(deadline)):
                return other
            if state and state["server_id"] == server_id:
                if not hung and is_healthy(self.socket, self.timings):
                    return RunningServer(server_id, state["run_id"])
                self._end(server_id, hung=hung)
            self._raise_earlier_failure()
            return self._start(deadline)

    def touch(self, name: str) -> None:
        """Set a file's time to now."""
        with contextlib.suppress(OSError):
            (self.folder / name).touch(mode=0o600)

    def answered_ns(self) -> int:
        """When the server last answered any task, by the file's own time; 0 if never."""
        try:
            return (self.folder / "answered").stat().st_mtime_ns
        except OSError:
            return 0

    @contextlib.contextmanager
    def _lock(self, deadline: float) -> Iterator[None]:
        file = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise self._not_ready() from None
                    self.touch("lease")
                    time.sleep(self.timings.start_poll_s)
            yield
        except OSError as error:
            raise EngineError(
                f"{self.folder} cannot be used: {error.strerror or error}; see engine.work_dir."
            ) from error
        finally:
            os.close(file)

    def _living_state(self) -> dict[str, Any] | None:
        """The state of a server whose supervisor is alive; None after cleaning up after a dead one."""
        state = read_json(self.folder / "state.json")
        deadline = time.monotonic() + self.timings.supervisor_start_s
        while state and "supervisor" not in state and not self._end_of(state) and time.monotonic() < deadline:
            time.sleep(self.timings.start_poll_s)  # the task that launched it was killed meanwhile
            state = read_json(self.folder / "state.json")
        if not state or self._end_of(state):
            return None
        if "supervisor" in state and is_alive(state["supervisor"], state["supervisor_started"]):
            return state
        self._end(state["server_id"])
        return None

    def _await_running(self, deadline: float) -> RunningServer | None:
        """The server that runs or is starting, once it is ready; None if no server is running."""
        state = self._living_state()
        if state is None:
            return None
        was_ready = _read(self.folder / "ready") == state["server_id"]
        ready_again = time.monotonic() + self.timings.ready_again_s
        try:
            return self._await_ready(min(deadline, ready_again) if was_ready else deadline)
        except _TimeoutError:
            if not was_ready:
                error = self._not_ready()
                self._record_failure(error)
                raise error from None
        except _EndedError:
            pass
        return None

    def _end_of(self, state: dict[str, Any]) -> str | None:
        """Why the server of this state ended; None while it runs."""
        ended = read_json(self.folder / "ended.json")
        return str(ended["cause"]) if ended.get("server_id") == state["server_id"] else None

    def _start(self, deadline: float) -> RunningServer:
        try:
            self._launch()
            return self._await_ready(deadline)
        except _EndedError as ended:
            error = self._not_ready() if isinstance(ended, _TimeoutError) else self._start_failed(str(ended))
            self._record_failure(error)
            raise error from None
        except EngineError as error:
            self._record_failure(error)
            raise

    def _launch(self) -> None:
        server_id = str(uuid.uuid4())
        hardware_args = hardware.arguments() if self.config.python is None else {}
        argv = command.command(self.config, self.socket, hardware_args)
        env = command.environment(self.config, os.environ, self.devices, self.paths.sockets, server_id)
        self._use_start()
        self._end_unused()
        sweep(self.folder.parent)
        self.paths.create()
        self.socket.unlink(missing_ok=True)  # vLLM refuses to start if there is one
        facts = {"run_id": self.run_id, "owner": self.owner, "owner_started": self.owner_started}
        facts |= {"launched_at": time.time(), "sockets": str(self.paths.sockets)}
        write_json(self.folder / "state.json", {**facts, "server_id": server_id})
        self._supervise({
            "server_id": server_id,
            "command": argv,
            "env": env,
            "folder": str(self.folder),
            "sockets": str(self.paths.sockets),
            "owner": self.owner,
            "owner_started": self.owner_started,
            "idle_s": self.config.idle_s,
            "facts": facts,
            "timings": asdict(self.timings),
        })  # fmt: skip

    def _supervise(self, spec: dict[str, Any]) -> None:
        """Start a supervisor, which starts the server. Raises _EndedError if it does not start."""
        log = self.folder / "log"
        if log.exists():
            log.replace(self.folder / "log.old")
        with log.open("ab") as out:
            supervisor = [sys.executable, "-m", "safeguard_spark.engines.supervisor", spec["server_id"]]
            paths = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
            result = at_normal_priority(lambda: subprocess.run(
                supervisor, input=json.dumps(spec).encode(), stdout=out, stderr=out, check=False,
                env={**os.environ, "PYTHONPATH": paths},
            ))  # fmt: skip
        if result.returncode:
            raise _EndedError("its supervisor did not start")

    def _await_ready(self, deadline: float) -> RunningServer:
        """Wait until the server is healthy. Raises _EndedError if it ends, or has to be ended."""
        started = time.monotonic()
        while True:
            state = read_json(self.folder / "state.json")
            if end := self._end_of(state):
                raise _EndedError(end)
            if "supervisor" not in state:
                if time.monotonic() - started > self.timings.supervisor_start_s:
                    raise _EndedError("its supervisor did not start")
            elif not is_alive(state["supervisor"], state["supervisor_started"]):
                self._end(state["server_id"])
                raise _EndedError("its supervisor was killed")
            elif check_health(self.socket, self.timings.probe_s) is Health.healthy:
                # Not earlier: the server's engine process has started by now, and keeps its own priority.
                lower_priority(state["server"], self.config.niceness)
                (self.folder / "ready").write_text(state["server_id"], encoding="utf-8")
                return RunningServer(state["server_id"], state["run_id"])
            if time.monotonic() > deadline:
                self._end(state["server_id"])
                raise _TimeoutError("it did not answer")
            self.touch("lease")
            time.sleep(self.timings.start_poll_s)

    def _end(self, server_id: str, *, hung: bool = False) -> None:
        end_server(self.folder, self.paths.sockets, server_id, hung=hung, timings=self.timings)

    def _end_unused(self) -> None:
        """End this executor's servers with other settings that no task uses: they hold the memory this one needs."""
        now_ns = (self.folder / "lease").stat().st_mtime_ns
        for folder in self.paths.siblings():
            state = read_json(folder / "state.json")
            with contextlib.suppress(OSError):
                unused_s = (now_ns - (folder / "lease").stat().st_mtime_ns) / 1e9
                if "supervisor" in state and unused_s > self.timings.unused_s:
                    end_server(folder, Path(state["sockets"]), state["server_id"], timings=self.timings)

    def _use_start(self) -> None:
        """Count a start of this run. Raises EngineError if it has used all."""
        starts = read_json(self.folder / "starts.json")
        used = starts.pop(self.run_id, 0)
        if used and read_json(self.folder / "ended.json").get("cause") == IDLE:
            return  # no task needed it for a while, which is no failure
        if used > self.config.restarts:
            raise EngineError(
                f"The vLLM server died or hung {used} times in this run, more often than engine.restarts "
                f"({self.config.restarts}) allows. See its log: {self._log()}."
            )
        kept = dict([*starts.items()][-RUNS_KEPT:])
        write_json(self.folder / "starts.json", {**kept, self.run_id: used + 1})

    def _raise_earlier_failure(self) -> None:
        failed = read_json(self.folder / "failed.json")
        if failed.get("run_id") == self.run_id:
            raise EngineError(failed["message"])

    def _record_failure(self, error: EngineError) -> None:
        write_json(self.folder / "failed.json", {"run_id": self.run_id, "message": str(error)})

    def _start_failed(self, how: str) -> EngineError:
        message = cause(tail(self.folder / "log"))
        return EngineError(f"The vLLM server did not start: {message or how}. See its log: {self._log()}.")

    def _not_ready(self) -> EngineError:
        waited = f"{self.config.start_deadline_s:g} s (engine.start_deadline_s)"
        return EngineError(f"The vLLM server was not ready within {waited}. See its log: {self._log()}.")

    def _log(self) -> str:
        return f"{self.folder / 'log'} on {socket.gethostname()}"


def end_server(
    folder: Path, sockets: Path, server_id: str, *, hung: bool = False, timings: Timings = DEFAULT_TIMINGS
) -> None:
    """End a server and its supervisor, and clean up after them. Blocks up to half a minute."""
    state = read_json(folder / "state.json")
    end_tree(server_id, hung=hung, timings=timings)
    if state.get("server_id") == server_id and "supervisor" in state:
        end_supervisor(state["supervisor"], state["supervisor_started"], timings.end_s / 2)
    clean(folder, sockets, server_id, "it was ended so that another can start")


def sweep(folder: Path) -> None:
    """Delete the folders of executors that ended; their logs are kept for a week."""
    for server_folder in folder.iterdir():
        state = read_json(server_folder / "state.json")
        with contextlib.suppress(OSError, KeyError):
            is_old = time.time() - (server_folder / "lease").stat().st_mtime > LOGS_KEPT_S
            if is_old and not is_alive(state["owner"], state["owner_started"]):
                shutil.rmtree(server_folder)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
