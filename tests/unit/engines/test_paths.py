"""An executor's folders: private, and beside those of its other servers."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from safeguard_spark.config.model import EngineConfig
from safeguard_spark.engines.paths import SOCKET_BYTES, ServerPaths, server_paths
from safeguard_spark.errors import EngineError

pytestmark = pytest.mark.unit


PLACES: list[ServerPaths] = []


def made(base: Path, key: str = "1-2", seqs: int = 1) -> ServerPaths:
    engine = EngineConfig.model_validate({"model": "m", "work_dir": str(base), "args": {"max_num_seqs": seqs}})
    PLACES.append(server_paths(engine, key, []))
    return PLACES[-1]


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Sockets' folders are outside the test's own where that is long."""
    yield
    while PLACES:
        with contextlib.suppress(OSError):
            PLACES.pop().sockets.rmdir()


def test_folders_are_made_private_and_making_them_again_is_fine(tmp_path: Path) -> None:
    at = made(tmp_path)
    for _ in range(2):
        at.create()
    for folder in (at.folder, at.folder.parent, at.sockets):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(os.fsencode(at.socket)) <= SOCKET_BYTES and at.socket.parent == at.sockets


def test_a_sockets_folder_of_its_own_is_made_when_a_server_starts_and_not_before(tmp_path: Path) -> None:
    at = made(tmp_path / ("d" * 120))
    at.create(sockets=False)
    assert at.folder.exists() and not at.sockets.exists()
    at.create()
    assert stat.S_IMODE(at.sockets.stat().st_mode) == 0o700
    at.create(sockets=False)
    at.sockets.chmod(0o755)
    with pytest.raises(EngineError, match="not private to this user"):
        at.create(sockets=False)


def test_siblings_are_the_same_executors_servers_with_other_settings(tmp_path: Path) -> None:
    mine, other, stranger = made(tmp_path), made(tmp_path, seqs=2), made(tmp_path, key="1-3")
    for at in (mine, other, stranger):
        at.create()
    assert mine.siblings() == [other.folder] and stranger.siblings() == []


@pytest.mark.parametrize("level", ["parent", "self"])
def test_something_else_at_the_place_is_the_operators_error(tmp_path: Path, level: str) -> None:
    at = made(tmp_path)
    wrong = at.folder.parent if level == "parent" else at.folder
    wrong.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    wrong.write_text("not a folder")
    with pytest.raises(EngineError, match=r"set engine\.work_dir"):
        at.create()


def test_a_link_somebody_laid_is_not_followed(tmp_path: Path) -> None:
    at = made(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    at.folder.parent.mkdir(mode=0o700)
    at.folder.symlink_to(elsewhere)
    with pytest.raises(EngineError, match="not private to this user"):
        at.create()
