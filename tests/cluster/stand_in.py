"""A program in place of vLLM's server, named by `engine.command`: it costs no core, and fails on demand.

It takes vLLM's command line and answers every prompt on the socket `--uds`. `engine.env` says how it behaves:

    ANSWER_IDS       the token ids of its one answer, as JSON
    DELAY_S          seconds for each answer
    STARTS           folder: each start leaves a JSON file there with its environment, arguments and user
    DEAD_GPUS        GPU addresses on which it cannot start
    FAILS, FAILURE   how many starts fail at each GPU, and the message with which they do
    GPU_LOCKS        folder: a GPU is held exclusively by a lock on a file in it
"""

import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.faulty_server import FaultyServer, always, slow

FREE_MEMORY = (
    "ValueError: Free memory on device cuda:0 (1.5/79.2 GiB) on startup is less than desired GPU memory utilization "
    "(0.9, 71.3 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes."
)
DEAD_GPU = "RuntimeError: No CUDA GPUs are available"


def main() -> None:
    """Fail as the environment says, or serve until the process ends."""
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "none").split(",")
    earlier = _record_start(gpus)
    if {*gpus} & {*os.environ.get("DEAD_GPUS", "").split(",")}:
        sys.exit(DEAD_GPU)
    if earlier < int(os.environ.get("FAILS", "0")):
        sys.exit(os.environ.get("FAILURE", DEAD_GPU))
    locks = [lock for gpu in gpus if (lock := _held(gpu))]
    socket = sys.argv[sys.argv.index("--uds") + 1]
    core = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(3600)"])
    script = always(slow(float(os.environ.get("DELAY_S", "0"))))
    with FaultyServer(script, unix=socket, token_ids=json.loads(os.environ["ANSWER_IDS"])):
        core.wait()
    del locks


def _record_start(gpus: list[str]) -> int:
    """Leave a file about this start; returns how many earlier ones these GPUs had."""
    starts = os.environ.get("STARTS")
    if starts is None:
        return 0
    folder, name = Path(starts), "+".join(gpus)
    earlier = len(list(folder.glob(f"{name}-*")))
    about = {"gpus": gpus, "uid": os.getuid(), "pid": os.getpid(), "argv": sys.argv, "env": {**os.environ}}
    draft = folder / f"draft-{time.time_ns()}"
    draft.write_text(json.dumps(about))
    draft.rename(folder / f"{name}-{time.time_ns()}.json")
    return earlier


def _held(gpu: str) -> object:
    """An open, locked file for a GPU; exits as vLLM does if another process holds it."""
    folder = os.environ.get("GPU_LOCKS")
    if folder is None:
        return None
    file = open(Path(folder) / gpu, "a")  # noqa: SIM115  held until this process ends
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(FREE_MEMORY)
    return file


if __name__ == "__main__":
    main()
