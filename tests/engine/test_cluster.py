"""Executors with a GPU each: one server per executor, shared by its tasks, ended with the executor."""

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(900)]
CLEANUP_S = 30.0


def test_each_executor_has_exactly_one_server_and_each_row_one_label(tmp_path: Path) -> None:
    pytest.importorskip("vllm", reason="vLLM is not installed")
    command = [sys.executable, "-m", "tests.engine.cluster", str(tmp_path)]

    process = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=800)

    assert process.returncode == 0, process.stderr[-3000:]
    report = json.loads(process.stdout.splitlines()[-1])
    servers = report["servers"]
    assert report["result"]["status"] == "complete" and report["result"]["engine_starts"] == 2
    assert report["labels"] == report["ids"] == report["result"]["rows"] == 400
    assert len({server["executor"] for server in servers}) == len({server["server_id"] for server in servers}) == 2
    assert [(server["devices"], server["answered"]) for server in servers] == [("0", True)] * 2
    deadline = time.monotonic() + CLEANUP_S
    while running := [server for server in servers if psutil.pid_exists(server["supervisor"])]:
        assert time.monotonic() < deadline, running
        time.sleep(0.5)
