"""Starts that fail: bounded, reported with their cause, tried again where that helps. Real processes, no vLLM."""

import json
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from safeguard_spark.engines.processes import server_processes
from safeguard_spark.engines.server_folder import FailedStart, Starts
from safeguard_spark.errors import ConfigError, EngineError
from safeguard_spark.labelling.engine import Answer
from tests.build import call_spec, until
from tests.engine_calls import FAST, failures, requests
from tests.executor import Executor
from tests.faulty_server import SAFE, completion_ids

pytestmark = pytest.mark.unit
STAND_IN = Path(__file__).parents[2] / "cluster" / "stand_in.py"


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
    assert time.monotonic() - started < 60
    executor.label(run="the next run", env={"DELAY_S": "0.1"}, restarts=1)


def test_a_failed_start_reports_its_cause_and_other_tasks_do_not_try_again(executor: Executor) -> None:
    args = {"no_such_argument": 1}
    started = time.monotonic()
    for _ in range(3):
        with executor.engine(args=args) as engine, pytest.raises(EngineError) as caught:
            list(engine.answers(call_spec(), requests(2)))
        assert "did not start: unrecognized arguments: --no-such-argument. See its log: " in str(caught.value)
    assert time.monotonic() - started < 60
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
    settings = stand_in(executor, GPU_LOCKS=str(tmp_path)) | {"start_deadline_s": 15.0 if is_used else 60.0}
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
        assert time.monotonic() - started < 60
        # The deadline may pass just before the supervisor starts the server, which then ends it.
        until(lambda: not server_processes(executor.state.server_id), 30)


def test_a_refused_argument_is_the_operators_error(executor: Executor) -> None:
    with executor.engine(args={"trust_remote_code": True}) as engine, pytest.raises(ConfigError, match="never run"):
        list(engine.answers(call_spec(), requests(2)))
