"""The folders of an executor's server: private, and next to those of its other servers."""

import contextlib
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from safeguard_spark.config.engine import VllmConfig
from safeguard_spark.engines.paths import server_path
from safeguard_spark.engines.processes import ProcessId
from safeguard_spark.engines.server_folder import SOCKET_BYTES, ServerFolder
from safeguard_spark.errors import EngineError

pytestmark = pytest.mark.unit


CREATED: list[ServerFolder] = []


def folder_of(base: Path, owner: ProcessId = ProcessId(1, "2"), seqs: int = 1) -> ServerFolder:
    config = VllmConfig.model_validate({"model": "m", "work_dir": str(base), "args": {"max_num_seqs": seqs}})
    CREATED.append(ServerFolder(server_path(config, owner, [])))
    return CREATED[-1]


@pytest.fixture(autouse=True)
def delete_socket_folders() -> Iterator[None]:
    """They are outside the test's folder where that has a long path."""
    yield
    while CREATED:
        with contextlib.suppress(OSError):
            CREATED.pop().sockets.rmdir()


def test_folders_are_created_private_and_may_exist_already(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    for _ in range(2):
        folder.create()
    for path in (folder.path, folder.path.parent, folder.sockets):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert len(os.fsencode(folder.socket)) <= SOCKET_BYTES and folder.socket.parent == folder.sockets


def test_a_separate_sockets_folder_is_created_when_a_server_starts_and_not_before(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / ("d" * 120))
    folder.create(sockets=False)
    assert folder.path.exists() and not folder.sockets.exists()
    folder.create()
    assert stat.S_IMODE(folder.sockets.stat().st_mode) == 0o700
    folder.create(sockets=False)
    folder.sockets.chmod(0o755)
    with pytest.raises(EngineError, match="not private to this user"):
        folder.create(sockets=False)


def test_siblings_are_the_same_executors_servers_with_other_settings(tmp_path: Path) -> None:
    first, second, other_executor = (
        folder_of(tmp_path),
        folder_of(tmp_path, seqs=2),
        folder_of(tmp_path, owner=ProcessId(1, "3")),
    )
    for folder in (first, second, other_executor):
        folder.create()
    assert [sibling.path for sibling in first.siblings()] == [second.path] and other_executor.siblings() == []


@pytest.mark.parametrize("level", ["parent", "self"])
def test_a_file_in_place_of_a_folder_is_the_operators_error(tmp_path: Path, level: str) -> None:
    folder = folder_of(tmp_path)
    wrong = folder.path.parent if level == "parent" else folder.path
    wrong.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    wrong.write_text("not a folder")
    with pytest.raises(EngineError, match=r"set engine\.work_dir"):
        folder.create()


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    folder.path.parent.mkdir(mode=0o700)
    folder.path.symlink_to(elsewhere)
    with pytest.raises(EngineError, match="not private to this user"):
        folder.create()


def test_executors_in_other_pid_namespaces_have_folders_of_their_own(tmp_path: Path) -> None:
    program = (
        "from safeguard_spark.config.engine import VllmConfig; from safeguard_spark.engines.paths import server_path; "
        "from safeguard_spark.engines.processes import ProcessId; "
        f"print(server_path(VllmConfig(model='m', work_dir={str(tmp_path)!r}), ProcessId(7, '9'), []))"
    )
    python = [sys.executable, "-c", program]
    namespace = ["unshare", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode:
        pytest.skip("pid namespaces are not allowed here")
    outside, again, inside = (subprocess.check_output(command) for command in (python, python, [*namespace, *python]))
    assert outside == again != inside
