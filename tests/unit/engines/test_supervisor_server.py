"""One server per executor: started once, shared, restarted a bounded number of times. Real processes, no vLLM."""

import json
import logging
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from safeguard_spark.config.engine import VllmConfig
from safeguard_spark.engines.paths import executor_process
from safeguard_spark.engines.processes import ProcessId, end_tree, server_processes
from safeguard_spark.engines.server_folder import SOCKET_BYTES, FailedStart, Phase, ServerFolder, ServerState, Starts
from safeguard_spark.engines.timings import DEFAULT_TIMINGS, Timings
from safeguard_spark.engines.vllm_host import VllmEngine
from safeguard_spark.errors import ConfigError, EngineError
from safeguard_spark.labelling.engine import Answer, Decided
from safeguard_spark.labelling.verdict import Outcome, Verdict
from tests.build import call_spec, until
from tests.engine_calls import FAST, failures, requests
from tests.faulty_server import SAFE, FaultyServer, completion_ids

pytestmark = pytest.mark.unit
SERVER = Path(__file__).parents[2] / "faulty_server.py"
STAND_IN = Path(__file__).parents[2] / "cluster" / "stand_in.py"


class Executor:
    """An executor: a process that its server must not outlive, and the engines of its tasks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        python = folder / "python"
        answer = f"export ANSWER_IDS='{completion_ids(json.dumps(SAFE))}'"
        python.write_text(f"#!/bin/sh\n{answer}\nexec '{sys.executable}' '{SERVER}' \"$@\"\n")
        python.chmod(0o700)
        self.python = str(python)
        self.daemon = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        self.process = ProcessId.of(self.daemon.pid)
        self.engines: list[VllmEngine] = []

    def config(self, **settings: Any) -> VllmConfig:
        work_dir = str(self.folder / "w")
        defaults = {"deadline_s": 20.0, "start_deadline_s": 30.0, "work_dir": work_dir, "python": self.python}
        # By copy: a test may be shorter than a configuration.
        return VllmConfig(model="m").model_copy(update={**defaults, **settings})

    def engine(self, run: str = "run", window: int = 4, timings: Timings = FAST, **settings: Any) -> VllmEngine:
        self.engines.append(VllmEngine(self.config(**settings), self.process, [], window, run, timings))
        return self.engines[-1]

    def label(self, count: int = 5, run: str = "run", **settings: Any) -> frozenset[str]:
        """Label rows in a task of their own; returns the servers that its run started."""
        with self.engine(run, **settings) as engine:
            answers = list(engine.answers(call_spec(), requests(count)))
            assert sorted(answer.key for answer in answers) == list(range(count))
            assert failures(answers) == {None}
            return engine.server_ids

    @property
    def server_folder(self) -> ServerFolder:
        return self.engines[-1]._server.folder

    @property
    def state(self) -> ServerState:
        state = self.server_folder.state()
        assert state is not None
        return state

    @property
    def phase(self) -> Phase:
        return self.server_folder.phase(self.server_folder.state())

    def kill_server(self) -> None:
        os.kill(self.pid("server"), signal.SIGKILL)

    def pid(self, name: str) -> int:
        """The pid of the `server`, its `core` or its `supervisor`."""
        state = self.state
        assert state.supervisor is not None and state.server_pid is not None
        core = (process.pid for process in server_processes(state.server_id) if process.pid != state.server_pid)
        return {"server": state.server_pid, "supervisor": state.supervisor.pid}.get(name) or next(core)

    def end(self) -> None:
        self.daemon.kill()
        self.daemon.wait()
        for engine in self.engines:
            folder = engine._server.folder
            state = folder.state()
            until(lambda state=state: state is None or not server_processes(state.server_id), 30)  # type: ignore[misc]
            deleted = folder.socket if folder.sockets == folder.path else folder.sockets
            until(lambda path=deleted: not path.exists(), 30)  # type: ignore[misc]


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[Executor]:
    folder = tmp_path / "e ü"  # spaces and Unicode in every path
    folder.mkdir()
    executor = Executor(folder)
    yield executor
    executor.end()


def test_without_rows_that_need_the_model_no_server_starts(executor: Executor) -> None:
    decided = [Decided(number, Verdict(Outcome.empty)) for number in range(3)]
    with executor.engine() as engine:
        assert list(engine.answers(call_spec(), [])) == []
        assert [answer.verdict for answer in engine.answers(call_spec(), decided)] == [row.verdict for row in decided]
    assert not (executor.folder / "w").exists()


def test_rows_that_need_no_model_have_their_answer_before_the_server_starts(executor: Executor) -> None:
    decided = [Decided(number, Verdict(Outcome.empty)) for number in range(100, 103)]
    with executor.engine() as engine:
        answers = engine.answers(call_spec(), [*decided, *requests(2), *decided])
        assert [next(answers).key for _ in decided] == [100, 101, 102]
        assert not (executor.folder / "w").exists()
        assert sorted(answer.key for answer in answers) == [0, 1, 100, 101, 102]


def test_tasks_at_once_share_one_server(executor: Executor) -> None:
    with ThreadPoolExecutor(4) as pool:
        started = list(pool.map(lambda _: executor.label(20), range(4)))
    assert len(frozenset().union(*started)) == 1
    assert len(server_processes(executor.state.server_id)) == 2  # server and core


def test_niceness_lowers_the_priority_of_all_but_the_engine_core(executor: Executor) -> None:
    normal = os.getpriority(os.PRIO_PROCESS, 0)

    def label() -> tuple[int, int, int]:
        executor.label(niceness=19)
        task = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        return task, *(os.getpriority(os.PRIO_PROCESS, executor.pid(name)) for name in ("server", "core"))

    with ThreadPoolExecutor(1) as thread:  # a priority is a thread's own
        assert thread.submit(label).result() == (19, 19, normal)


def test_niceness_leaves_the_priority_of_a_process_outside_spark_alone(executor: Executor) -> None:
    executor.process = executor_process()  # as in `judge`: no worker of an executor, but the caller's own process
    normal = os.getpriority(os.PRIO_PROCESS, 0)
    executor.label(niceness=19)
    assert os.getpriority(os.PRIO_PROCESS, 0) == normal
    assert os.getpriority(os.PRIO_PROCESS, executor.pid("server")) == 19
    os.kill(executor.pid("supervisor"), signal.SIGTERM)


def test_a_later_run_uses_the_running_server_and_starts_none(executor: Executor) -> None:
    assert len(executor.label(run="first")) == 1
    assert executor.label(run="second") == frozenset()


def test_everything_is_private_to_the_user(executor: Executor) -> None:
    executor.label()
    folder = executor.engines[0]._server.folder.path
    for level in (folder, folder.parent):
        assert stat.S_IMODE(level.stat().st_mode) == 0o700


def test_a_folder_that_others_may_write_is_refused(executor: Executor) -> None:
    engine = executor.engine()
    engine._server.folder.path.mkdir(parents=True)
    engine._server.folder.path.chmod(0o777)
    with pytest.raises(EngineError, match="is not private to this user"):
        next(iter(engine.answers(call_spec(), requests(1))))


@pytest.mark.parametrize("victim", ["server", "core", "supervisor"])
def test_a_server_killed_during_a_call_is_restarted_and_no_row_fails(executor: Executor, victim: str) -> None:
    with executor.engine(env={"DELAY_S": "0.05"}) as engine:
        answers = []
        for answer in engine.answers(call_spec(), requests(60)):
            answers.append(answer)
            if len(answers) == 10:
                os.kill(executor.pid(victim), signal.SIGKILL)
        assert sorted(answer.key for answer in answers) == list(range(60))
        assert failures(answers) == {None}
        assert len(engine.server_ids) == 2 and engine.unavailable is None


def test_a_hung_server_is_restarted(executor: Executor) -> None:
    with executor.engine(env={"DELAY_S": "0.05"}, deadline_s=2.0) as engine:
        answers = []
        for answer in engine.answers(call_spec(), requests(40)):
            answers.append(answer)
            if len(answers) == 10:
                os.kill(executor.pid("server"), signal.SIGSTOP)
        assert failures(answers) == {None} and len(answers) == 40
        assert len(engine.server_ids) == 2


def test_a_healthy_server_that_answers_nothing_counts_as_hung(executor: Executor) -> None:
    message = "died or hung 2 times in this run"
    with executor.engine(env={"MISBEHAVE": "hang"}, deadline_s=1.0, restarts=1) as engine:
        with pytest.raises(EngineError, match=message):
            list(engine.answers(call_spec(), requests(50)))
        assert engine.unavailable and message in engine.unavailable


def test_a_start_and_a_restart_are_logged_with_their_run_and_server(
    executor: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "safeguard_spark.engines")
    with executor.engine(env={"DELAY_S": "0.05"}) as engine:
        for number, _ in enumerate(engine.answers(call_spec(), requests(60))):
            if number == 10:
                first = executor.state.server_id
                executor.kill_server()
    second = executor.state.server_id
    assert [record.getMessage().partition(" after ")[0] for record in caplog.records] == [
        f"Run run: server {first} is ready",
        f"Run run: server {second} is ready",
        f"Run run: server {first} died; server {second} replaces it.",
    ]


def test_restarts_are_bounded_and_the_remaining_rows_fail_quickly(executor: Executor) -> None:
    answers: list[Answer] = []
    done = threading.Event()

    def kill_each_server() -> None:
        """Kill every server after some of its answers."""
        killed, answered = "", 0
        while not done.wait(0.05):
            state = executor.server_folder.state()
            server_id = executor.engines[0]._server.server_id
            is_ready = state is not None and state.supervisor and killed != state.server_id == server_id
            if is_ready and len(answers) > answered + 4:
                killed, answered = server_id, len(answers)
                executor.kill_server()

    with executor.engine(env={"DELAY_S": "0.1"}, restarts=1) as engine:
        killer = threading.Thread(target=kill_each_server)
        killer.start()
        answers.extend(engine.answers(call_spec(), requests(400)))  # one by one: the killer counts them
        reason = engine.unavailable
        done.set()
        killer.join()
    assert len(answers) == 400
    assert reason and "more often than engine.restarts (1) allows" in reason
    assert failures(answers) >= {None, reason}
    started = time.monotonic()
    with executor.engine(env={"DELAY_S": "0.1"}, restarts=1) as other, pytest.raises(EngineError, match="restarts"):
        list(other.answers(call_spec(), requests(3)))
    assert time.monotonic() - started < 5
    executor.label(run="the next run", env={"DELAY_S": "0.1"}, restarts=1)


def test_a_failed_start_reports_its_cause_and_other_tasks_do_not_try_again(executor: Executor) -> None:
    args = {"no_such_argument": 1}
    started = time.monotonic()
    for _ in range(3):
        with executor.engine(args=args) as engine, pytest.raises(EngineError) as caught:
            list(engine.answers(call_spec(), requests(2)))
        assert "did not start: unrecognized arguments: --no-such-argument. See its log: " in str(caught.value)
    assert time.monotonic() - started < 15
    assert executor.server_folder.read(Starts) == Starts({"run": 1})
    with executor.engine("other", args=args) as engine, pytest.raises(EngineError):
        list(engine.answers(call_spec(), requests(2)))


def test_a_start_that_fails_once_is_tried_again_and_forgotten(executor: Executor) -> None:
    env = {"MISBEHAVE": "out_of_memory", "ONCE": str(executor.folder / "once")}
    assert len(executor.label(env=env)) == 1
    assert executor.server_folder.read(Starts) == Starts({"run": 2})
    assert executor.server_folder.read(FailedStart) is None


def stand_in(executor: Executor, **env: str) -> dict[str, Any]:
    """The stand-in of the cluster's tests as the server."""
    starts = executor.folder.parent / "starts"
    starts.mkdir(exist_ok=True)
    env |= {"STARTS": str(starts), "ANSWER_IDS": json.dumps(completion_ids(json.dumps(SAFE)))}
    return {"command": (sys.executable, str(STAND_IN)), "env": env}


