"""The one server of an executor, as its folder records it: found, started, watched, ended.

<work_dir>/safeguard-<uid>/<executor>-<settings>/     0700
    lock         held while somebody looks whether to start
    state.json   who runs: incarnation, supervisor, run that started it
    ended.json   why the last one ended
    failed.json  why the last start of a run failed: its other tasks need not wait for the same again
    restarts.json  how many of them a run has used
    lease        touched while somebody needs the server; answered: touched when it answers
    s            its socket;  log, log.old: what it said
"""

import contextlib
import fcntl
import hashlib
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from safeguard_spark.config import EngineConfig
from safeguard_spark.engines import command
from safeguard_spark.engines.engine_log import cause, tail
from safeguard_spark.engines.processes import birth, end_tree, is_alive
from safeguard_spark.engines.supervisor import clean, read_json, write_json
from safeguard_spark.errors import ConfigError, EngineError

SOCKET_BYTES = 107 if sys.platform == "linux" else 103  # sun_path without its final NUL
PROBE_S = 5.0
WAIT_S = 0.25
NAME_BYTES = len("/safeguard-4294967295/0123456789-01234567/s")


class Incarnation(NamedTuple):
    """One life of the server."""

    engine: str
    run_id: str


class Server:
    """The server of one executor, whoever started it. `key` is `<owner pid>-<owner birth>`."""

    def __init__(self, config: EngineConfig, key: str, devices: list[str], run_id: str) -> None:
        self.config, self.devices, self.run_id = config, devices, run_id
        pid, _, self.owner_born = key.partition("-")
        self.owner = int(pid)
        settings = [config.model, config.revision, config.python, config.env, config.args, devices]
        self.folder = home(config) / f"{_short(key, 10)}-{_short(json.dumps(settings, sort_keys=True), 8)}"
        self.socket = self.folder / "s"

    def ensure(self) -> Incarnation:
        """The running server; started if there is none. Raises EngineError if that fails, within the deadline."""
        deadline = time.monotonic() + self.config.start_deadline_s
        self._open_folder()
        self.touch("lease")
        with self._lock(deadline):
            self._raise_known_failure()
            state = self._living()
            if state is None:
                self._launch()
            try:
                return self._await_ready(deadline)
            except EngineError as error:
                write_json(self.folder / "failed.json", {"run_id": self.run_id, "message": str(error)})
                raise

    def renew(self, engine: str, *, hung: bool) -> Incarnation:
        """Another incarnation in the place of `engine`, if that is dead or hung; itself if it is well after all.

        Raises EngineError if the run has no restart left.
        """
        deadline = time.monotonic() + self.config.start_deadline_s
        self.touch("lease")
        with self._lock(deadline):
            state = self._living()
            if state and (state["engine"] != engine or not hung) and self.is_healthy():
                return Incarnation(state["engine"], state["run_id"])
            self._end(engine)
            self._spend_restart()
        return self.ensure()

    def is_healthy(self) -> bool:
        """Whether the server says that it and its engine are well."""
        return probe(self.socket) == 200

    def touch(self, name: str) -> None:
        """Set a file's time to now."""
        (self.folder / name).touch(mode=0o600)

    def answered(self) -> int:
        """When the server last answered any task, in its file's own time; 0 if never."""
        try:
            return (self.folder / "answered").stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def _open_folder(self) -> None:
        for folder in (self.folder.parent, self.folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            info = folder.lstat()
            if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid() or info.st_mode & 0o077:
                raise EngineError(f"{folder} is not private to this user: remove it, or set engine.work_dir.")

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
        finally:
            os.close(file)

    def _living(self) -> dict[str, Any] | None:
        """The state of a server whose supervisor lives; None after clearing away what a dead one left."""
        state = read_json(self.folder / "state.json")
        if not state:
            return None
        if is_alive(state["supervisor"], state["supervisor_born"]):
            return state
        end_tree(state["engine"])  # its twin is at it too
        clean(self.folder, state["engine"], "its supervisor was killed")
        return None

    def _launch(self) -> None:
        engine = str(uuid.uuid4())
        words = command.command(self.config, self.socket)
        env = command.environment(self.config, os.environ, self.devices, self.folder, engine)
        for name in ("state.json", "ended.json", "answered"):
            (self.folder / name).unlink(missing_ok=True)
        spec = {
            "engine": engine,
            "command": words,
            "env": env,
            "folder": str(self.folder),
            "owner": self.owner,
            "owner_born": self.owner_born,
            "idle_s": self.config.idle_s,
            "facts": {"run_id": self.run_id, "begun": time.time()},
        }
        log = self.folder / "log"
        if log.exists():
            log.replace(self.folder / "log.old")
        with log.open("ab") as out:
            starter = [sys.executable, "-m", "safeguard_spark.engines.supervisor", engine]
            subprocess.run(
                starter, input=json.dumps(spec).encode(), stdout=out, stderr=out, check=False,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
            )  # fmt: skip

    def _await_ready(self, deadline: float) -> Incarnation:
        born = time.monotonic()
        while True:
            if ended := read_json(self.folder / "ended.json"):
                raise self._failed(ended["cause"])
            state = read_json(self.folder / "state.json")
            if not state and time.monotonic() - born > 30:
                raise self._failed("its supervisor did not start")
            if state and not is_alive(state["supervisor"], state["supervisor_born"]):
                self._living()
                raise self._failed("its supervisor was killed")
            if state and self.is_healthy():
                return Incarnation(state["engine"], state["run_id"])
            if time.monotonic() > deadline:
                self._end(state.get("engine", ""))
                raise self._late()
            self.touch("lease")
            time.sleep(WAIT_S)

    def _end(self, engine: str) -> None:
        state = read_json(self.folder / "state.json")
        if state.get("engine") == engine:
            if is_alive(state["supervisor"], state["supervisor_born"]):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(state["supervisor"], 15)
            end_tree(engine)
            deadline = time.monotonic() + 10
            while is_alive(state["supervisor"], state["supervisor_born"]) and time.monotonic() < deadline:
                time.sleep(0.1)
            if is_alive(state["supervisor"], state["supervisor_born"]):
                os.kill(state["supervisor"], 9)
            clean(self.folder, engine, "ended for a restart")
            (self.folder / "state.json").unlink(missing_ok=True)

    def _spend_restart(self) -> None:
        used = read_json(self.folder / "restarts.json").get(self.run_id, 0)
        if used >= self.config.restarts:
            raise EngineError(
                f"The vLLM server died or hung {used + 1} times in this run, more than engine.restarts allows; "
                f"its log is {self.folder / 'log'} on {socket.gethostname()}."
            )
        write_json(self.folder / "restarts.json", {self.run_id: used + 1})

    def _raise_known_failure(self) -> None:
        failed = read_json(self.folder / "failed.json")
        if failed.get("run_id") == self.run_id:
            raise EngineError(failed["message"])

    def _failed(self, how: str) -> EngineError:
        log = self.folder / "log"
        said = cause(tail(log))
        return EngineError(f"The vLLM server did not start: {said or how}. Its log: {log} on {socket.gethostname()}.")

    def _late(self) -> EngineError:
        log = self.folder / "log"
        return EngineError(
            f"The vLLM server was not ready within {self.config.start_deadline_s:g} s (engine.start_deadline_s); "
            f"its log: {log} on {socket.gethostname()}."
        )


def home(config: EngineConfig) -> Path:
    """The folder of this user's servers, short enough for a socket's path. Raises ConfigError."""
    name = f"safeguard-{os.getuid()}"
    if config.work_dir:
        base = Path(config.work_dir).expanduser().absolute()
        if len(os.fsencode(base)) + NAME_BYTES > SOCKET_BYTES:
            limit = SOCKET_BYTES - NAME_BYTES
            raise ConfigError(f"engine.work_dir is too long for a socket: {base} has over {limit} bytes.")
        return base / name
    base = Path(tempfile.gettempdir())  # on YARN below the container's folder, which may be long
    return (base if len(os.fsencode(base)) + NAME_BYTES <= SOCKET_BYTES else Path("/tmp")) / name


def executor_key(pid: int | None = None) -> str:
    """The executor of this Python worker: its parent's pid and birth, the parent being Spark's Python daemon."""
    pid = os.getppid() if pid is None else pid
    return f"{pid}-{birth(pid) or 0}"


def probe(path: Path) -> int | None:
    """The HTTP status of `GET /health` on a socket; None if nobody answers."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(PROBE_S)
            line.connect(str(path))
            line.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            words = line.recv(64).split()
            return int(words[1]) if len(words) > 1 else None
    except (OSError, ValueError):
        return None


def _short(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]
