"""Environments of their own for tools that are not ours, made from a package registry once and kept in the cache."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from tools import rooms

UV = Path(sys.executable).with_name("uv")
INSTALL_S = 540


def environment(cache: Path, *requirements: str) -> Path:
    """The `bin` folder of an environment with these requirements. Raises CalledProcessError."""
    name = hashlib.sha256("\n".join([sys.version, *requirements]).encode()).hexdigest()[:16]
    folder = cache / name
    if not (folder / "done").exists():
        shutil.rmtree(folder, ignore_errors=True)
        run(str(UV), "venv", "--quiet", "--python", sys.executable, str(folder))
        run(str(UV), "pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), *requirements)
        (folder / "done").touch()
    return folder / "bin"


def run(*command: str, folder: Path | None = None, env: dict[str, str] | None = None) -> str:
    """What a command prints. Raises AssertionError with all of its output if it fails."""
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=INSTALL_S)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def checkout(folder: Path) -> Path:
    """A copy of the files that are in version control, links as links."""
    for name in run("git", "ls-files", folder=rooms.ROOT).splitlines():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(rooms.ROOT / name, folder / name, follow_symlinks=False)
    return folder
