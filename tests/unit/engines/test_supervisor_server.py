"""One server per executor: started once, shared, restarted when it fails. Real processes, no vLLM."""

import logging
import os
import signal
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from safeguard_spark.config.engine import VllmConfig
from safeguard_spark.engines import vllm_host
from safeguard_spark.engines.health import Load, read_load
from safeguard_spark.engines.paths import executor_process
from safeguard_spark.engines.processes import ProcessId, end_tree, server_processes
from safeguard_spark.engines.server_folder import SOCKET_BYTES, Phase, ServerFolder, ServerState, Starts
from safeguard_spark.engines.timings import DEFAULT_TIMINGS
from safeguard_spark.errors import EngineError
from safeguard_spark.labelling.engine import Decided
from safeguard_spark.labelling.verdict import Outcome, Verdict
from tests.build import call_spec, until
from tests.engine_calls import FAST, failures, requests
from tests.executor import Executor
from tests.faulty_server import FaultyServer

pytestmark = pytest.mark.unit


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


def test_an_unexpected_error_of_one_look_at_the_server_does_not_end_the_watch(
    executor: Executor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    errors = [ValueError("secret")]

    def read_once(*arguments: Any) -> Load:
        if errors:
            raise errors.pop()
        return read_load(*arguments)

    monkeypatch.setattr(vllm_host, "read_load", read_once)
    with executor.engine(env={"DELAY_S": "0.05"}, deadline_s=2.0) as engine:
        answers = []
        for answer in engine.answers(call_spec(), requests(60)):
            answers.append(answer)
            if len(answers) == 10:
                until(lambda: not errors)
                os.kill(executor.pid("server"), signal.SIGSTOP)
        assert failures(answers) == {None} and len(answers) == 60
        assert len(engine.server_ids) == 2
    assert "could not be looked after: ValueError" in caplog.text and "secret" not in caplog.text


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
