"""The supervisor: whichever process is killed, nothing of the server is left. Real processes that sleep."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import pytest

from safeguard_spark.engines.processes import SERVER_ID_VARIABLE, end_tree, is_alive, server_processes, start_time
from safeguard_spark.engines.supervisor import IDLE, clean, read_json, write_json
from tests.engine_calls import FAST

pytestmark = pytest.mark.unit
GONE_S = 30.0

# A server and its engine core. They do not notice each other's end, and ignore SIGTERM in the mode `deaf`.
SERVER = """
import os, signal, socket, subprocess, sys, time
core = "import signal, sys, time; CORE = 1; DEAF = sys.argv[1] == 'deaf'\\n"
core += "if DEAF: signal.signal(signal.SIGTERM, signal.SIG_IGN)\\ntime.sleep(600)"
if sys.argv[2] == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()
subprocess.Popen([sys.executable, "-c", core, sys.argv[2]])
time.sleep(600)
"""


class SupervisedServer:
    """A server with its supervisor; its owner is a process of this test."""

    def __init__(self, folder: Path, mode: str = "polite", idle_s: float = 600.0) -> None:
        self.folder, self.server_id = folder, str(uuid.uuid4())
        self.owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (folder / "lease").touch()
        write_json(folder / "state.json", {"server_id": self.server_id})
        spec = {
            "server_id": self.server_id,
            "command": [sys.executable, "-c", SERVER, str(folder / "s"), mode],
            "env": {**os.environ, SERVER_ID_VARIABLE: self.server_id},
            "folder": str(folder),
            "sockets": str(folder),
            "owner": self.owner.pid,
            "owner_started": start_time(self.owner.pid),
            "idle_s": idle_s,
            "facts": {"run_id": "r"},
            "timings": asdict(FAST),
        }
        command = [sys.executable, "-m", "safeguard_spark.engines.supervisor", self.server_id]
        subprocess.run(command, input=json.dumps(spec).encode(), check=True)
        until(lambda: len(server_processes(self.server_id)) == 2)

    @property
    def state(self) -> dict[str, Any]:
        return read_json(self.folder / "state.json")

    @property
    def supervisor(self) -> int:
        return int(self.state["supervisor"])

    @property
    def server(self) -> int:
        return int(self.state["server"])

    @property
    def core(self) -> int:
        return next(process.pid for process in server_processes(self.server_id) if process.pid != self.server)

    @property
    def watchdog(self) -> int:
        """The supervisor's child that is not the server's."""
        children = psutil.Process(self.supervisor).children()
        return next(child.pid for child in children if child.pid not in (self.server, self.core))

    @property
    def is_gone(self) -> bool:
        return not server_processes(self.server_id) and not (self.folder / "s").exists()

    def cause(self) -> str:
        return str(read_json(self.folder / "ended.json").get("cause"))

    def await_gone(self) -> None:
        until(lambda: self.is_gone and bool(read_json(self.folder / "ended.json")), GONE_S)
        until(lambda: start_time(self.supervisor) != self.state["supervisor_started"], GONE_S)


Start = Callable[..., SupervisedServer]


def until(holds: Callable[[], bool], timeout_s: float = 20.0) -> None:
    ends = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < ends, "the condition did not become true in time"
        time.sleep(0.05)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    servers: list[SupervisedServer] = []

    def make(*args: Any, **settings: Any) -> SupervisedServer:
        servers.append(SupervisedServer(tmp_path, *args, **settings))
        return servers[-1]

    yield make
    for supervised in servers:
        supervised.owner.kill()
        supervised.owner.wait()
        supervised.await_gone()


def test_the_owner_killed_ends_the_tree(start: Start) -> None:
    supervised = start()
    supervised.owner.kill()
    supervised.owner.wait()
    supervised.await_gone()
    assert supervised.cause() == "its executor ended"


def test_the_server_killed_ends_the_core(start: Start) -> None:
    supervised = start()
    os.kill(supervised.server, signal.SIGKILL)
    supervised.await_gone()
    assert supervised.cause() == "the server ended with exit code -9"


def test_the_supervisor_killed_ends_the_tree(start: Start) -> None:
    supervised = start()
    os.kill(supervised.supervisor, signal.SIGKILL)
    supervised.await_gone()
    assert supervised.cause() == "its supervisor was killed"


def test_a_killed_watchdog_is_replaced_and_the_server_lives_on(start: Start) -> None:
    supervised = start()
    first = supervised.watchdog
    os.kill(first, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(first))
    until(lambda: supervised.watchdog != first)
    assert len(server_processes(supervised.server_id)) == 2
    os.kill(supervised.supervisor, signal.SIGKILL)
    supervised.await_gone()


def test_supervisor_and_watchdog_killed_at_once_still_end_the_server(start: Start) -> None:
    supervised = start()
    server, core = supervised.server, supervised.core
    for pid in (supervised.watchdog, supervised.supervisor):
        os.kill(pid, signal.SIGKILL)
    until(lambda: start_time(server) is None)
    # Nothing is left to end a core that does not end by itself; the next task on this executor ends it.
    assert end_tree(supervised.server_id)
    assert start_time(core) is None
    (supervised.folder / "s").unlink()
    write_json(supervised.folder / "ended.json", {"server_id": supervised.server_id, "cause": "test"})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_to_the_supervisor_ends_the_tree(start: Start, number: signal.Signals) -> None:
    supervised = start()
    os.kill(supervised.supervisor, number)
    supervised.await_gone()
    assert supervised.cause() == f"received {number.name}"


def test_processes_that_ignore_sigterm_are_killed(start: Start) -> None:
    supervised = start("deaf")
    supervised.owner.kill()
    supervised.owner.wait()
    supervised.await_gone()


def test_processes_that_ignore_sigterm_are_killed_by_the_watchdog_as_well(
    start: Start,
) -> None:
    supervised = start("deaf")
    os.kill(supervised.supervisor, signal.SIGKILL)
    supervised.await_gone()


def test_a_lease_that_is_not_touched_ends_the_tree_and_touching_it_keeps_it(
    start: Start,
) -> None:
    supervised = start(idle_s=0.8)
    for _ in range(12):
        (supervised.folder / "lease").touch()
        time.sleep(0.1)
    assert not supervised.is_gone
    supervised.await_gone()
    assert supervised.cause() == IDLE


def test_a_lease_counts_as_touched_when_its_time_changes_even_if_the_clock_goes_back(
    start: Start,
) -> None:
    supervised = start(idle_s=0.8)
    for number in range(12):
        at = 2e9 - 1e8 * number  # a clock that runs backwards
        os.utime(supervised.folder / "lease", (at, at))
        time.sleep(0.1)
    assert not supervised.is_gone


def test_the_log_is_cut_when_it_grows(start: Start) -> None:
    supervised = start()
    log = supervised.folder / "log"
    with log.open("ab") as file:
        for _ in range(18):
            file.write(b"x" * (1 << 20))
    until(lambda: log.stat().st_size < 1 << 20)
    assert (supervised.folder / "log.old").stat().st_size <= 1 << 20


def test_a_command_that_cannot_run_is_recorded(tmp_path: Path, start: Start) -> None:
    server_id = str(uuid.uuid4())
    write_json(tmp_path / "state.json", {"server_id": server_id})
    spec = {
        "server_id": server_id, "command": ["/no/such/python"], "env": {}, "folder": str(tmp_path),
        "sockets": str(tmp_path), "owner": os.getpid(), "owner_started": start_time(os.getpid()), "idle_s": 60,
        "facts": {}, "timings": asdict(FAST),
    }  # fmt: skip
    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, "-m", "safeguard_spark.engines.supervisor"]
        subprocess.run(command, input=json.dumps(spec).encode(), check=True, stderr=log)
        until(lambda: bool(read_json(tmp_path / "ended.json")))
    assert "/no/such/python" in (tmp_path / "log").read_text()


def test_a_supervisor_that_is_too_late_does_not_start_its_server(tmp_path: Path) -> None:
    write_json(tmp_path / "state.json", {"server_id": "a newer one"})
    marker = tmp_path / "started"
    spec = {
        "server_id": "old", "command": ["/bin/sh", "-c", f"touch '{marker}'; sleep 60"], "env": {},
        "folder": str(tmp_path), "sockets": str(tmp_path), "owner": os.getpid(),
        "owner_started": start_time(os.getpid()),
        "idle_s": 60, "facts": {}, "timings": asdict(FAST),
    }  # fmt: skip
    command = [sys.executable, "-m", "safeguard_spark.engines.supervisor"]
    subprocess.run(command, input=json.dumps(spec).encode(), check=True)
    time.sleep(1.0)
    assert not marker.exists()
    assert read_json(tmp_path / "state.json") == {"server_id": "a newer one"}


def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    started = start_time(child.pid)
    until(lambda: start_time(child.pid) is None)
    assert not is_alive(child.pid, started or "?")
    child.wait()


def test_the_sockets_of_a_newer_server_are_kept(tmp_path: Path) -> None:
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(tmp_path / "s"))
        write_json(tmp_path / "state.json", {"server_id": "new"})
        clean(tmp_path, tmp_path, "old", "killed")
        assert (tmp_path / "s").exists() and not (tmp_path / "ended.json").exists()
        clean(tmp_path, tmp_path, "new", "killed")
        assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("server_id", ["this one", "a newer one"])
def test_the_sockets_folder_is_deleted_with_the_last_socket_unless_a_newer_server_uses_it(
    tmp_path: Path, server_id: str
) -> None:
    state, sockets = tmp_path / "state", tmp_path / "sockets"
    state.mkdir()
    sockets.mkdir()
    write_json(state / "state.json", {"server_id": server_id})
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(sockets / "s"))
    clean(state, sockets, "this one", "killed")
    clean(state, sockets, "this one", "killed again")  # by the watchdog, or by a task that waits for the end
    assert sockets.exists() == (server_id != "this one")
    assert read_json(state / "ended.json").get("cause") == (None if sockets.exists() else "killed")


def test_a_sockets_folder_with_other_files_is_kept(tmp_path: Path) -> None:
    state, sockets = tmp_path / "state", tmp_path / "sockets"
    state.mkdir()
    sockets.mkdir()
    (sockets / "note").touch()
    clean(state, sockets, "this one", "killed")
    assert (sockets / "note").exists() and read_json(state / "ended.json")["cause"] == "killed"


def test_an_end_is_recorded_even_if_the_sockets_are_deleted_already(tmp_path: Path) -> None:
    clean(tmp_path, tmp_path / "deleted", "this one", "killed")
    assert read_json(tmp_path / "ended.json") == {"server_id": "this one", "cause": "killed"}
