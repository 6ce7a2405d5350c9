"""The folder of an executor's server: what it says of the server, and the only code that reads and writes it.

<work_dir>/safeguard-<uid>/<executor>-<settings>/     0700
    lock         held while a task decides whether to start a server
    state.json   `ServerState`: the server that was started last
    ready        the server_id of the last server that was ready
    ended.json   `ServerEnd`: why the last one ended
    failed.json  `FailedStart`: its run's other tasks need not wait for the same failure again
    starts.json  `Starts`: how many starts each run has used
    load.json    `SharedLoad`: its work, read by one task for all
    lease        touched while a task needs the server; answered: touched when it answers
    s            its socket, in a folder of its own if this path is too long;  log, log.old: its output

Standard library and psutil only: the supervisor imports this and must start fast.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any, TypeVar

from safeguard_spark.engines.processes import ProcessId
from safeguard_spark.errors import EngineError

FORMAT = 1  # of the JSON files. A file of another format or with unknown fields counts as missing
IDLE = "no task used it"  # the one end that does not count as a failure
LOG_BYTES, LOG_KEPT = 16 << 20, 1 << 20  # the log is cut to its last part when it grows past this
LOGS_KEPT_S = 7 * 86_400.0
SOCKET_BYTES = 107 if sys.platform == "linux" else 103  # sun_path without its final NUL
# vLLM names sockets of its own by a UUID in the same folder.
NAME_BYTES = len("/safeguard-4294967295/0123456789-01234567/") + 36


class Phase(Enum):
    """How far the life of a folder's last server has come."""

    absent = auto()  # none was started here
    launching = auto()  # its supervisor has not started it yet
    starting = auto()  # it runs, and was not ready yet
    ready = auto()  # it runs, and was ready
    orphaned = auto()  # its supervisor was killed: processes may be left
    ended = auto()


@dataclass(frozen=True)
class ServerState:
    """A server, the run that started it, and the process that it must not outlive."""

    server_id: str
    run_id: str
    owner: ProcessId
    supervisor: ProcessId | None = None  # this and the next: None until the supervisor has started the server
    server_pid: int | None = None
    machine: str = ""  # where these processes are, as `machine_id` gives it


@dataclass(frozen=True)
class ServerEnd:
    """Why a server ended."""

    server_id: str
    cause: str


@dataclass(frozen=True)
class FailedStart:
    """Why the last start of a run failed."""

    run_id: str
    message: str


@dataclass(frozen=True)
class Starts:
    """How many starts each run has used, the latest run last."""

    by_run: dict[str, int]


@dataclass(frozen=True)
class SharedLoad:
    """A server's work, as one of its tasks read it: tokens so far, and open requests."""

    server_id: str
    tokens: float | None
    requests: int | None


FILES = {
    ServerState: "state.json",
    ServerEnd: "ended.json",
    FailedStart: "failed.json",
    Starts: "starts.json",
    SharedLoad: "load.json",
}
Record = TypeVar("Record", ServerState, ServerEnd, FailedStart, Starts, SharedLoad)


