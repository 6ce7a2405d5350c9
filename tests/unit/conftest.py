"""Fixtures of unit tests: the command line as a user runs it, in an empty folder, and an empty registry."""

from pathlib import Path

import pytest

from safeguard_spark.cli.app import run_command
from safeguard_spark.tracking.registry import Registry
from tests.unit.commands import CommandResult, Safeguard


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty registry with its tables: creating the tables takes seconds, copying the file does not."""
    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    Registry(f"sqlite:///{file}").names()
    return file


@pytest.fixture
def safeguard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Safeguard:
    """`safeguard("check", "spam")` runs in `tmp_path`, with no settings from the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def run(*argv: str) -> CommandResult:
        capsys.readouterr()
        code = run_command(argv)
        return CommandResult(code, *capsys.readouterr())

    return run
