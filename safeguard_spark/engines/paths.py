"""The folders of an executor's server, and which executor this process belongs to."""

import hashlib
import json
import os
import stat
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from safeguard_spark.config.engine import VllmConfig
from safeguard_spark.engines.processes import ProcessId
from safeguard_spark.errors import EngineError

SOCKET_BYTES = 107 if sys.platform == "linux" else 103  # sun_path without its final NUL
# vLLM names sockets of its own by a UUID in the same folder.
NAME_BYTES = len("/safeguard-4294967295/0123456789-01234567/") + 36


class ServerPaths(NamedTuple):
    """`folder` holds state and logs. `sockets` is the same folder, or a shorter one if that path is too long."""

    folder: Path
    sockets: Path

    @property
    def socket(self) -> Path:
        """The server's socket."""
        return self.sockets / "s"

    def create(self, *, sockets: bool = True) -> None:
        """Create both folders, private to this user. Raises EngineError if they are not private or cannot be created.

        A folder for the sockets alone is deleted with the server: with `sockets=False` it is checked if present, and
        not created.
        """
        for folder in dict.fromkeys((self.folder, self.sockets)):
            if folder == self.folder or sockets or folder.exists():
                for level in (folder.parent, folder):
                    _create_private(level)

    def siblings(self) -> list[Path]:
        """Folders of this executor's servers with other settings."""
        executor = self.folder.name.partition("-")[0]
        return [path for path in self.folder.parent.glob(f"{executor}-*") if path != self.folder]


def server_paths(config: VllmConfig, owner: ProcessId, devices: list[str]) -> ServerPaths:
    """The paths of the server of `owner`'s executor: one per executor and settings that need a server of their own."""
    settings = [config.model, config.revision, config.python, config.env, config.args, devices]
    name = f"{_short(f'{owner.pid}-{owner.start_ticks}', 10)}-{_short(json.dumps(settings, sort_keys=True), 8)}"
    user = f"safeguard-{os.getuid()}"
    base = Path(config.work_dir or tempfile.gettempdir()).expanduser().absolute()
    if len(os.fsencode(base)) + NAME_BYTES <= SOCKET_BYTES:
        return ServerPaths(base / user / name, base / user / name)
    # Long on YARN, where the temporary folder is the container's. The short name must be as distinct as the long path.
    return ServerPaths(base / user / name, Path("/tmp") / user / f"{_short(str(base) + name, 10)}-s")


def executor_process() -> ProcessId:
    """The process that lives as long as the executor this runs in.

    In a Spark task that is the Python worker's parent, Spark's Python daemon; elsewhere this process itself.
    """
    context = getattr(sys.modules.get("pyspark.taskcontext"), "TaskContext", None)
    return ProcessId.of(os.getppid() if context is not None and context.get() is not None else os.getpid())


def _create_private(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = folder.lstat()
    except OSError as error:
        raise EngineError(
            f"{folder} cannot be created: {error.strerror}; set engine.work_dir to a folder that you may write."
        ) from error
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid() or info.st_mode & 0o077:
        raise EngineError(f"{folder} is not private to this user; remove it, or set engine.work_dir to another folder.")


def _short(text: str, length: int) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:length]
