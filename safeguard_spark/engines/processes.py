"""The processes of a server: which are alive, which belong to it, how to end all of them, and their priority.

Standard library and psutil only: the supervisor imports this and must start fast.
"""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import psutil

from safeguard_spark.engines.timings import DEFAULT_TIMINGS, Timings

SERVER_ID_VARIABLE = "SAFEGUARD_SERVER_ID"  # environment variable of every process of a server


class ProcessId(NamedTuple):
    """A process. The pid alone does not identify it: another process may have it later."""

    pid: int
    start_ticks: str  # as `start_time` gives it

    @classmethod
    def of(cls, pid: int) -> "ProcessId":
        """The process that has this pid now; if there is none, one that is not alive."""
        return cls(pid, start_time(pid) or "0")

    def is_alive(self) -> bool:
        """Whether this process is still alive, and no zombie."""
        return start_time(self.pid) == self.start_ticks

    def end(self, timeout_s: float) -> None:
        """End the process: with SIGTERM, after `timeout_s` with SIGKILL. Blocks until it has ended."""
        deadline = time.monotonic() + timeout_s
        with contextlib.suppress(ProcessLookupError):
            if self.is_alive():
                os.kill(self.pid, signal.SIGTERM)
            while self.is_alive():
                if time.monotonic() > deadline:
                    os.kill(self.pid, signal.SIGKILL)
                time.sleep(0.1)


def machine_id() -> str:
    """Where this process's pid is valid: the machine's name, its boot id and the pid namespace.

    The name alone is not enough: many machines are called `localhost`, and a container may have its host's name.
    """
    names = [socket.gethostname()]
    with contextlib.suppress(OSError):  # only Linux has these
        names.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        names.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(names)


def start_time(pid: int) -> str | None:
    """When a process started, in the kernel's own units; None if no such process is alive.

    On Linux in clock ticks since boot: psutil's wall-clock time changes when the clock is set.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
        return _portable_start_time(pid)
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may contain anything
    return None if fields[0] in "ZX" else fields[19]


def _portable_start_time(pid: int) -> str | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else str(int(process.create_time() * 100))
    except psutil.Error:
        return None


def lower_priority(pid: int, niceness: int) -> None:
    """Lower the priority of a process's main thread, or of one thread by its native id.

    What it starts later inherits the priority, and only root can raise it again; what it started earlier keeps its own.
    """
    with contextlib.suppress(OSError):
        if niceness > os.getpriority(os.PRIO_PROCESS, pid):
            os.setpriority(os.PRIO_PROCESS, pid, niceness)


def server_processes(server_id: str) -> list[psutil.Process]:
    """Living processes of this user that belong to a server by their environment, except this one."""
    processes = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(SERVER_ID_VARIABLE) == server_id:
                processes.append(process)
    return processes


def descendants(pid: int) -> list[psutil.Process]:
    """Children of a process, and their children; empty if the process has ended."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def end_tree(
    server_id: str,
    tracked: Iterable[psutil.Process] = (),
    *,
    between: Callable[[], object] | None = None,
    hung: bool = False,
    timings: Timings = DEFAULT_TIMINGS,
) -> bool:
    """End every process of a server, first with SIGTERM and then with SIGKILL; True if none is left.

    `tracked` are processes known to belong to it, in case one hides its environment. `between` is called while
    waiting: the supervisor collects its ended children there. A server that is `hung` gets no time to end by itself.
    """
    grace_s = 0.0 if hung else timings.grace_s
    started = time.monotonic()
    terminated: set[psutil.Process] = set()
    while True:
        remaining = {process for process in (*tracked, *server_processes(server_id)) if _is_living(process)}
        spent_s = time.monotonic() - started
        if not remaining or spent_s > timings.end_s:
            return not remaining
        for process in remaining - terminated:
            _send(process, signal.SIGTERM)
        terminated |= remaining
        if spent_s >= grace_s:
            # Python's resource tracker ignores SIGTERM and ends by itself after the others. Killed before that, it
            # leaves their shared memory behind.
            others = {process for process in remaining if not _is_tracker(process)}
            for process in others or (remaining if spent_s > grace_s + timings.grace_s else ()):
                _send(process, signal.SIGKILL)
        if between:
            between()
        time.sleep(0.1)


def _send(process: psutil.Process, number: int) -> None:
    with contextlib.suppress(psutil.Error):
        process.send_signal(number)


def _is_tracker(process: psutil.Process) -> bool:
    try:
        return any("resource_tracker" in word for word in process.cmdline())
    except psutil.Error:
        return False


def _is_living(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
