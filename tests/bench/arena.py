"""The parent's side: contenders as processes that run in turn, with their memory and a GPU's power measured."""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

import psutil

from tests.bench.contender import Done
from tests.bench.models import Model, environment
from tests.bench.workload import ROOT

MARK = "BENCH_CONTENDER"
SAMPLE_S = 2.0
ANSWER_S = 1800.0
LOG_LINES = 20  # of a lost contender


class LostError(RuntimeError):
    """A contender ended or did not answer; the message has the end of its log, whose folder is a temporary one."""


class Running:
    """A contender's process. `log` has its output and that of its libraries."""

    def __init__(self, name: str, kind: str, model: Model, setting: dict[str, Any], folder: Path, python: str) -> None:
        self.name, self.log = name, folder / f"{name}.log"
        self._mark = f"{name}-{os.getpid()}-{time.time_ns()}"
        (folder / name).mkdir(parents=True, exist_ok=True)
        replies, theirs = os.pipe()
        command = [python, "-m", "tests.bench.contender", kind, json.dumps(asdict(model)), json.dumps(setting)]
        env = {**os.environ, **environment(model), MARK: self._mark, "SPT_NOENV": "1"}
        env.pop("OMP_NUM_THREADS", None)
        self._start = time.monotonic()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, str(folder / name), str(theirs)], cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=log,
                stderr=log, pass_fds=[theirs],
            )  # fmt: skip
        os.close(theirs)
        self._replies = os.fdopen(replies, "r")
        self.peak_mib = 0.0
        self._watts: list[float] = []
        self._over = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def run(self, table: Path, setting: dict[str, Any]) -> Done:
        """Let the contender label a table. Raises LostError."""
        assert self._process.stdin is not None
        self._watts = []
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"table": str(table), **setting}).encode() + b"\n")
            self._process.stdin.flush()
        ready, _, _ = select.select([self._replies], [], [], ANSWER_S)
        line = self._replies.readline() if ready else ""
        if not line:
            log = self.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
            raise LostError("\n".join([f"{self.name} gave no answer; the end of its log:", *log]))
        return Done(**json.loads(line))

    @property
    def watts(self) -> float | None:
        """What the machine's GPUs drew during the last run, on average; None where it cannot be read."""
        return mean(self._watts) if self._watts else None

    @property
    def age_s(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._start

    def close(self) -> None:
        """End the process and all that it started."""
        self._over.set()
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(30)
        for wait_s, number in ((10.0, signal.SIGTERM), (5.0, signal.SIGKILL)):
            remaining = self._own()
            for process in remaining:
                with contextlib.suppress(psutil.Error):
                    process.send_signal(number)
            psutil.wait_procs(remaining, wait_s)

    def _own(self) -> list[psutil.Process]:
        """Its processes, whatever their parent is by now."""
        own = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(MARK) == self._mark:
                    own.append(process)
        return own

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_S):
            self.peak_mib = max(self.peak_mib, sum(_private(process) for process in self._own()) / 2**20)
            self._watts += power()


def power() -> list[float]:
    """What the GPUs of this machine draw together now, watts; empty where `nvidia-smi` cannot tell."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=power.draw", "--format=csv,noheader,nounits"]
    with contextlib.suppress(OSError, ValueError, subprocess.SubprocessError):
        watts = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
        return [sum(map(float, watts.split()))]
    return []


def _private(process: psutil.Process) -> int:
    """Resident memory that is no file's and no other process's, bytes."""
    with contextlib.suppress(psutil.Error):
        memory = process.memory_info()
        return int(memory.rss - memory.shared)
    return 0


def python_of(kind: str) -> str:
    """The interpreter of a contender: `BENCH_RAY_PYTHON` for `ray`, and so on; else this one."""
    return os.environ.get(f"BENCH_{kind.upper()}_PYTHON", sys.executable)
