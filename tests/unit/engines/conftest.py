"""An executor of its own for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.executor import Executor


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[Executor]:
    folder = tmp_path / "e ü"  # spaces and Unicode in every path
    folder.mkdir()
    executor = Executor(folder)
    yield executor
    executor.end()
