"""Starts one engine server, guards it, and ends its whole tree when it should: `python -m ….supervisor UUID`.

A detached process (forked away from the Python worker, which may end long before the server should) that stays in the
Spark daemon's process group, so that the hang-up Spark sends there reaches it. It ends the tree when

- the server's process ended (another of its processes ending ends that one),
- the owner, Spark's Python daemon, is gone,
- nobody touched the lease for `idle_s`,
- it is told to by SIGTERM, SIGINT or SIGHUP.

SIGKILL leaves it no time, so it has a watchdog: a forked copy that waits on a pipe only this process holds open, and
ends the tree when the pipe closes. If the watchdog dies, it is forked again. Standard library and psutil only.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from safeguard_spark.engines.processes import descendants, end_tree, is_alive, start_time

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
POLL_S = 0.5
LOG_BYTES, LOG_KEPT = 16 << 20, 1 << 20  # the log is cut to its last part when it grows past this
IDLE = "nobody used it"  # the one end that is nobody's fault
FAREWELL = b"."  # what the watchdog reads when it is not needed any more


class Supervisor:
    """One server's guard. `spec`: server_id, command, env, folder, sockets, owner, owner_started, idle_s, facts."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.server_id: str = spec["server_id"]
        self.folder, self.sockets = Path(spec["folder"]), Path(spec["sockets"])
        self.server = 0
        self.ended: dict[int, int] = {}  # exit codes of children, by pid
        self._told: int | None = None
        self._watchdog = 0
        self._line = 0

    def run(self) -> None:
        """Start the server, guard it, end it."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._tell)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        _prctl(PR_SET_CHILD_SUBREAPER, 1)
        cause = "could not be started"
        try:
            self._fork_watchdog()
            self._start()
            cause = self._guard()
        finally:
            self._end(cause)

    def _tell(self, number: int, _frame: FrameType | None) -> None:
        self._told = number

    def _start(self) -> None:
        mine = os.getpid()

        def before_exec() -> None:
            # Only a hint: if the supervisor and its watchdog go at once, the server at least hears of it.
            _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != mine:
                os._exit(1)

        self.sockets.mkdir(exist_ok=True)  # an earlier server's end may just have taken it away
        with (self.folder / "log").open("ab") as log:
            server = subprocess.Popen(
                self.spec["command"], env=self.spec["env"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=before_exec,
            )  # fmt: skip
        self.server = server.pid
        server.returncode = 0  # collected in `_reap`, with everything else
        write_json(self.folder / "state.json", {
            **self.spec["facts"],
            "server_id": self.server_id,
            "supervisor": mine,
            "supervisor_started": start_time(mine),
            "server": self.server,
        })  # fmt: skip

    def _guard(self) -> str:
        """Watch until there is a reason to end, and return it."""
        lease, touched, seen = self.folder / "lease", -1, time.monotonic()
        while True:
            self._reap()
            if self.server in self.ended:
                return f"the server ended with exit code {self.ended[self.server]}"
            if self._told is not None:
                return f"told by {signal.Signals(self._told).name}"
            if not is_alive(self.spec["owner"], self.spec["owner_started"]):
                return "its executor is gone"
            with contextlib.suppress(FileNotFoundError):
                # The change of the time counts, not the time itself: clocks are set.
                if (now := lease.stat().st_mtime_ns) != touched:
                    touched, seen = now, time.monotonic()
            if time.monotonic() - seen > self.spec["idle_s"]:
                return IDLE
            if self._watchdog in self.ended:
                self._fork_watchdog()
            self._cut_log()
            time.sleep(POLL_S)

    def _end(self, cause: str) -> None:
        end_tree(self.server_id, [*descendants_but(os.getpid(), self._watchdog)], between=self._reap)
        with contextlib.suppress(OSError):
            os.write(self._line, FAREWELL)
        clean(self.folder, self.sockets, self.server_id, cause)

    def _fork_watchdog(self) -> None:
        if self._line:
            os.close(self._line)
        read, self._line = os.pipe()
        self._watchdog = os.fork()
        self.ended.pop(self._watchdog, None)  # of an earlier process with that number
        if self._watchdog == 0:
            os.close(self._line)
            _run_watchdog(read, self.server_id, self.folder, self.sockets)
        os.close(read)

    def _reap(self) -> None:
        """Collect ended children, those that came to this process when their parent died included."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                self.ended[ended[0]] = os.waitstatus_to_exitcode(ended[1])

    def _cut_log(self) -> None:
        log = self.folder / "log"
        with contextlib.suppress(OSError):
            if log.stat().st_size > LOG_BYTES:
                with log.open("r+b") as file:
                    file.seek(-LOG_KEPT, os.SEEK_END)
                    (self.folder / "log.old").write_bytes(file.read())
                    file.truncate(0)  # the server appends, so it goes on at the new end


def _run_watchdog(line: int, server_id: str, folder: Path, sockets: Path) -> None:
    """Wait for the supervisor's end, then end what it left. Never returns."""
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if os.read(line, 1) != FAREWELL:
            end_tree(server_id)
            clean(folder, sockets, server_id, "its supervisor was killed")
    finally:
        os._exit(0)


def clean(folder: Path, sockets: Path, server_id: str, cause: str) -> None:
    """Take the sockets and their own folder away and write down why `engine` ended, unless a newer one lives there."""
    if _is_succeeded(folder, server_id):
        return
    with contextlib.suppress(OSError):  # somebody may clear the temporary folder
        for entry in sockets.iterdir():
            if entry.is_socket():
                entry.unlink(missing_ok=True)
        if sockets != folder and not _is_succeeded(folder, server_id):
            sockets.rmdir()  # one that is not empty stays
    # Last: who sees it may start another server here.
    with contextlib.suppress(OSError):
        if read_json(folder / "ended.json").get("server_id") != server_id:
            write_json(folder / "ended.json", {"server_id": server_id, "cause": cause})


def _is_succeeded(folder: Path, server_id: str) -> bool:
    return bool(read_json(folder / "state.json").get("server_id", server_id) != server_id)


def descendants_but(pid: int, watchdog: int) -> list[Any]:
    """Descendants of a process without its watchdog."""
    return [process for process in descendants(pid) if process.pid != watchdog]


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Replace a file at once."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(value), encoding="utf-8")
    draft.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """A file's object; empty if there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def main() -> None:
    """Read the spec from standard input, leave the starting process, and guard."""
    os.umask(0o077)
    spec = json.load(sys.stdin)
    if os.fork():
        os._exit(0)
    if read_json(Path(spec["folder"]) / "state.json").get("server_id") == spec["server_id"]:  # else it came too late
        Supervisor(spec).run()


if __name__ == "__main__":
    main()
