"""Executors with a GPU each: one server per executor, shared by its tasks, gone when the executor goes."""

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(900)]
GONE_S = 30.0


def test_each_executor_has_exactly_one_server_and_every_row_one_label(tmp_path: Path) -> None:
    pytest.importorskip("vllm", reason="vLLM is not installed")
    command = [sys.executable, "-m", "tests.engine.cluster", str(tmp_path)]

    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=800)

    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    servers = said["servers"]
    assert said["result"]["status"] == "complete" and said["result"]["engine_starts"] == 2
    assert said["labels"] == said["ids"] == said["result"]["rows"] == 400
    assert len({server["executor"] for server in servers}) == len({server["engine"] for server in servers}) == 2
    assert [(server["devices"], server["answered"]) for server in servers] == [("0", True)] * 2
    deadline = time.monotonic() + GONE_S
    while left := [server for server in servers if psutil.pid_exists(server["supervisor"])]:
        assert time.monotonic() < deadline, left
        time.sleep(0.5)
