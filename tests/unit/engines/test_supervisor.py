"""The supervisor: whichever process is killed, nothing of the server is left. Real processes that sleep."""

import contextlib
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import psutil
import pytest

from safeguard_spark.engines.processes import SERVER_ID_VARIABLE, ProcessId, end_tree, server_processes, start_time
from safeguard_spark.engines.server_folder import IDLE, Phase, ServerEnd, ServerFolder, ServerState
from safeguard_spark.engines.supervisor import SupervisorSpec
from tests.build import until
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
        self.folder, self.path, self.server_id = ServerFolder(folder), folder, str(uuid.uuid4())
        self.owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        self.folder.touch("lease")
        command = [sys.executable, "-c", SERVER, str(self.folder.socket), mode]
        env = {**os.environ, SERVER_ID_VARIABLE: self.server_id}
        spec = spec_of(folder, self.server_id, command, self.owner.pid, env=env, idle_s=idle_s)
        self.folder.write(spec.state)
        assert self.folder.phase(spec.state) is Phase.launching
        supervise(spec)
        until(lambda: len(server_processes(self.server_id)) == 2)
        until(lambda: self.folder.phase(self.folder.state()) is Phase.starting)

    @property
    def state(self) -> ServerState:
        state = self.folder.state()
        assert state is not None
        return state

    @property
    def supervisor(self) -> int:
        assert self.state.supervisor is not None
        return self.state.supervisor.pid

    @property
    def server(self) -> int:
        assert self.state.server_pid is not None
        return self.state.server_pid

    @property
    def core(self) -> int:
        return next(process.pid for process in server_processes(self.server_id) if process.pid != self.server)

    @property
    def watchdog(self) -> int:
        """The supervisor's child that is not the server's; 0 while there is none."""
        children = psutil.Process(self.supervisor).children()
        return next((child.pid for child in children if child.pid not in (self.server, self.core)), 0)

    @property
    def is_gone(self) -> bool:
        return not server_processes(self.server_id) and not self.folder.socket.exists()

    def cause(self) -> str | None:
        return self.folder.end_cause(self.state)

    def await_gone(self) -> None:
        until(lambda: self.is_gone and self.folder.phase(self.state) is Phase.ended, GONE_S)
        until(lambda: self.state.supervisor is None or not self.state.supervisor.is_alive(), GONE_S)


def spec_of(
    folder: Path, server_id: str, command: list[str], owner: int, env: dict[str, str] | None = None, idle_s: float = 60
) -> SupervisorSpec:
    state = ServerState(server_id, "r", ProcessId.of(owner))
    return SupervisorSpec(state, command, env or {}, folder, idle_s, FAST)


def supervise(spec: SupervisorSpec, stderr: IO[bytes] | None = None) -> None:
    command = [sys.executable, "-m", "safeguard_spark.engines.supervisor", spec.state.server_id]
    subprocess.run(command, input=pickle.dumps(spec), check=True, stderr=stderr)


Start = Callable[..., SupervisedServer]


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A short path: with pytest's own, which is longer in each of several processes, the sockets are elsewhere."""
    with tempfile.TemporaryDirectory(prefix="supervisor-") as folder:
        yield Path(folder)


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
    until(lambda: supervised.watchdog not in (0, first))
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
    assert supervised.folder.phase(supervised.state) is Phase.orphaned
    supervised.folder.record_end(supervised.server_id, "test")


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
    supervised = start(idle_s=3.0)
    for _ in range(20):
        supervised.folder.touch("lease")
        time.sleep(0.2)
    assert not supervised.is_gone
    supervised.await_gone()
    assert supervised.cause() == IDLE


def test_a_lease_counts_as_touched_when_its_time_changes_even_if_the_clock_goes_back(
    start: Start,
) -> None:
    supervised = start(idle_s=3.0)
    for number in range(20):
        at = 2e9 - 5e7 * number  # a clock that runs backwards
        os.utime(supervised.path / "lease", (at, at))
        time.sleep(0.2)
    assert not supervised.is_gone


