"""The folders of an executor's server: private, and next to those of its other servers."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from safeguard_spark.config.engine import VllmConfig
from safeguard_spark.engines.paths import SOCKET_BYTES, ServerPaths, server_paths
from safeguard_spark.engines.processes import ProcessId
from safeguard_spark.errors import EngineError

pytestmark = pytest.mark.unit


CREATED: list[ServerPaths] = []


def paths_of(base: Path, owner: ProcessId = ProcessId(1, "2"), seqs: int = 1) -> ServerPaths:
    config = VllmConfig.model_validate({"model": "m", "work_dir": str(base), "args": {"max_num_seqs": seqs}})
    CREATED.append(server_paths(config, owner, []))
    return CREATED[-1]


@pytest.fixture(autouse=True)
def delete_socket_folders() -> Iterator[None]:
    """They are outside the test's folder where that has a long path."""
    yield
    while CREATED:
        with contextlib.suppress(OSError):
            CREATED.pop().sockets.rmdir()


def test_folders_are_created_private_and_may_exist_already(tmp_path: Path) -> None:
    paths = paths_of(tmp_path)
    for _ in range(2):
        paths.create()
    for folder in (paths.folder, paths.folder.parent, paths.sockets):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(os.fsencode(paths.socket)) <= SOCKET_BYTES and paths.socket.parent == paths.sockets


def test_a_separate_sockets_folder_is_created_when_a_server_starts_and_not_before(tmp_path: Path) -> None:
    paths = paths_of(tmp_path / ("d" * 120))
    paths.create(sockets=False)
    assert paths.folder.exists() and not paths.sockets.exists()
    paths.create()
    assert stat.S_IMODE(paths.sockets.stat().st_mode) == 0o700
    paths.create(sockets=False)
    paths.sockets.chmod(0o755)
    with pytest.raises(EngineError, match="not private to this user"):
        paths.create(sockets=False)


def test_siblings_are_the_same_executors_servers_with_other_settings(tmp_path: Path) -> None:
    first, second, other_executor = (
        paths_of(tmp_path),
        paths_of(tmp_path, seqs=2),
        paths_of(tmp_path, owner=ProcessId(1, "3")),
    )
    for paths in (first, second, other_executor):
        paths.create()
    assert first.siblings() == [second.folder] and other_executor.siblings() == []


@pytest.mark.parametrize("level", ["parent", "self"])
def test_a_file_in_place_of_a_folder_is_the_operators_error(tmp_path: Path, level: str) -> None:
    paths = paths_of(tmp_path)
    wrong = paths.folder.parent if level == "parent" else paths.folder
    wrong.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    wrong.write_text("not a folder")
    with pytest.raises(EngineError, match=r"set engine\.work_dir"):
        paths.create()


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    paths = paths_of(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    paths.folder.parent.mkdir(mode=0o700)
    paths.folder.symlink_to(elsewhere)
    with pytest.raises(EngineError, match="not private to this user"):
        paths.create()