def test_memory_that_another_process_still_holds_is_waited_for_and_costs_no_restart(executor: Executor) -> None:
    settings = stand_in(executor, FAILS="3", FAILURE="ValueError: Free memory on device cuda:0 (1/79 GiB) on startup")
    assert len(executor.label(**settings, restarts=0)) == 1
    assert executor.server_folder.read(Starts) == Starts({"run": 1})
    assert len([*(executor.folder.parent / "starts").iterdir()]) == 4


def test_a_dead_gpu_costs_one_start(executor: Executor) -> None:
    refused = pytest.raises(EngineError, match="did not start: RuntimeError: No CUDA GPUs are available")
    with executor.engine(**stand_in(executor, DEAD_GPUS="none"), restarts=2) as engine, refused:
        list(engine.answers(call_spec(), requests(2)))
    assert executor.server_folder.read(Starts) == Starts({"run": 1})


@pytest.mark.parametrize("is_used", [False, True])
def test_a_server_of_another_session_gives_the_gpu_up_if_no_task_uses_it(
    executor: Executor, tmp_path: Path, is_used: bool
) -> None:
    settings = stand_in(executor, GPU_LOCKS=str(tmp_path)) | {"start_deadline_s": 3.0 if is_used else 60.0}
    executor.label(**settings)
    first, other = executor.state.server_id, Executor(tmp_path / "e ü")
    try:
        unused_s = 60.0 if is_used else -1.0
        with other.engine(**settings, timings=replace(FAST, unused_s=unused_s)) as engine:
            if is_used:
                with pytest.raises(EngineError, match="Free memory on device"):
                    list(engine.answers(call_spec(), requests(2)))
                assert server_processes(first)
            else:
                assert len(list(engine.answers(call_spec(), requests(2)))) == 2
                assert not server_processes(first)
    finally:
        other.end()


