"""The supervisor: whatever is killed, nothing of the server is left. Real processes that sleep instead of vLLM."""

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
from pathlib import Path
from typing import Any

import psutil
import pytest

from safeguard_spark.engines.processes import end_tree, is_alive, server_processes, start_time
from safeguard_spark.engines.supervisor import IDLE, clean, read_json, write_json

pytestmark = pytest.mark.unit
GONE_S = 30.0

# A server and its engine core, which do not notice each other's end and ignore a polite request if told so.
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


class Guarded:
    """A supervised server, its owner a process of ours."""

    def __init__(self, folder: Path, manners: str = "polite", idle_s: float = 600.0) -> None:
        self.folder, self.engine = folder, str(uuid.uuid4())
        self.owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (folder / "lease").touch()
        write_json(folder / "state.json", {"server_id": self.engine})
        spec = {
            "server_id": self.engine,
            "command": [sys.executable, "-c", SERVER, str(folder / "s"), manners],
            "env": {**os.environ, "SAFEGUARD_SERVER_ID": self.engine},
            "folder": str(folder),
            "sockets": str(folder),
            "owner": self.owner.pid,
            "owner_started": start_time(self.owner.pid),
            "idle_s": idle_s,
            "facts": {"run_id": "r"},
        }
        start = [sys.executable, "-m", "safeguard_spark.engines.supervisor", self.engine]
        subprocess.run(start, input=json.dumps(spec).encode(), check=True)
        until(lambda: len(server_processes(self.engine)) == 2)

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
        return next(process.pid for process in server_processes(self.engine) if process.pid != self.server)

    @property
    def twin(self) -> int:
        """The supervisor's child that is not the server's."""
        children = psutil.Process(self.supervisor).children()
        return next(child.pid for child in children if child.pid not in (self.server, self.core))

    @property
    def is_gone(self) -> bool:
        return not server_processes(self.engine) and not (self.folder / "s").exists()

    def cause(self) -> str:
        return str(read_json(self.folder / "ended.json").get("cause"))

    def await_gone(self) -> None:
        until(lambda: self.is_gone and bool(read_json(self.folder / "ended.json")), GONE_S)
        until(lambda: start_time(self.supervisor) != self.state["supervisor_started"], GONE_S)


def until(holds: Callable[[], bool], timeout_s: float = 20.0) -> None:
    ends = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < ends, "did not come true in time"
        time.sleep(0.05)


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[Callable[..., Guarded]]:
    made: list[Guarded] = []

    def make(*args: Any, **given: Any) -> Guarded:
        made.append(Guarded(tmp_path, *args, **given))
        return made[-1]

    yield make
    for guarded in made:
        guarded.owner.kill()
        guarded.owner.wait()
        guarded.await_gone()


def test_the_owner_killed_ends_the_tree(guard: Callable[..., Guarded]) -> None:
    guarded = guard()
    guarded.owner.kill()
    guarded.owner.wait()
    guarded.await_gone()
    assert guarded.cause() == "its executor is gone"


def test_the_server_killed_ends_the_core(guard: Callable[..., Guarded]) -> None:
    guarded = guard()
    os.kill(guarded.server, signal.SIGKILL)
    guarded.await_gone()
    assert guarded.cause() == "the server ended with exit code -9"


def test_the_supervisor_killed_ends_the_tree(guard: Callable[..., Guarded]) -> None:
    guarded = guard()
    os.kill(guarded.supervisor, signal.SIGKILL)
    guarded.await_gone()
    assert guarded.cause() == "its supervisor was killed"


def test_a_killed_twin_is_replaced_and_the_server_lives_on(guard: Callable[..., Guarded]) -> None:
    guarded = guard()
    first = guarded.twin
    os.kill(first, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(first))
    until(lambda: guarded.twin != first)
    assert len(server_processes(guarded.engine)) == 2
    os.kill(guarded.supervisor, signal.SIGKILL)
    guarded.await_gone()


def test_supervisor_and_twin_killed_at_once_still_tell_the_server(guard: Callable[..., Guarded]) -> None:
    guarded = guard()
    server, core = guarded.server, guarded.core
    for pid in (guarded.twin, guarded.supervisor):
        os.kill(pid, signal.SIGKILL)
    until(lambda: start_time(server) is None)
    # Nothing is left to end a core that does not look after itself; the next task on this executor finds it.
    assert end_tree(guarded.engine)
    assert start_time(core) is None
    (guarded.folder / "s").unlink()
    write_json(guarded.folder / "ended.json", {"server_id": guarded.engine, "cause": "test"})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_told_supervisor_ends_the_tree(guard: Callable[..., Guarded], number: signal.Signals) -> None:
    guarded = guard()
    os.kill(guarded.supervisor, number)
    guarded.await_gone()
    assert guarded.cause() == f"told by {number.name}"


def test_processes_that_ignore_a_polite_request_are_killed(guard: Callable[..., Guarded]) -> None:
    guarded = guard("deaf")
    guarded.owner.kill()
    guarded.owner.wait()
    guarded.await_gone()


