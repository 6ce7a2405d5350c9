"""Fixtures that are slow to make, so that the processes of a test run share one."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from safeguard_spark.demo.model import model_path
from safeguard_spark.tracking.registry import Registry


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time is in this block for a folder."""
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def empty_store(pytestconfig: pytest.Config) -> Path:
    """An empty registry with its tables: creating the tables takes seconds, so later test runs have it too."""
    folder = pytestconfig.cache.mkdir(f"mlflow-{version('mlflow')}")
    with locked(folder):
        if not (folder / "mlflow.db").exists():
            (folder / "new.db").unlink(missing_ok=True)
            Registry(f"sqlite:///{folder}/new.db").names()
            (folder / "new.db").rename(folder / "mlflow.db")
    return folder / "mlflow.db"


@pytest.fixture(scope="session")
def demo_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model's folder, made by this test run."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # all processes have this one
    with locked(folder):
        return model_path(folder / "models")