class ServerFolder:
    """Reads and writes the folder `path` of a server.

    `sockets` is the same folder, or a shorter one if that path is too long.
    """

    def __init__(self, path: Path) -> None:
        base, user = path.parents[1], path.parent.name
        self.path, self.sockets, self.log, self.old_log = path, path, path / "log", path / "log.old"
        if len(os.fsencode(base)) + NAME_BYTES > SOCKET_BYTES:
            # Long on YARN, where the temporary folder is the container's. The short name must be as distinct as it.
            short = hashlib.sha256(os.fsencode(f"{base}{path.name}")).hexdigest()[:10]
            self.sockets = Path("/tmp") / user / f"{short}-s"
        self.socket = self.sockets / "s"

    def create(self, *, sockets: bool = True) -> None:
        """Create both folders, private to this user. Raises EngineError if they are not private or cannot be created.

        A folder for the sockets alone is deleted with the server: with `sockets=False` it is checked if present, and
        not created.
        """
        for folder in dict.fromkeys((self.path, self.sockets)):
            if folder == self.path or sockets or folder.exists():
                for level in (folder.parent, folder):
                    _create_private(level)

    def siblings(self) -> list["ServerFolder"]:
        """Folders of this executor's servers with other settings."""
        executor = self.path.name.partition("-")[0]
        return [folder for folder in self.others() if folder.path.name.startswith(f"{executor}-")]

    def others(self) -> list["ServerFolder"]:
        """Folders of this user's other servers."""
        return [ServerFolder(path) for path in self.path.parent.glob("*-*") if path != self.path]

    def read(self, kind: type[Record]) -> Record | None:
        """The record of a kind; None if there is none, or if it is not in this release's format."""
        try:
            fields = json.loads((self.path / FILES[kind]).read_text(encoding="utf-8"))
            if fields.pop("format") != FORMAT:
                return None
            values: dict[str, Any] = {name: ProcessId(*v) if isinstance(v, list) else v for name, v in fields.items()}
            return kind(**values)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def write(self, record: ServerState | ServerEnd | FailedStart | Starts | SharedLoad) -> None:
        """Replace the record of this kind atomically."""
        path = self.path / FILES[type(record)]
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        draft.write_text(json.dumps({"format": FORMAT, **asdict(record)}), encoding="utf-8")
        draft.replace(path)

    def forget(self, kind: type[Record]) -> None:
        """Delete the record of a kind."""
        (self.path / FILES[kind]).unlink(missing_ok=True)

    def state(self) -> ServerState | None:
        """The server that was started last."""
        return self.read(ServerState)

    @property
    def has_unknown_state(self) -> bool:
        """Whether another release has recorded a server here."""
        return self.state() is None and (self.path / FILES[ServerState]).exists()

    def phase(self, state: ServerState | None) -> Phase:
        """How far the server of `state` has come."""
        if state is None:
            return Phase.absent
        # In this order: a supervisor records the end of its server before it ends itself.
        is_supervised = state.supervisor is not None and state.supervisor.is_alive()
        if self.end_cause(state):
            return Phase.ended
        if state.supervisor is None:
            return Phase.launching
        if not is_supervised:
            return Phase.orphaned
        return Phase.ready if self._ready_id() == state.server_id else Phase.starting

    def end_cause(self, state: ServerState) -> str | None:
        """Why the server of `state` ended; None while it runs."""
        end = self.read(ServerEnd)
        return end.cause if end and end.server_id == state.server_id else None

    def is_replaced(self, server_id: str) -> bool:
        """Whether a newer server uses the folder."""
        state = self.state()
        return state is not None and state.server_id != server_id

    def mark_ready(self, server_id: str) -> None:
        """Record that a server is ready."""
        (self.path / "ready").write_text(server_id, encoding="utf-8")

    def record_end(self, server_id: str, cause: str) -> None:
        """Delete a server's sockets and their folder, and record why it ended; nothing if a newer server is here."""
        if self.is_replaced(server_id):
            return
        with contextlib.suppress(OSError):  # something else may clear the temporary folder
            for entry in self.sockets.iterdir():
                if entry.is_socket():
                    entry.unlink(missing_ok=True)
            if self.sockets != self.path and not self.is_replaced(server_id):
                self.sockets.rmdir()  # fails if it is not empty
        # Last: a task that reads this may start another server here.
        with contextlib.suppress(OSError):
            end = self.read(ServerEnd)
            if end is None or end.server_id != server_id:
                self.write(ServerEnd(server_id, cause))

    def touch(self, name: str) -> None:
        """Set the time of `lease` or `answered` to now."""
        with contextlib.suppress(OSError):
            (self.path / name).touch(mode=0o600)

    def touched_ns(self, name: str) -> int:
        """When a file of the folder was touched last, by its own time; 0 if never."""
        try:
            return (self.path / name).stat().st_mtime_ns
        except OSError:
            return 0

    @contextlib.contextmanager
    def lock(self, deadline: float, poll_s: float) -> Iterator[bool]:
        """Hold the folder's lock; yields False if others hold it until `deadline`. Renews the lease. Raises OSError."""
        with (self.path / "lock").open("a") as file:
            while not (is_held := _try_lock(file.fileno())) and time.monotonic() <= deadline:
                self.touch("lease")
                time.sleep(poll_s)
            yield is_held

    def cut_log(self) -> None:
        """Keep only the last part of the log once it is too long."""
        with contextlib.suppress(OSError):
            if self.log.stat().st_size > LOG_BYTES:
                with self.log.open("r+b") as file:
                    file.seek(-LOG_KEPT, os.SEEK_END)
                    self.old_log.write_bytes(file.read())
                    file.truncate(0)  # the server appends, so it continues at the new end

    def delete_if_old(self) -> None:
        """Delete the folder if its executor has ended and no task has used it for a week; until then keep its logs."""
        state = self.state()
        if state and time.time() - self.touched_ns("lease") / 1e9 > LOGS_KEPT_S and not state.owner.is_alive():
            shutil.rmtree(self.path, ignore_errors=True)

    def _ready_id(self) -> str:
        try:
            return (self.path / "ready").read_text(encoding="utf-8")
        except OSError:
            return ""


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _create_private(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = folder.lstat()
    except OSError as error:
        raise EngineError(
            f"{folder} cannot be created: {error.strerror}; set engine.work_dir to a folder that you may write."
        ) from error
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid() or info.st_mode & 0o077:
        raise EngineError(f"{folder} is not private to this user; remove it, or set engine.work_dir to another folder.")