def test_deaf_processes_are_killed_by_the_twin_as_well(guard: Callable[..., Guarded]) -> None:
    guarded = guard("deaf")
    os.kill(guarded.supervisor, signal.SIGKILL)
    guarded.await_gone()


def test_nobody_touching_the_lease_ends_the_tree_and_touching_it_does_not(guard: Callable[..., Guarded]) -> None:
    guarded = guard(idle_s=1.5)
    for _ in range(12):
        (guarded.folder / "lease").touch()
        time.sleep(0.25)
    assert not guarded.is_gone
    guarded.await_gone()
    assert guarded.cause() == IDLE


def test_a_lease_counts_as_touched_when_its_time_changes_whatever_the_clock_says(guard: Callable[..., Guarded]) -> None:
    guarded = guard(idle_s=1.5)
    for number in range(12):
        at = 2e9 - 1e8 * number  # a clock that runs backwards
        os.utime(guarded.folder / "lease", (at, at))
        time.sleep(0.25)
    assert not guarded.is_gone


def test_the_log_is_cut_when_it_grows(guard: Callable[..., Guarded]) -> None:
    guarded = guard()
    log = guarded.folder / "log"
    with log.open("ab") as file:
        for _ in range(18):
            file.write(b"x" * (1 << 20))
    until(lambda: log.stat().st_size < 1 << 20)
    assert (guarded.folder / "log.old").stat().st_size <= 1 << 20


def test_a_command_that_cannot_run_is_written_down(tmp_path: Path, guard: Callable[..., Guarded]) -> None:
    engine = str(uuid.uuid4())
    write_json(tmp_path / "state.json", {"server_id": engine})
    spec = {
        "server_id": engine, "command": ["/no/such/python"], "env": {}, "folder": str(tmp_path),
        "sockets": str(tmp_path),
        "owner": os.getpid(), "owner_started": start_time(os.getpid()), "idle_s": 60, "facts": {},
    }  # fmt: skip
    with (tmp_path / "log").open("wb") as log:
        start = [sys.executable, "-m", "safeguard_spark.engines.supervisor"]
        subprocess.run(start, input=json.dumps(spec).encode(), check=True, stderr=log)
        until(lambda: bool(read_json(tmp_path / "ended.json")))
    assert "/no/such/python" in (tmp_path / "log").read_text()


def test_one_that_comes_too_late_does_not_start(tmp_path: Path) -> None:
    write_json(tmp_path / "state.json", {"server_id": "a newer one"})
    marker = tmp_path / "started"
    spec = {
        "server_id": "old", "command": ["/bin/sh", "-c", f"touch '{marker}'; sleep 60"], "env": {},
        "folder": str(tmp_path), "sockets": str(tmp_path), "owner": os.getpid(),
        "owner_started": start_time(os.getpid()),
        "idle_s": 60, "facts": {},
    }  # fmt: skip
    start = [sys.executable, "-m", "safeguard_spark.engines.supervisor"]
    subprocess.run(start, input=json.dumps(spec).encode(), check=True)
    time.sleep(1.0)
    assert not marker.exists()
    assert read_json(tmp_path / "state.json") == {"server_id": "a newer one"}


def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    born = start_time(child.pid)
    until(lambda: start_time(child.pid) is None)
    assert not is_alive(child.pid, born or "?")
    child.wait()


def test_sockets_of_a_newer_server_are_left_alone(tmp_path: Path) -> None:
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as line:
        line.bind(str(tmp_path / "s"))
        write_json(tmp_path / "state.json", {"server_id": "new"})
        clean(tmp_path, tmp_path, "old", "killed")
        assert (tmp_path / "s").exists() and not (tmp_path / "ended.json").exists()
        clean(tmp_path, tmp_path, "new", "killed")
        assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("engine", ["mine", "a newer one"])
def test_the_sockets_own_folder_goes_with_the_last_socket_unless_a_newer_server_has_it(
    tmp_path: Path, engine: str
) -> None:
    state, sockets = tmp_path / "state", tmp_path / "sockets"
    state.mkdir()
    sockets.mkdir()
    write_json(state / "state.json", {"server_id": engine})
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as line:
        line.bind(str(sockets / "s"))
    clean(state, sockets, "mine", "killed")
    clean(state, sockets, "mine", "killed again")  # by the twin, or by who waits for the end
    assert sockets.exists() == (engine != "mine")
    assert read_json(state / "ended.json").get("cause") == (None if sockets.exists() else "killed")


def test_a_sockets_folder_with_something_else_in_it_stays(tmp_path: Path) -> None:
    state, sockets = tmp_path / "state", tmp_path / "sockets"
    state.mkdir()
    sockets.mkdir()
    (sockets / "note").touch()
    clean(state, sockets, "mine", "killed")
    assert (sockets / "note").exists() and read_json(state / "ended.json")["cause"] == "killed"


def test_an_end_is_written_down_where_the_sockets_are_gone_already(tmp_path: Path) -> None:
    clean(tmp_path, tmp_path / "gone", "mine", "killed")
    assert read_json(tmp_path / "ended.json") == {"server_id": "mine", "cause": "killed"}
