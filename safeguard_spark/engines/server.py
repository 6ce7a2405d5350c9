"""The one server of an executor, as its folder records it: found, started, watched, ended.

<work_dir>/safeguard-<uid>/<executor>-<settings>/     0700
    lock         held while somebody looks whether to start
    state.json   who runs: incarnation, supervisor, run that started it
    ready        which incarnation was well once
    ended.json   why the last one ended
    failed.json  why the last start of a run failed: its other tasks need not wait for the same again
    starts.json  how many a run has used
    lease        touched while somebody needs the server; answered: touched when it answers
    s            its socket, in a folder of its own where this one's path is too long;  log, log.old: what it said
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from safeguard_spark.config.model import EngineConfig
from safeguard_spark.engines import command, hardware
from safeguard_spark.engines.health import Health, health, is_well
from safeguard_spark.engines.paths import server_paths
from safeguard_spark.engines.processes import GRACE_S, at_normal_priority, end_tree, is_alive, lower_priority
from safeguard_spark.engines.server_log import cause, tail
from safeguard_spark.engines.supervisor import IDLE, clean, read_json, write_json
from safeguard_spark.errors import EngineError

WAIT_S = 0.25
SUPERVISOR_START_S = 30.0
READY_AGAIN_S = 60.0  # for a server that was well before; one that starts has the start deadline
UNUSED_NS = 30_000_000_000  # a lease so much older than now: nobody needs that server
RUNS_KEPT = 16
KEPT_S = 7 * 86_400.0


class RunningServer(NamedTuple):
    """One life of the server, and the run that started it."""

    server_id: str
    run_id: str


class _EndedError(Exception):
    """The server ended while it was waited for; the message says how."""


class _LateError(_EndedError):
    """It was ended because it was not well in time."""


class Server:
    """The server of one executor, whoever started it. `key` is `<owner pid>-<owner birth>`."""

    def __init__(self, config: EngineConfig, key: str, devices: list[str], run_id: str) -> None:
        self.config, self.devices, self.run_id = config, devices, run_id
        pid, _, self.owner_started = key.partition("-")
        self.owner = int(pid)
        self.place = server_paths(config, key, devices)
        self.folder, self.socket = self.place.folder, self.place.socket

    def ensure_running(self) -> RunningServer:
        """The running server; started if there is none. Blocks up to `start_deadline_s`.

        Raises EngineError with the engine's own words if it cannot be started, ConfigError for settings that cannot be.
        """
        deadline = time.monotonic() + self.config.start_deadline_s
        self.place.create(sockets=False)
        self.touch("lease")
        with self._lock(deadline):
            self._raise_known_failure()
            return self._reused(deadline) or self._start(deadline)

    def restart(self, server_id: str, *, hung: bool) -> RunningServer:
        """Another incarnation in the place of `engine` if that is dead or hung; itself if it is well after all.

        Raises EngineError if the run has no start left or this one fails.
        """
        deadline = time.monotonic() + self.config.start_deadline_s
        self.place.create(sockets=False)
        self.touch("lease")
        with self._lock(deadline):
            state = self._living()
            if state and state["server_id"] != server_id and (other := self._reused(deadline)):
                return other
            if state and state["server_id"] == server_id:
                if not hung and is_well(self.socket):
                    return RunningServer(server_id, state["run_id"])
                self._end(server_id, grace_s=0.0 if hung else GRACE_S)
            self._raise_known_failure()
            return self._start(deadline)

    def touch(self, name: str) -> None:
        """Set a file's time to now."""
        with contextlib.suppress(OSError):
            (self.folder / name).touch(mode=0o600)

    def answered(self) -> int:
        """When the server last answered any task, in its file's own time; 0 if never."""
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
                        raise self._late() from None
                    self.touch("lease")
                    time.sleep(WAIT_S)
            yield
        except OSError as error:
            raise EngineError(
                f"{self.folder} cannot be used: {error.strerror or error}; see engine.work_dir."
            ) from error
        finally:
            os.close(file)

    def _living(self) -> dict[str, Any] | None:
        """The state of a server whose supervisor lives; None after clearing away what a dead one left."""
        state = read_json(self.folder / "state.json")
        patience = time.monotonic() + SUPERVISOR_START_S
        while state and "supervisor" not in state and not self._ended(state) and time.monotonic() < patience:
            time.sleep(WAIT_S)  # whoever launched it was killed meanwhile
            state = read_json(self.folder / "state.json")
        if not state or self._ended(state):
            return None
        if "supervisor" in state and is_alive(state["supervisor"], state["supervisor_started"]):
            return state
        self._end(state["server_id"])
        return None

    def _reused(self, deadline: float) -> RunningServer | None:
        """The server that runs or is being started already, once it is well; None if there is none, or was."""
        state = self._living()
        if state is None:
            return None
        known = _read(self.folder / "ready") == state["server_id"]
        try:
            return self._await_ready(min(deadline, time.monotonic() + READY_AGAIN_S) if known else deadline)
        except _LateError:
            if not known:
                error = self._late()
                self._remember(error)
                raise error from None
        except _EndedError:
            pass
        return None

    def _ended(self, state: dict[str, Any]) -> str | None:
        ended = read_json(self.folder / "ended.json")
        return str(ended["cause"]) if ended.get("server_id") == state["server_id"] else None

    def _start(self, deadline: float) -> RunningServer:
        try:
            self._launch()
            return self._await_ready(deadline)
        except _EndedError as ended:
            error = self._late() if isinstance(ended, _LateError) else self._failed(str(ended))
            self._remember(error)
            raise error from None
        except EngineError as error:
            self._remember(error)
            raise

    def _launch(self) -> None:
        server_id = str(uuid.uuid4())
        fitting = hardware.arguments() if self.config.python is None else {}
        words = command.command(self.config, self.socket, fitting)
        env = command.environment(self.config, os.environ, self.devices, self.place.sockets, server_id)
        self._spend_start()
        self._end_unused()
        sweep(self.folder.parent)
        self.place.create()
        self.socket.unlink(missing_ok=True)  # vLLM refuses to start where one is left
        facts = {"run_id": self.run_id, "owner": self.owner, "owner_started": self.owner_started}
        facts |= {"begun": time.time(), "sockets": str(self.place.sockets)}
        write_json(self.folder / "state.json", {**facts, "server_id": server_id})
        spec = {
            "server_id": server_id,
            "command": words,
            "env": env,
            "folder": str(self.folder),
            "sockets": str(self.place.sockets),
            "owner": self.owner,
            "owner_started": self.owner_started,
            "idle_s": self.config.idle_s,
            "facts": facts,
        }
        log = self.folder / "log"
        if log.exists():
            log.replace(self.folder / "log.old")
        with log.open("ab") as out:
            starter = [sys.executable, "-m", "safeguard_spark.engines.supervisor", server_id]
            paths = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
            begun = at_normal_priority(lambda: subprocess.run(
                starter, input=json.dumps(spec).encode(), stdout=out, stderr=out, check=False,
                env={**os.environ, "PYTHONPATH": paths},
            ))  # fmt: skip
        if begun.returncode:
            raise _EndedError("its supervisor did not start")

    def _await_ready(self, deadline: float) -> RunningServer:
        """Wait until the server is well. Raises _EndedError if it ends, or if it has to be ended."""
        begun = time.monotonic()
        while True:
            state = read_json(self.folder / "state.json")
            if how := self._ended(state):
                raise _EndedError(how)
            if "supervisor" not in state:
                if time.monotonic() - begun > SUPERVISOR_START_S:
                    raise _EndedError("its supervisor did not start")
            elif not is_alive(state["supervisor"], state["supervisor_started"]):
                self._end(state["server_id"])
                raise _EndedError("its supervisor was killed")
            elif health(self.socket) is Health.well:
                lower_priority(
                    state["server"], self.config.niceness
                )  # only now: its engine has begun, and keeps its own
                (self.folder / "ready").write_text(state["server_id"], encoding="utf-8")
                return RunningServer(state["server_id"], state["run_id"])
            if time.monotonic() > deadline:
                self._end(state["server_id"])
                raise _LateError("it did not answer")
            self.touch("lease")
            time.sleep(WAIT_S)

    def _end(self, server_id: str, grace_s: float = GRACE_S) -> None:
        end_server(self.folder, self.place.sockets, server_id, grace_s)

    def _end_unused(self) -> None:
        """End servers of this executor with other settings that nobody uses: they hold the memory this one needs."""
        now = (self.folder / "lease").stat().st_mtime_ns
        for folder in self.place.siblings():
            state = read_json(folder / "state.json")
            with contextlib.suppress(OSError):
                if "supervisor" in state and now - (folder / "lease").stat().st_mtime_ns > UNUSED_NS:
                    end_server(folder, Path(state["sockets"]), state["server_id"])

    def _spend_start(self) -> None:
        starts = read_json(self.folder / "starts.json")
        used = starts.pop(self.run_id, 0)
        if used and read_json(self.folder / "ended.json").get("cause") == IDLE:
            return  # nobody needed it for a while; no fault of its own
        if used > self.config.restarts:
            raise EngineError(
                f"The vLLM server died or hung {used} times in this run, more than engine.restarts "
                f"({self.config.restarts}) makes up for; its log: {self._log()}."
            )
        kept = dict([*starts.items()][-RUNS_KEPT:])
        write_json(self.folder / "starts.json", {**kept, self.run_id: used + 1})

    def _raise_known_failure(self) -> None:
        failed = read_json(self.folder / "failed.json")
        if failed.get("run_id") == self.run_id:
            raise EngineError(failed["message"])

    def _remember(self, error: EngineError) -> None:
        write_json(self.folder / "failed.json", {"run_id": self.run_id, "message": str(error)})

    def _failed(self, how: str) -> EngineError:
        said = cause(tail(self.folder / "log"))
        return EngineError(f"The vLLM server did not start: {said or how}. Its log: {self._log()}.")

    def _late(self) -> EngineError:
        waited = f"{self.config.start_deadline_s:g} s (engine.start_deadline_s)"
        return EngineError(f"The vLLM server was not ready within {waited}; its log: {self._log()}.")

    def _log(self) -> str:
        return f"{self.folder / 'log'} on {socket.gethostname()}"


def end_server(folder: Path, sockets: Path, server_id: str, grace_s: float = GRACE_S) -> None:
    """End `engine` and its supervisor, and clear up after them. Blocks up to half a minute."""
    state = read_json(folder / "state.json")
    ours = state.get("server_id") == server_id and "supervisor" in state
    pid, started = (state["supervisor"], state["supervisor_started"]) if ours else (0, "")
    end_tree(server_id, grace_s=grace_s)
    if ours and is_alive(pid, started):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    ends = time.monotonic() + 10
    while ours and is_alive(pid, started):
        if time.monotonic() > ends:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
    clean(folder, sockets, server_id, "ended for another to take its place")


def sweep(folder: Path) -> None:
    """Remove what servers of executors long gone left: their logs are kept for a week."""
    for found in folder.iterdir():
        state = read_json(found / "state.json")
        with contextlib.suppress(OSError, KeyError):
            old = time.time() - (found / "lease").stat().st_mtime > KEPT_S
            if old and not is_alive(state["owner"], state["owner_started"]):
                shutil.rmtree(found)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
