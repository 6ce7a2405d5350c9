"""A real vLLM server killed while rows are in flight: no row is lost, and no process or socket is left.

The tests with the faulty server also kill every other part; `python -m tests.soak --engine` kills during label jobs.
"""

import ipaddress
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from safeguard_spark.config.load import build_config
from safeguard_spark.engines.processes import ProcessId, server_processes
from safeguard_spark.engines.server_folder import ServerFolder, ServerState
from safeguard_spark.engines.vllm_host import VllmEngine
from safeguard_spark.labelling import prompt
from safeguard_spark.labelling.content import from_text
from safeguard_spark.labelling.contract import Contract
from safeguard_spark.labelling.engine import Answer, CallSpec, Request
from safeguard_spark.labelling.labeler import Labeler
from safeguard_spark.policy.document import Effort
from tests.build import policy
from tests.engine import laptop
from tests.soak.engine import is_core, model_folder, until

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(900)]
CLEANUP_S = 30.0
CANARY = "c4n4ry"
ROWS = 400


class Executor:
    """A process that stands for an executor, and the engine of its only task. The server must end with the process."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.work = folder / "w"
        self.owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
        run = build_config({
            "engine": {
                "kind": "vllm", "model": str(model), "model_name": "demo", "deadline_s": 120.0, "restarts": 1,
                "work_dir": str(self.work), "env": laptop.ENV,
                "args": laptop.args(max_model_len=1024, max_num_seqs=16),
            },
            "labeler": {"max_tokens": 200},
        })  # fmt: skip
        self.engine = VllmEngine(run.engine, ProcessId.of(self.owner.pid), [], 16, "run")
        self.call_spec = CallSpec(Labeler.of(run, policy()), Contract.of(policy()))

    @property
    def folder(self) -> Path:
        """The server's folder."""
        return next(self.work.glob("safeguard-*/*/state.json")).parent

    @property
    def state(self) -> ServerState:
        state = ServerFolder(self.folder).state()
        assert state is not None and state.supervisor is not None and state.server_pid is not None
        return state

    def kill(self, victim: str) -> str:
        """SIGKILL a process of the server. Returns the server_id."""
        state = self.state
        assert state.supervisor is not None
        core = (process.pid for process in server_processes(state.server_id) if is_core(process))
        os.kill(next(core) if victim == "core" else state.supervisor.pid, signal.SIGKILL)
        return state.server_id

    def assert_private(self) -> None:
        """Only the Unix socket takes requests: nothing listens on a network but torch's rendezvous, on loopback."""
        assert stat.S_IMODE(self.folder.stat().st_mode) == 0o700
        listening = [
            connection.laddr.ip
            for process in server_processes(self.state.server_id)
            for connection in process.net_connections(kind="inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert all(ipaddress.ip_address(ip).is_loopback for ip in listening), listening


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[Executor]:
    pytest.importorskip("vllm", reason="vLLM is not installed")
    executor = Executor(tmp_path, model_folder(tmp_path))
    yield executor
    executor.owner.kill()
    executor.owner.wait()


def requests(count: int) -> Iterator[Request]:
    for number in range(count):
        content = from_text(f"A table of oak, number {number}, {CANARY}.")
        yield Request(number, prompt.harmony(policy().body, Effort.low, content))


def test_a_server_killed_with_rows_in_flight_loses_no_row_and_leaves_no_process(executor: Executor) -> None:
    victims, killed, answers = ["core", "supervisor"], list[str](), list[Answer]()
    completions = 0  # since the last kill
    with executor.engine as engine:
        for answer in engine.answers(executor.call_spec, requests(ROWS)):
            answers.append(answer)
            completions += answer.completion is not None
            is_due = completions > 4 and engine.in_flight > 4
            if victims and is_due and engine._server.server_id not in killed:
                completions = 0
                executor.assert_private()
                killed.append(executor.kill(victims.pop(0)))
        assert sorted(answer.key for answer in answers) == list(range(ROWS))
        # After the first death the server is restarted. After the second it is not: another run has to try its rows.
        assert len(set(killed)) == 2 and len(engine.server_ids) == 2
        reason = engine.unavailable
        assert reason and "engine.restarts" in reason
    failures = {answer.failure for answer in answers if answer.completion is None}
    assert reason in failures
    assert sum(answer.completion is not None for answer in answers) > 8
    until(lambda: not any(server_processes(server_id) for server_id in killed), CLEANUP_S)
    until(lambda: not [path for path in executor.work.rglob("*") if path.is_socket()], CLEANUP_S)
    # The server's own log contains no content either.
    assert not [path for path in executor.work.rglob("log*") if CANARY.encode() in path.read_bytes()]
