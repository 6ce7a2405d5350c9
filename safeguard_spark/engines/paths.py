"""Which executor this process belongs to, and the path of the folder of its server."""

import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path

from safeguard_spark.config.engine import VllmConfig
from safeguard_spark.engines.processes import ProcessId, machine_id


def server_path(config: VllmConfig, owner: ProcessId, devices: list[str]) -> Path:
    """The folder of a server: one per executor, that of `owner`, and per settings that need a server of their own."""
    settings = [config.model, config.revision, config.python, config.command, config.env, config.args, devices]
    executor = f"{machine_id()}-{owner.pid}-{owner.start_ticks}"  # executors in other pid namespaces share a folder
    name = f"{_short(executor, 10)}-{_short(json.dumps(settings, sort_keys=True), 8)}"
    base = Path(config.work_dir or tempfile.gettempdir()).expanduser().absolute()
    return base / f"safeguard-{os.getuid()}" / name


def server_home(path: Path) -> Path:
    """The home folder of the server whose folder is `path`: this user's own, or one that its servers have in common.

    On a cluster a user's home is often missing or not writable, and what vLLM and its libraries compile or download is
    kept below it.
    """
    own = os.environ.get("HOME", "")
    if own and os.path.isdir(own) and os.access(own, os.W_OK | os.X_OK):  # noqa: PTH112
        return Path(own)
    return path.parent / "home"


def executor_process() -> ProcessId:
    """The process that lives as long as the executor this runs in.

    In a Spark task that is the Python worker's parent, Spark's Python daemon; elsewhere this process itself.
    """
    context = getattr(sys.modules.get("pyspark.taskcontext"), "TaskContext", None)
    return ProcessId.of(os.getppid() if context is not None and context.get() is not None else os.getpid())


def _short(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]