def test_starts_that_all_fail_are_bounded_and_final_for_the_run_only(executor: Executor) -> None:
    env = {"MISBEHAVE": "out_of_memory"}
    for _ in range(2):
        with executor.engine(env=env) as engine, pytest.raises(EngineError, match="did not start: OutOfMemoryError"):
            list(engine.answers(call_spec(), requests(2)))
        assert executor.server_folder.read(Starts) == Starts({"run": 3})


def test_a_run_whose_start_failed_uses_a_server_that_another_run_has_started(executor: Executor) -> None:
    env = {"MISBEHAVE": "out_of_memory", "ONCE": str(executor.folder / "once")}
    with executor.engine(env=env, restarts=0) as engine, pytest.raises(EngineError, match="did not start"):
        list(engine.answers(call_spec(), requests(2)))
    assert len(executor.label(run="next", env=env, restarts=0)) == 1
    assert executor.label(env=env, restarts=0) == frozenset()


def test_a_start_that_takes_too_long_ends_at_its_deadline(executor: Executor) -> None:
    started = time.monotonic()
    with executor.engine(env={"MISBEHAVE": "never_ready"}, start_deadline_s=1.0) as engine:
        with pytest.raises(EngineError, match=r"not ready within 1 s \(engine.start_deadline_s\). See its log"):
            list(engine.answers(call_spec(), requests(2)))
        assert time.monotonic() - started < 25
        assert not server_processes(executor.state.server_id)


