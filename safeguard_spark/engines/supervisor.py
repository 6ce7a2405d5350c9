"""Starts one server, watches it, and ends its whole process tree when it should: `python -m ….supervisor SERVER_ID`.

A detached process (forked away from the Python worker, which may end long before the server should) that stays in the
Spark daemon's process group, so that the hang-up Spark sends there reaches it. It ends the tree when

- the server's process ended (when another of its processes ends, the server ends itself),
- the owner, Spark's Python daemon, ended,
- no task touched the lease for `idle_s`,
- a task recorded its end: it waited too long for the start, and there was no server yet that it could have ended,
- it receives SIGTERM, SIGINT or SIGHUP.

SIGKILL leaves it no time, so it has a watchdog: a forked copy that waits on a pipe only this process holds open, and
ends the tree when the pipe closes. If the watchdog dies, it is forked again. Standard library and psutil only.
"""

import contextlib
import ctypes
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from safeguard_spark.engines.processes import ProcessId, descendants, end_tree
from safeguard_spark.engines.server_folder import IDLE, Phase, ServerFolder, ServerState
from safeguard_spark.engines.timings import Timings

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
DISMISSED = b"."  # what the watchdog reads when it is not needed any more


@dataclass(frozen=True)
class SupervisorSpec:
    """What a supervisor reads on its standard input, pickled: the server to start, and when to end it."""

    state: ServerState
    command: list[str]
    env: dict[str, str]
    folder: Path
    idle_s: float
    timings: Timings


class Supervisor:
    """Watches one server."""

    def __init__(self, spec: SupervisorSpec) -> None:
        self.spec, self.server_id, self.timings = spec, spec.state.server_id, spec.timings
        self.folder = ServerFolder(spec.folder)
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
        except OSError as error:
            cause = f"could not be started: {error}"
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

        self.folder.sockets.mkdir(exist_ok=True)  # an earlier server's end may have deleted it a moment ago
        with self.folder.log.open("ab") as log:
            server = subprocess.Popen(
                self.spec.command, env=self.spec.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=before_exec,
            )  # fmt: skip
        self.server = server.pid
        server.returncode = 0  # `_reap` collects it, with all other children
        self.folder.write(replace(self.spec.state, supervisor=ProcessId.of(supervisor), server_pid=server.pid))

    def _watch(self) -> str:
        """Wait until there is a reason to end the server, and return it."""
        lease_ns, renewed = -1, time.monotonic()
        while True:
            self._reap()
            if self.server in self.exit_codes:
                return f"the server ended with exit code {self.exit_codes[self.server]}"
            if self._signal is not None:
                return f"received {signal.Signals(self._signal).name}"
            if not self.spec.state.owner.is_alive():
                return "its executor ended"
            if self.folder.end_cause(self.spec.state) or self.folder.is_replaced(self.server_id):
                return "it was ended before it had started"
            # A change of the file's time counts, not the time itself: clocks are set.
            if (now_ns := self.folder.touched_ns("lease")) != lease_ns:
                lease_ns, renewed = now_ns, time.monotonic()
            if time.monotonic() - renewed > self.spec.idle_s:
                return IDLE
            if self._watchdog in self.exit_codes:
                self._fork_watchdog()
            self.folder.cut_log()
            time.sleep(self.timings.supervise_s)

    def _end(self, cause: str) -> None:
        tracked = [process for process in descendants(os.getpid()) if process.pid != self._watchdog]
        end_tree(self.server_id, tracked, between=self._reap, timings=self.timings)
        with contextlib.suppress(OSError):
            os.write(self._pipe, DISMISSED)
        self.folder.record_end(self.server_id, cause)

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
                self.folder.record_end(self.server_id, "its supervisor was killed")
        finally:
            os._exit(0)

    def _reap(self) -> None:
        """Collect ended children, including those inherited from a parent that died."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                self.exit_codes[ended[0]] = os.waitstatus_to_exitcode(ended[1])


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def main() -> None:
    """Read the spec from standard input, detach from the process that started this one, and supervise."""
    os.umask(0o077)
    spec: SupervisorSpec = pickle.load(sys.stdin.buffer)
    if os.fork():
        os._exit(0)
    folder = ServerFolder(spec.folder)
    state = folder.state()
    if state == spec.state and folder.phase(state) is Phase.launching:  # else it is too late
        Supervisor(spec).run()


if __name__ == "__main__":
    main()
