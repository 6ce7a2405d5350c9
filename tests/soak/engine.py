"""The label job with a real vLLM server on the CPU, and kills of that server's processes while rows are in flight."""

import os
import signal
from pathlib import Path
from typing import Any

import psutil

from safeguard_spark.demo import model, weights
from safeguard_spark.engines.processes import server_processes
from safeguard_spark.engines.server_folder import Phase, ServerFolder, ServerState
from tests.build import until
from tests.engine import laptop
from tests.soak.job import CLEANUP_S, LabelJob
from tools.demo_model import network

MAX_START_S = 180.0
SERVER_PROCESSES = ("core", "server", "supervisor")


def model_folder(cache: Path) -> Path:
    """The demo model, or, if its weights are not shipped, a random model of the same shape."""
    if weights.SHIPPED.is_file():
        return model.model_path()
    import numpy as np

    compact = cache / "random.safetensors"
    ids = np.arange(1000, 3000)
    arrays = {name: array.detach().numpy() for name, array in network.initial(len(ids) + 1, seed=1).items()}
    weights.save(compact, ids, arrays)
    return model.assemble(compact, cache)


class ServedJob(LabelJob):
    """A label job whose only executor has its own vLLM server, below the job's folder."""

    def __init__(self, folder: Path, model_path: Path, **engine: Any) -> None:
        self.work = folder / "w"
        settings = {
            "kind": "vllm", "model": str(model_path), "model_name": "demo", "window": 16, "deadline_s": 120.0,
            "work_dir": str(self.work), "env": laptop.ENV,
            "args": laptop.args(max_model_len=1024, max_num_seqs=16), **engine,
        }  # fmt: skip
        labeler = {"max_prompt_tokens": 600, "max_tokens": 200}
        super().__init__(folder, chunk_rows=200, sections={"engine": settings, "labeler": labeler})

    @property
    def server_folder(self) -> ServerFolder | None:
        """The folder of the server; None before the first start."""
        return next((ServerFolder(path.parent) for path in self.work.glob("safeguard-*/*/state.json")), None)

    @property
    def state(self) -> ServerState | None:
        """The server that was started last."""
        return self.server_folder.state() if self.server_folder else None

    @property
    def server_ids(self) -> list[str]:
        """That of the server that was started last; none before the first start."""
        return [self.state.server_id] if self.state else []

    def wait_for_answers(self, other_than: str = "") -> str:
        """Wait until a server other than `other_than` has answered rows. Returns its server_id."""
        assert self.process is not None

        def has_answered() -> bool:
            assert self.process is not None and self.process.poll() is None, self.stderr_tail()
            folder, state = self.server_folder, self.state
            if folder is None or state is None or state.server_id == other_than:
                return False
            return folder.phase(state) is Phase.ready and folder.touched_ns("answered") > folder.touched_ns("ready")

        until(has_answered, MAX_START_S)
        assert self.state is not None
        return self.state.server_id

    def kill_server_process(self, victim: str) -> None:
        """SIGKILL the engine core, the API server or the supervisor."""
        state = self.state
        assert state is not None and state.supervisor is not None and state.server_pid is not None
        pid = state.server_pid if victim == "server" else state.supervisor.pid
        if victim == "core":
            pid = next(process.pid for process in server_processes(state.server_id) if is_core(process))
        os.kill(pid, signal.SIGKILL)

    def assert_nothing_left(self, *server_ids: str) -> None:
        """Within 30 s no process and no socket of these servers is left."""
        until(lambda: not any(server_processes(server_id) for server_id in server_ids), CLEANUP_S)
        until(lambda: not self.sockets(), CLEANUP_S)

    def sockets(self) -> list[Path]:
        """Sockets in the server's folders, the short one included."""
        folders = [self.work, *([self.server_folder.sockets] if self.server_folder else [])]
        return [path for folder in folders if folder.exists() for path in folder.rglob("*") if path.is_socket()]


def is_core(process: psutil.Process) -> bool:
    """Whether a process is vLLM's engine core."""
    try:
        return "EngineCore" in " ".join(process.cmdline())
    except psutil.Error:
        return False