def test_a_refused_argument_is_the_operators_error(executor: Executor) -> None:
    with executor.engine(args={"trust_remote_code": True}) as engine, pytest.raises(ConfigError, match="never run"):
        list(engine.answers(call_spec(), requests(2)))


def test_an_idle_server_ends_and_its_next_start_costs_no_restart(executor: Executor) -> None:
    for _ in range(2):
        executor.label(idle_s=0.5, restarts=0)
        until(lambda: not server_processes(executor.state.server_id))


def test_a_configured_lease_outlasts_a_task_that_waits_for_its_server() -> None:
    probe_s, watch_s = DEFAULT_TIMINGS.probe_s, DEFAULT_TIMINGS.watch_s
    silent_s = watch_s + probe_s + DEFAULT_TIMINGS.healthy_s + probe_s  # its metrics, then its health
    with pytest.raises(ValueError, match=r"idle_s\n.*greater than or equal to 60"):
        VllmConfig(model="m", idle_s=silent_s)


def test_a_server_whose_task_is_killed_during_the_start_serves_the_other_tasks(executor: Executor) -> None:
    child = os.fork()
    if child == 0:
        try:
            list(executor.engine().answers(call_spec(), requests(1)))
        finally:
            os._exit(0)
    executor.engine()
    until(lambda: executor.phase in (Phase.starting, Phase.ready))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert len(executor.label()) == 1
    assert executor.server_folder.read(Starts) == Starts({"run": 1})


