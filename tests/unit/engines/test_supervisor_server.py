"""One server per executor: started once, shared, brought back, given up. Real processes; a stand-in for vLLM."""

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from safeguard_spark.config.model import EngineConfig, EngineKind
from safeguard_spark.engines import health, paths, server, vllm_host
from safeguard_spark.engines.paths import executor_key
from safeguard_spark.engines.processes import end_tree, lower_own_priority, server_processes, start_time
from safeguard_spark.engines.supervisor import read_json
from safeguard_spark.engines.vllm_host import VllmEngine
from safeguard_spark.errors import ConfigError, EngineError
from tests.faulty_server import FaultyServer, failures, requests, task

pytestmark = pytest.mark.unit
STAND_IN = Path(__file__).parents[2] / "faulty_server.py"


class Executor:
    """An executor: a process whose end its server must not survive, and engines of its tasks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        python = folder / "python"
        python.write_text(f"#!/bin/sh\nexec '{sys.executable}' '{STAND_IN}' \"$@\"\n")
        python.chmod(0o700)
        self.python = str(python)
        self.daemon = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        self.key = f"{self.daemon.pid}-{start_time(self.daemon.pid)}"
        self.made: list[VllmEngine] = []

    def config(self, **given: Any) -> EngineConfig:
        chosen = {"deadline_s": 20.0, "start_deadline_s": 30.0, "work_dir": str(self.folder / "w"), **given}
        return EngineConfig(kind=EngineKind.vllm, model="m", python=self.python, **chosen)

    def engine(self, run: str = "run", window: int = 4, **given: Any) -> VllmEngine:
        self.made.append(VllmEngine(self.config(**given), self.key, [], window, run))
        return self.made[-1]

    def label(self, count: int = 5, run: str = "run", **given: Any) -> frozenset[str]:
        """Label rows in a task of their own; the servers that its run started."""
        with self.engine(run, **given) as engine:
            answers = list(engine.answers(task(), requests(count)))
            assert sorted(answer.key for answer in answers) == list(range(count))
            assert failures(answers) == {None}
            return engine.server_ids

    @property
    def state(self) -> dict[str, Any]:
        return read_json(self.made[-1]._server.folder / "state.json")

    def kill_server(self) -> None:
        os.kill(self.state["server"], signal.SIGKILL)

    def end(self) -> None:
        self.daemon.kill()
        self.daemon.wait()
        for engine in self.made:
            state = read_json(engine._server.folder / "state.json")
            until(lambda known=state: not known or not server_processes(known["server_id"]), 30)  # type: ignore[misc]
            place_ = engine._server.place
            gone = place_.socket if place_.sockets == place_.folder else place_.sockets
            until(lambda path=gone: not path.exists(), 30)  # type: ignore[misc]


def until(holds: Callable[[], bool], timeout_s: float = 20.0) -> None:
    ends = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < ends, "did not come true in time"
        time.sleep(0.05)


@pytest.fixture
def executor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Executor]:
    monkeypatch.setattr("safeguard_spark.engines.failures.BACK_OFF_S", 0.05)
    monkeypatch.setattr(vllm_host, "WATCH_S", 0.2)
    monkeypatch.setattr(health, "PROBE_S", 1.0)
    # A lifetime of its own, in a folder with all that a path may hold.
    folder = tmp_path / "e ü"
    folder.mkdir()
    made = Executor(folder)
    yield made
    made.end()


def test_no_request_starts_no_server(executor: Executor) -> None:
    with executor.engine() as engine:
        assert list(engine.answers(task(), [])) == []
    assert not (executor.folder / "w").exists()


def test_tasks_at_once_share_one_server(executor: Executor) -> None:
    with ThreadPoolExecutor(4) as pool:
        started = list(pool.map(lambda _: executor.label(20), range(4)))
    assert len(frozenset().union(*started)) == 1
    assert len(server_processes(executor.state["server_id"])) == 2  # server and core


@pytest.mark.parametrize("task_gives_way", [False, True])
def test_all_but_the_model_gives_way_if_it_is_told_to(executor: Executor, task_gives_way: bool) -> None:
    mine = os.getpriority(os.PRIO_PROCESS, 0)

    def label() -> int:
        if task_gives_way:
            lower_own_priority(19)
        executor.label(niceness=19)
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    with ThreadPoolExecutor(1) as thread:  # a priority is a thread's own
        assert thread.submit(label).result() == (19 if task_gives_way else mine)
    server = executor.state["server"]
    (core,) = {found.pid for found in server_processes(executor.state["server_id"])} - {server}
    assert os.getpriority(os.PRIO_PROCESS, server) == 19
    assert os.sched_getscheduler(server) == os.SCHED_BATCH
    assert os.getpriority(os.PRIO_PROCESS, core) == mine
    assert os.sched_getscheduler(core) == os.sched_getscheduler(0)


def test_a_later_run_finds_the_server_and_starts_none(executor: Executor) -> None:
    assert len(executor.label(run="first")) == 1
    assert executor.label(run="second") == frozenset()


def test_everything_is_private_to_the_user(executor: Executor) -> None:
    executor.label()
    folder = executor.made[0]._server.folder
    for place_ in (folder, folder.parent):
        assert stat.S_IMODE(place_.stat().st_mode) == 0o700


def test_a_folder_others_may_write_is_refused(executor: Executor) -> None:
    engine = executor.engine()
    engine._server.folder.mkdir(parents=True)
    engine._server.folder.chmod(0o777)
    with pytest.raises(EngineError, match="is not private to this user"):
        next(iter(engine.answers(task(), requests(1))))


@pytest.mark.parametrize("victim", ["server", "core", "supervisor"])
def test_a_server_killed_on_the_way_is_brought_back_and_no_row_lost(executor: Executor, victim: str) -> None:
    with executor.engine(env={"DELAY_S": "0.05"}) as engine:
        answers = []
        for answer in engine.answers(task(), requests(60)):
            answers.append(answer)
            if len(answers) == 10:
                state = executor.state
                core = next(found.pid for found in server_processes(state["server_id"]) if found.pid != state["server"])
                os.kill(core if victim == "core" else state[victim], signal.SIGKILL)
        assert sorted(answer.key for answer in answers) == list(range(60))
        assert failures(answers) == {None}
        assert len(engine.server_ids) == 2 and engine.unavailable is None


def test_a_hung_server_is_replaced(executor: Executor) -> None:
    with executor.engine(env={"DELAY_S": "0.05"}, deadline_s=6.0) as engine:
        answers = []
        for answer in engine.answers(task(), requests(40)):
            answers.append(answer)
            if len(answers) == 10:
                os.kill(executor.state["server"], signal.SIGSTOP)
        assert failures(answers) == {None} and len(answers) == 40
        assert len(engine.server_ids) == 2


def test_a_server_that_is_healthy_and_answers_nothing_is_hung(executor: Executor) -> None:
    with executor.engine(env={"MISBEHAVE": "hang"}, deadline_s=4.0, restarts=1) as engine:
        answers = list(engine.answers(task(), requests(50)))
        lost = engine.unavailable
        assert lost and "died or hung 2 times in this run" in lost
    assert len(answers) == 50 and failures(answers) == {lost}


def test_restarts_are_bounded_and_the_rest_fails_quickly(executor: Executor) -> None:
    def die() -> None:
        engine_id = ""
        while not done.wait(0.05):
            state = executor.state
            if (
                "server" in state
                and state["server_id"] != engine_id
                and executor.made[0].server_id == state["server_id"]
            ):
                engine_id = state["server_id"]
                time.sleep(1.5)  # some rows are answered
                executor.kill_server()

    done = threading.Event()
    with executor.engine(env={"DELAY_S": "0.1"}, restarts=1) as engine:
        killer = threading.Thread(target=die)
        killer.start()
        answers = list(engine.answers(task(), requests(400)))
        lost = engine.unavailable
        done.set()
        killer.join()
    assert len(answers) == 400
    assert lost and "more than engine.restarts (1) makes up for" in lost
    assert failures(answers) >= {None, lost}
    begun = time.monotonic()
    with executor.engine(env={"DELAY_S": "0.1"}, restarts=1) as other, pytest.raises(EngineError, match="restarts"):
        list(other.answers(task(), requests(3)))
    assert time.monotonic() - begun < 5
    executor.label(run="the next run", env={"DELAY_S": "0.1"}, restarts=1)


def test_a_start_that_fails_says_why_and_other_tasks_do_not_try_again(executor: Executor) -> None:
    args = {"no_such_argument": 1}
    begun = time.monotonic()
    for _ in range(3):
        with executor.engine(args=args) as engine, pytest.raises(EngineError) as caught:
            list(engine.answers(task(), requests(2)))
        assert "did not start: unrecognized arguments: --no-such-argument. Its log: " in str(caught.value)
    assert time.monotonic() - begun < 15
    starts = read_json(executor.made[0]._server.folder / "starts.json")
    assert starts == {"run": 1}
    with executor.engine("other", args=args) as engine, pytest.raises(EngineError):
        list(engine.answers(task(), requests(2)))


def test_a_start_that_takes_too_long_ends_at_its_deadline(executor: Executor) -> None:
    begun = time.monotonic()
    with executor.engine(env={"MISBEHAVE": "never_ready"}, start_deadline_s=3.0) as engine:
        with pytest.raises(EngineError, match=r"not ready within 3 s \(engine.start_deadline_s\); its log"):
            list(engine.answers(task(), requests(2)))
        assert time.monotonic() - begun < 25
        assert not server_processes(executor.state["server_id"])


def test_an_argument_that_cannot_be_is_the_operators_error(executor: Executor) -> None:
    with executor.engine(args={"trust_remote_code": True}) as engine, pytest.raises(ConfigError, match="never run"):
        list(engine.answers(task(), requests(2)))


def test_an_idle_server_ends_and_its_next_start_costs_no_restart(executor: Executor) -> None:
    for _ in range(3):
        executor.label(idle_s=0.6, restarts=0)
        until(lambda: not server_processes(executor.state["server_id"]))


def test_a_task_killed_while_it_starts_the_server_leaves_it_to_the_others(executor: Executor) -> None:
    child = os.fork()
    if child == 0:
        try:
            list(executor.engine().answers(task(), requests(1)))
        finally:
            os._exit(0)
    executor.engine()
    until(lambda: "supervisor" in executor.state)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert len(executor.label()) == 1
    assert read_json(executor.made[0]._server.folder / "starts.json") == {"run": 1}


def test_another_server_of_the_executor_that_nobody_uses_makes_room(
    executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "UNUSED_NS", 0)
    executor.label(args={"max_num_seqs": 1})
    first = executor.state["server_id"]
    executor.label(args={"max_num_seqs": 2})
    assert not server_processes(first) and server_processes(executor.state["server_id"])


def test_a_socket_left_behind_is_no_hindrance(executor: Executor) -> None:
    engine = executor.engine()
    engine._server.place.create()
    with FaultyServer(unix=str(engine._server.socket)):
        stale = engine._server.socket.with_name("kept")
        os.link(engine._server.socket, stale)
    stale.rename(engine._server.socket)
    assert len(executor.label()) == 1


def test_a_path_too_long_for_a_socket_keeps_its_logs_there_and_its_socket_elsewhere(executor: Executor) -> None:
    deep = executor.folder / ("d" * 120)
    executor.label(work_dir=str(deep))
    made = executor.made[0]._server
    assert (deep in made.folder.parents) and len(os.fsencode(made.socket)) <= paths.SOCKET_BYTES
    assert (made.folder / "log").exists()


def test_the_folders_of_executors_long_gone_are_swept(executor: Executor) -> None:
    old = executor.folder / "w" / f"safeguard-{os.getuid()}" / "0000000000-00000000"
    old.mkdir(parents=True, mode=0o700)
    for level in (old, old.parent):
        level.chmod(0o700)
    (old / "state.json").write_text('{"server_id": "x", "owner": 1, "owner_started": "before"}')
    (old / "lease").touch()
    executor.label()
    assert old.exists()
    os.utime(old / "lease", (0, 0))
    executor.kill_server()
    executor.label(run="next")
    assert not old.exists()


def test_outside_spark_the_executor_is_this_process() -> None:
    pid, _, born = executor_key().partition("-")
    assert (int(pid), born) == (os.getpid(), start_time(os.getpid()))
    assert end_tree("no such engine")