def test_the_log_is_cut_when_it_grows(start: Start) -> None:
    supervised = start()
    log = supervised.folder.log
    with log.open("ab") as file:
        for _ in range(18):
            file.write(b"x" * (1 << 20))
    until(lambda: log.stat().st_size < 1 << 20)
    assert (supervised.path / "log.old").stat().st_size <= 1 << 20


def test_a_command_that_cannot_run_is_recorded(tmp_path: Path) -> None:
    folder = ServerFolder(tmp_path)
    spec = spec_of(tmp_path, str(uuid.uuid4()), ["/no/such/python"], os.getpid())
    folder.write(spec.state)
    with folder.log.open("wb") as log:
        supervise(spec, log)
        until(lambda: folder.phase(spec.state) is Phase.ended)
    assert "/no/such/python" in (folder.end_cause(spec.state) or "")


@pytest.mark.parametrize("is_replaced", [True, False])
def test_a_server_given_up_in_the_moment_in_which_it_is_started_ends(start: Start, is_replaced: bool) -> None:
    supervised = start()
    supervisor, state = supervised.supervisor, supervised.state
    if is_replaced:
        supervised.folder.write(replace(state, server_id="a newer one", supervisor=None, server_pid=None))
    else:
        supervised.folder.record_end(supervised.server_id, "given up")
    until(lambda: not server_processes(supervised.server_id) and not psutil.pid_exists(supervisor), GONE_S)
    supervised.folder.write(state)  # for the end of the fixture
    supervised.folder.record_end(state.server_id, "given up")


@pytest.mark.parametrize("is_replaced", [True, False])
def test_a_supervisor_that_is_too_late_does_not_start_its_server(tmp_path: Path, is_replaced: bool) -> None:
    folder, marker = ServerFolder(tmp_path), tmp_path / "started"
    spec = spec_of(tmp_path, "old", ["/bin/sh", "-c", f"touch '{marker}'; sleep 60"], os.getpid())
    state = replace(spec.state, server_id="a newer one") if is_replaced else spec.state
    folder.write(state)
    if not is_replaced:
        folder.record_end("old", "given up")
    supervise(spec)
    time.sleep(1.0)
    assert not marker.exists()
    assert folder.state() == state


def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    process = ProcessId.of(child.pid)
    until(lambda: start_time(child.pid) is None)
    assert not process.is_alive()
    child.wait()


@pytest.fixture(params=["near", "d" * 120])
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ServerFolder]:
    """A folder with its sockets in it, or too long a path for that."""
    folder = ServerFolder(tmp_path / request.param / "user" / "1-2")
    folder.path.mkdir(parents=True)
    folder.sockets.mkdir(parents=True, exist_ok=True)
    yield folder
    if folder.sockets != folder.path:
        shutil.rmtree(folder.sockets, ignore_errors=True)


def bind(folder: ServerFolder) -> None:
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(folder.socket))


def test_the_sockets_of_a_newer_server_are_kept(folder: ServerFolder) -> None:
    bind(folder)
    folder.write(ServerState("new", "r", ProcessId.of(1)))
    folder.record_end("old", "killed")
    assert folder.socket.exists() and folder.read(ServerEnd) is None


def test_the_sockets_and_a_folder_of_their_own_are_deleted_with_the_server(folder: ServerFolder) -> None:
    bind(folder)
    folder.write(ServerState("this one", "r", ProcessId.of(1)))
    folder.record_end("this one", "killed")
    folder.record_end("this one", "killed again")  # by the watchdog, or by a task that waits for the end
    assert not folder.socket.exists() and folder.sockets.exists() == (folder.sockets == folder.path)
    assert folder.read(ServerEnd) == ServerEnd("this one", "killed")


def test_a_sockets_folder_with_other_files_is_kept(folder: ServerFolder) -> None:
    (folder.sockets / "note").touch()
    folder.record_end("this one", "killed")
    assert (folder.sockets / "note").exists() and folder.read(ServerEnd) is not None


def test_an_end_is_recorded_even_if_the_sockets_are_deleted_already(tmp_path: Path) -> None:
    folder = ServerFolder(tmp_path / ("d" * 120) / tmp_path.name / "server")
    folder.path.mkdir(parents=True)
    assert not folder.sockets.exists()
    folder.record_end("this one", "killed")
    assert folder.read(ServerEnd) == ServerEnd("this one", "killed")
