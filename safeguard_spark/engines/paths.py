"""Where an executor's server keeps its files, and which executor this is."""

import hashlib
import json
import os
import stat
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from safeguard_spark.config.model import EngineConfig
from safeguard_spark.engines.processes import start_time
from safeguard_spark.errors import EngineError

SOCKET_BYTES = 107 if sys.platform == "linux" else 103  # sun_path without its final NUL
# vLLM names sockets of its own by a UUID in the same folder.
NAME_BYTES = len("/safeguard-4294967295/0123456789-01234567/") + 36


class ServerPaths(NamedTuple):
    """`folder` holds state and logs; `sockets` is the same, or a shorter one where its path is too long for them."""

    folder: Path
    sockets: Path

    @property
    def socket(self) -> Path:
        """The server's socket."""
        return self.sockets / "s"

    def create(self, *, sockets: bool = True) -> None:
        """Make both folders, private to this user. Raises EngineError if they are not or cannot be made.

        The sockets' own goes with the server: without `sockets` it is looked at if it is there, and not made.
        """
        for folder in dict.fromkeys((self.folder, self.sockets)):
            if folder == self.folder or sockets or folder.exists():
                for level in (folder.parent, folder):
                    _make_private(level)

    def siblings(self) -> list[Path]:
        """Folders of this executor's servers with other settings."""
        executor = self.folder.name.partition("-")[0]
        return [found for found in self.folder.parent.glob(f"{executor}-*") if found != self.folder]


def server_paths(config: EngineConfig, key: str, devices: list[str]) -> ServerPaths:
    """The place of an executor's server: one per executor and per settings that make it another server."""
    settings = [config.model, config.revision, config.python, config.env, config.args, devices]
    name = f"{_short(key, 10)}-{_short(json.dumps(settings, sort_keys=True), 8)}"
    ours = f"safeguard-{os.getuid()}"
    given = config.work_dir or tempfile.gettempdir()
    base = Path(given).expanduser().absolute()
    if len(os.fsencode(base)) + NAME_BYTES <= SOCKET_BYTES:
        return ServerPaths(base / ours / name, base / ours / name)
    # Long on YARN, where the temporary folder is the container's. The name must tell apart what the long path did.
    return ServerPaths(base / ours / name, Path("/tmp") / ours / f"{_short(str(base) + name, 10)}-s")


def executor_key() -> str:
    """The executor this runs in, as `<pid>-<birth>` of the process that lives as long as it does.

    In a Spark task that is the Python worker's parent, Spark's Python daemon; elsewhere this process itself.
    """
    context = getattr(sys.modules.get("pyspark.taskcontext"), "TaskContext", None)
    pid = os.getppid() if context is not None and context.get() is not None else os.getpid()
    return f"{pid}-{start_time(pid) or 0}"


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = folder.lstat()
    except OSError as error:
        raise EngineError(f"{folder} cannot be made: {error.strerror}; set engine.work_dir.") from error
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid() or info.st_mode & 0o077:
        raise EngineError(f"{folder} is not private to this user: remove it, or set engine.work_dir.")


def _short(text: str, length: int) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:length]
