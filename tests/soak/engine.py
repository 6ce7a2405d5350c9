"""The label job with a real vLLM server on the CPU, and kills of that server's processes while rows are in flight."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from safeguard_spark.demo import model, weights
from safeguard_spark.engines.processes import server_processes
from tests.engine import laptop
from tests.soak.job import GONE_S, LabelJob
from tools.demo_model import network

STARTS_S = 180.0
VICTIMS = ("core", "server", "supervisor")


def model_folder(cache: Path) -> Path:
    """The demo model; where its weights are not shipped, one of its shape that says anything."""
    if weights.SHIPPED.is_file():
        return model.model_path()
    import numpy as np

    compact = cache / "random.safetensors"
    ids = np.arange(1000, 3000)
    made = {name: array.detach().numpy() for name, array in network.initial(len(ids) + 1, seed=1).items()}
    weights.save(compact, ids, made)
    return model.assemble(compact, cache)


class ServedJob(LabelJob):
    """A label job whose one executor has a vLLM server of its own below the job's folder."""

    def __init__(self, folder: Path, served: Path, **engine: Any) -> None:
        self.work = folder / "w"
        settings = {
            "kind": "vllm", "model": str(served), "model_name": "demo", "window": 16, "deadline_s": 120.0,
            "work_dir": str(self.work), "env": laptop.ENV,
            "args": laptop.args(max_model_len=1024, max_num_seqs=16), **engine,
        }  # fmt: skip
        labeler = {"max_prompt_tokens": 600, "max_tokens": 200}
        super().__init__(folder, chunk_rows=200, sections={"engine": settings, "labeler": labeler})

    @property
    def state(self) -> dict[str, Any]:
        """What the server's folder says of the one that lives; empty before there is one."""
        for found in self.work.glob("safeguard-*/*/state.json"):
            said: dict[str, Any] = json.loads(found.read_text())
            return said
        return {}

    def await_in_flight(self, other_than: str = "") -> str:
        """Wait until a life of the server other than this one has answered rows; its id."""
        assert self.process is not None

        def answering() -> bool:
            assert self.process is not None and self.process.poll() is None, self.said()
            engine = self.state.get("server_id", "")
            if engine in ("", other_than):
                return False
            folder = next(self.work.glob("safeguard-*/*/state.json")).parent
            ready, answered = folder / "ready", folder / "answered"
            if not (ready.exists() and answered.exists() and ready.read_text() == engine):
                return False
            return answered.stat().st_mtime_ns > ready.stat().st_mtime_ns

        until(answering, STARTS_S)
        return str(self.state["server_id"])

    def strike(self, victim: str) -> None:
        """SIGKILL the engine core, the API server or the supervisor."""
        state = self.state
        pid = state["server" if victim == "server" else "supervisor"]
        if victim == "core":
            pid = next(found.pid for found in server_processes(state["server_id"]) if is_core(found))
        os.kill(pid, signal.SIGKILL)

    def assert_nothing_left(self, *engines: str) -> None:
        """Within 30 s no process and no socket of these servers is left."""
        until(lambda: not any(server_processes(engine) for engine in engines), GONE_S)
        until(lambda: not self.sockets(), GONE_S)

    def sockets(self) -> list[Path]:
        """Sockets in the server's folders, the short one included."""
        folders = [self.work, *(Path(self.state["sockets"]) for _ in (1,) if "sockets" in self.state)]
        return [path for folder in folders if folder.exists() for path in folder.rglob("*") if path.is_socket()]


def is_core(process: psutil.Process) -> bool:
    """Whether a process is vLLM's engine core."""
    try:
        return "EngineCore" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def until(holds: Callable[[], bool], timeout_s: float) -> None:
    """Wait for something to become true. AssertionError if it does not in time."""
    ends = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < ends, "did not come true in time"
        time.sleep(0.1)