def test_another_server_of_the_executor_that_no_task_uses_is_ended(executor: Executor) -> None:
    executor.label(args={"max_num_seqs": 1})
    first = executor.state.server_id
    executor.label(args={"max_num_seqs": 2}, timings=replace(FAST, unused_s=-1.0))  # the clock of files is coarse
    assert not server_processes(first) and server_processes(executor.state.server_id)


def test_a_socket_left_by_an_earlier_server_is_replaced(executor: Executor) -> None:
    engine = executor.engine()
    engine._server.folder.create()
    with FaultyServer(unix=str(engine._server.folder.socket)):
        stale = engine._server.folder.socket.with_name("kept")
        os.link(engine._server.folder.socket, stale)
    stale.rename(engine._server.folder.socket)
    assert len(executor.label()) == 1


def test_a_server_of_another_release_is_neither_used_nor_ended_and_that_is_logged(
    executor: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "safeguard_spark.engines")
    engine = executor.engine()
    engine._server.folder.create()
    (engine._server.folder.path / "state.json").write_text('{"format": 0, "server_id": "other", "supervisor": 1}')
    assert len(executor.label()) == 1
    message = f"{engine._server.folder.path}: another release has started a server here; it is neither used nor ended."
    assert message in [record.getMessage() for record in caplog.records]


def test_with_a_path_too_long_for_a_socket_only_the_socket_is_elsewhere(executor: Executor) -> None:
    deep = executor.folder / ("d" * 120)
    executor.label(work_dir=str(deep))
    folder = executor.server_folder
    assert deep in folder.path.parents and len(os.fsencode(folder.socket)) <= SOCKET_BYTES
    assert folder.log.exists()


def test_the_folders_of_executors_that_ended_long_ago_are_deleted(executor: Executor) -> None:
    old = executor.folder / "w" / f"safeguard-{os.getuid()}" / "0000000000-00000000"
    old.mkdir(parents=True, mode=0o700)
    for level in (old, old.parent):
        level.chmod(0o700)
    ServerFolder(old).write(ServerState("x", "r", ProcessId(1, "before")))
    (old / "lease").touch()
    executor.label()
    assert old.exists()
    os.utime(old / "lease", (0, 0))
    executor.kill_server()
    executor.label(run="next")
    assert not old.exists()


def test_outside_spark_the_executor_is_this_process() -> None:
    assert executor_process() == ProcessId.of(os.getpid())
    assert end_tree("no such server")
