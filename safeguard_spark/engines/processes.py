"""The processes of a server: which are alive, which belong to it, how to end all of them, and their priority.

Standard library and psutil only: the supervisor imports this and must start fast.
"""

import contextlib
import ctypes
import os
import platform
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import psutil

from safeguard_spark.engines.timings import DEFAULT_TIMINGS, Timings

SERVER_ID_VARIABLE = "SAFEGUARD_SERVER_ID"  # environment variable of every process of a server
SLICE_NS = 100_000
SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}  # the system call's number; the C library has no wrapper

T = TypeVar("T")
_normal_priority: ThreadPoolExecutor


def _create_pool() -> None:
    global _normal_priority
    _normal_priority = ThreadPoolExecutor(1, "normal-priority")


_create_pool()
# Threads do not survive a fork: without a new pool, `submit` would hang in the child.
os.register_at_fork(after_in_child=_create_pool)


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


def is_alive(pid: int, started: str) -> bool:
    """Whether this process is still alive; its pid may have been reused by another."""
    return start_time(pid) == started


def lower_priority(pid: int, niceness: int) -> None:
    """Lower the priority of a process's main thread, and have it yield its core at once.

    Threads and processes that it started earlier keep their priority. Does nothing if the system does not support it.
    """
    with contextlib.suppress(OSError):
        if niceness > os.getpriority(os.PRIO_PROCESS, pid):
            os.setpriority(os.PRIO_PROCESS, pid, niceness)
            _yield_soon(pid, niceness)


def lower_own_priority(niceness: int) -> None:
    """Lower the priority of this thread and of all it starts later, except work run with `at_normal_priority`."""
    at_normal_priority(int)  # starts the pool's thread now, at the priority that this one still has
    lower_priority(threading.get_native_id(), niceness)


def at_normal_priority(call: Callable[[], T]) -> T:
    """Run `call` in a thread of normal priority, and return its result.

    A process inherits the priority of the thread that starts it, and only root can raise it again.
    """
    return _normal_priority.submit(call).result()


def _yield_soon(pid: int, niceness: int) -> None:
    """Set batch scheduling with a slice of 0.1 ms. A thread keeps its core for one slice (3 ms by default), even if one
    of higher priority wakes up (Linux from 6.12, see sched_setattr(2); older versions ignore the slice)."""
    number = SCHED_SETATTR.get(platform.machine())
    if sys.platform == "linux" and number is not None:
        # struct sched_attr: size, policy, flags, nice, priority, runtime, deadline, period, utilization bounds
        attributes = struct.pack("=IIQiIQQQII", 56, os.SCHED_BATCH, 0, niceness, 0, SLICE_NS, 0, 0, 0, 0)
        ctypes.CDLL(None).syscall(number, pid, attributes, 0)


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
