"""An executor for tests: a process, and the engines of its tasks over servers that misbehave on demand."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from safeguard_spark.config.engine import VllmConfig
from safeguard_spark.engines.processes import ProcessId, server_processes
from safeguard_spark.engines.server_folder import Phase, ServerFolder, ServerState
from safeguard_spark.engines.timings import Timings
from safeguard_spark.engines.vllm_host import VllmEngine
from tests.build import call_spec, until
from tests.engine_calls import FAST, failures, requests
from tests.faulty_server import SAFE, completion_ids

SERVER = Path(__file__).parent / "faulty_server.py"


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
