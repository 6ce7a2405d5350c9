"""Starts one server, watches it, and ends its whole process tree when it should: `python -m ….supervisor SERVER_ID`.

A detached process (forked away from the Python worker, which may end long before the server should) that stays in the
Spark daemon's process group, so that the hang-up Spark sends there reaches it. It ends the tree when

- the server's process ended (when another of its processes ends, the server ends itself),
- the owner, Spark's Python daemon, ended,
- no task touched the lease for `idle_s`,
- it receives SIGTERM, SIGINT or SIGHUP.

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
from safeguard_spark.engines.timings import Timings

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
LOG_BYTES, LOG_KEPT = 16 << 20, 1 << 20  # the log is cut to its last part when it grows past this
IDLE = "no task used it"  # the one end that does not count as a failure
DISMISSED = b"."  # what the watchdog reads when it is not needed any more


class Supervisor:
    """Watches one server.

    `spec`: server_id, command, env, folder, sockets, owner, owner_started, idle_s, facts (for state.json), timings.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.server_id: str = spec["server_id"]
        self.timings = Timings(**spec["timings"])
        self.folder, self.sockets = Path(spec["folder"]), Path(spec["sockets"])
        self.server = 0
        self.exit_codes: dict[int, int] = {}  # of ended children, by pid
        self._signal: int | None = None
        self._watchdog = 0
        self._pipe = 0  # the end that only this process holds

    def run(self) -> None:
        """Start the server, watch it, end it."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._remember_signal)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        _prctl(PR_SET_CHILD_SUBREAPER, 1)
        cause = "could not be started"
        try:
            self._fork_watchdog()
            self._start()
            cause = self._watch()
        finally:
            self._end(cause)

    def _remember_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signal = number

    def _start(self) -> None:
        supervisor = os.getpid()

        def before_exec() -> None:
            # A fallback: if supervisor and watchdog are killed together, the kernel still signals the server.
            _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != supervisor:
                os._exit(1)

        self.sockets.mkdir(exist_ok=True)  # an earlier server's end may have deleted it a moment ago
        with (self.folder / "log").open("ab") as log:
            server = subprocess.Popen(
                self.spec["command"], env=self.spec["env"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=before_exec,
            )  # fmt: skip
        self.server = server.pid
        server.returncode = 0  # `_reap` collects it, with all other children
        write_json(self.folder / "state.json", {
            **self.spec["facts"],
            "server_id": self.server_id,
            "supervisor": supervisor,
            "supervisor_started": start_time(supervisor),
            "server": self.server,
        })  # fmt: skip

    def _watch(self) -> str:
        """Wait until there is a reason to end the server, and return it."""
        lease, lease_ns, renewed = self.folder / "lease", -1, time.monotonic()
        while True:
            self._reap()
            if self.server in self.exit_codes:
                return f"the server ended with exit code {self.exit_codes[self.server]}"
            if self._signal is not None:
                return f"received {signal.Signals(self._signal).name}"
            if not is_alive(self.spec["owner"], self.spec["owner_started"]):
                return "its executor ended"
            with contextlib.suppress(FileNotFoundError):
                # A change of the file's time counts, not the time itself: clocks are set.
                if (now_ns := lease.stat().st_mtime_ns) != lease_ns:
                    lease_ns, renewed = now_ns, time.monotonic()
            if time.monotonic() - renewed > self.spec["idle_s"]:
                return IDLE
            if self._watchdog in self.exit_codes:
                self._fork_watchdog()
            self._cut_log()
            time.sleep(self.timings.supervise_s)

    def _end(self, cause: str) -> None:
        tracked = [process for process in descendants(os.getpid()) if process.pid != self._watchdog]
        end_tree(self.server_id, tracked, between=self._reap, timings=self.timings)
        with contextlib.suppress(OSError):
            os.write(self._pipe, DISMISSED)
        clean(self.folder, self.sockets, self.server_id, cause)

    def _fork_watchdog(self) -> None:
        if self._pipe:
            os.close(self._pipe)
        reader, self._pipe = os.pipe()
        self._watchdog = os.fork()
        self.exit_codes.pop(self._watchdog, None)  # of an earlier process with the same pid
        if self._watchdog == 0:
            os.close(self._pipe)
            self._run_watchdog(reader)
        os.close(reader)

    def _run_watchdog(self, reader: int) -> None:
        """In the watchdog: wait for the supervisor's end, then end what it left. Never returns."""
        try:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            if os.read(reader, 1) != DISMISSED:
                end_tree(self.server_id, timings=self.timings)
                clean(self.folder, self.sockets, self.server_id, "its supervisor was killed")
        finally:
            os._exit(0)

    def _reap(self) -> None:
        """Collect ended children, including those inherited from a parent that died."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                self.exit_codes[ended[0]] = os.waitstatus_to_exitcode(ended[1])

    def _cut_log(self) -> None:
        log = self.folder / "log"
        with contextlib.suppress(OSError):
            if log.stat().st_size > LOG_BYTES:
                with log.open("r+b") as file:
                    file.seek(-LOG_KEPT, os.SEEK_END)
                    (self.folder / "log.old").write_bytes(file.read())
                    file.truncate(0)  # the server appends, so it continues at the new end


def end_supervisor(pid: int, started: str, timeout_s: float) -> None:
    """End a supervisor whose server has ended: with SIGTERM, after `timeout_s` with SIGKILL. Blocks until it ends."""
    deadline = time.monotonic() + timeout_s
    with contextlib.suppress(ProcessLookupError):
        if is_alive(pid, started):
            os.kill(pid, signal.SIGTERM)
        while is_alive(pid, started):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)


def clean(folder: Path, sockets: Path, server_id: str, cause: str) -> None:
    """Delete a server's sockets and their folder, and record why it ended, unless a newer server uses the folder."""
    if _is_replaced(folder, server_id):
        return
    with contextlib.suppress(OSError):  # something else may clear the temporary folder
        for entry in sockets.iterdir():
            if entry.is_socket():
                entry.unlink(missing_ok=True)
        if sockets != folder and not _is_replaced(folder, server_id):
            sockets.rmdir()  # fails if it is not empty
    # Last: a task that reads this may start another server here.
    with contextlib.suppress(OSError):
        if read_json(folder / "ended.json").get("server_id") != server_id:
            write_json(folder / "ended.json", {"server_id": server_id, "cause": cause})


def _is_replaced(folder: Path, server_id: str) -> bool:
    return bool(read_json(folder / "state.json").get("server_id", server_id) != server_id)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Replace a file atomically."""
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
    """Read the spec from standard input, detach from the process that started this one, and supervise."""
    os.umask(0o077)
    spec = json.load(sys.stdin)
    if os.fork():
        os._exit(0)
    if read_json(Path(spec["folder"]) / "state.json").get("server_id") == spec["server_id"]:  # else it is too late
        Supervisor(spec).run()


if __name__ == "__main__":
    main()
