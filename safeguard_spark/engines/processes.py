"""Processes of an engine server: which are alive, which belong to it, and how they are all ended.

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

SERVER_ID_VARIABLE = "SAFEGUARD_SERVER_ID"  # environment variable every process of a server carries: its incarnation
GRACE_S = 4.0  # between SIGTERM and SIGKILL
SLICE_NS = 100_000
SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}  # the system call's number; the C library has no function of it

T = TypeVar("T")
_as_before: ThreadPoolExecutor


def _renew() -> None:
    global _as_before
    _as_before = ThreadPoolExecutor(1, "as-before")


_renew()
os.register_at_fork(after_in_child=_renew)  # threads stay behind: a pool that had one would wait for it for ever


def start_time(pid: int) -> str | None:
    """When a process started, in the kernel's own terms; None if there is no such living process.

    On Linux clock ticks since boot, because psutil's wall-clock time moves when the clock is set.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
        return _portable_start_time(pid)
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return None if fields[0] in "ZX" else fields[19]


def _portable_start_time(pid: int) -> str | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else str(int(process.create_time() * 100))
    except psutil.Error:
        return None


def is_alive(pid: int, started: str) -> bool:
    """Whether that very process still lives; its pid may have been given to another."""
    return start_time(pid) == started


def lower_priority(pid: int, niceness: int) -> None:
    """Let the main thread of a process give way to others: lower its priority, and have it yield a core at once.

    Threads and processes it started before keep theirs. Nothing happens where the system knows no such thing.
    """
    with contextlib.suppress(OSError):
        if niceness > os.getpriority(os.PRIO_PROCESS, pid):
            os.setpriority(os.PRIO_PROCESS, pid, niceness)
            _yield_soon(pid, niceness)


def lower_own_priority(niceness: int) -> None:
    """Let the calling thread give way, and what it starts from now on but for what `at_normal_priority` calls."""
    at_normal_priority(int)  # its thread begins now, as this one is
    lower_priority(threading.get_native_id(), niceness)


def at_normal_priority(call: Callable[[], T]) -> T:
    """What `call` returns in a thread that has not given way.

    A process inherits from the thread that starts it, and only root could undo that.
    """
    return _as_before.submit(call).result()


def _yield_soon(pid: int, niceness: int) -> None:
    """Batch scheduling, and a slice of 0.1 ms: a thread keeps its core for a slice, of 3 ms by default, even if one of
    higher priority wakes up (Linux from 6.12; see sched_setattr(2), where older ones ignore the slice)."""
    number = SCHED_SETATTR.get(platform.machine())
    if sys.platform == "linux" and number is not None:
        # struct sched_attr: size, policy, flags, nice, priority, runtime, deadline, period, utilization's bounds
        asked = struct.pack("=IIQiIQQQII", 56, os.SCHED_BATCH, 0, niceness, 0, SLICE_NS, 0, 0, 0, 0)
        ctypes.CDLL(None).syscall(number, pid, asked, 0)


def server_processes(server_id: str) -> list[psutil.Process]:
    """Living processes of this user that carry the marker of `engine`, this one excepted."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(SERVER_ID_VARIABLE) == server_id:
                found.append(process)
    return found


def descendants(pid: int) -> list[psutil.Process]:
    """Children of a process and theirs; empty if it is gone."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def end_tree(
    server_id: str,
    tracked: Iterable[psutil.Process] = (),
    timeout_s: float = 20.0,
    between: Callable[[], object] | None = None,
    grace_s: float = GRACE_S,
) -> bool:
    """End every process of `engine`, politely and then by force; True if none is left.

    `tracked` are processes known to belong to it, in case one hides its environment. `between` is called while
    waiting: the supervisor collects its ended children there. `grace_s` is how long a polite request may take; none is
    due to a server that hangs.
    """
    begun = time.monotonic()
    told: set[psutil.Process] = set()
    while True:
        left = {process for process in (*tracked, *server_processes(server_id)) if _living(process)}
        spent = time.monotonic() - begun
        if not left or spent > timeout_s:
            return not left
        for process in left - told:
            _send(process, signal.SIGTERM)
        told |= left
        if spent >= grace_s:
            # Python's resource tracker ignores SIGTERM and goes by itself when the others have: killed before that,
            # it leaves their shared memory behind.
            others = {process for process in left if not _is_tracker(process)}
            for process in others or (left if spent > grace_s + GRACE_S else ()):
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


def _living(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
