"""`--log-level` anywhere on a command line: our lines on stderr with time and level; of libraries only warnings."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.commands import Safeguard

pytestmark = pytest.mark.unit

PROGRAM = """
import logging, sys
from safeguard_spark.cli.app import run_command
code = run_command(sys.argv[1:])
for name in ("safeguard_spark.spark", "py4j", "pyspark", "mlflow"):
    for level in (logging.DEBUG, logging.INFO, logging.WARNING):
        logging.getLogger(name).log(level, name)
sys.exit(code)
"""
LIBRARIES = ["WARNING py4j", "WARNING pyspark", "WARNING mlflow"]


def logged(folder: Path, *argv: str, **variables: str) -> list[str]:
    """Level and text of each line that is logged after a command."""
    (folder / "policies").mkdir(exist_ok=True)
    program = [sys.executable, "-c", PROGRAM, *argv]
    done = subprocess.run(
        program, cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True, check=True
    )
    lines = [re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (.*)", line) for line in done.stderr.splitlines()]
    return [line[1] for line in lines if line]


@pytest.mark.parametrize("argv", [["list", "--log-level", "info"], ["--log-level=INFO", "list"]], ids=str)
def test_the_level_is_that_of_our_own_messages(tmp_path: Path, argv: list[str]) -> None:
    assert logged(tmp_path, *argv) == ["INFO safeguard_spark.spark", "WARNING safeguard_spark.spark", *LIBRARIES]


def test_the_level_may_come_from_the_environment_and_is_warning_by_default(tmp_path: Path) -> None:
    assert logged(tmp_path, "list") == ["WARNING safeguard_spark.spark", *LIBRARIES]
    assert logged(tmp_path, "list", SAFEGUARD_LOG_LEVEL="error") == LIBRARIES
    debug = logged(tmp_path, "list", "--log-level", "debug", SAFEGUARD_LOG_LEVEL="error")
    assert debug[0] == "DEBUG safeguard_spark.spark"


@pytest.mark.parametrize("argv", [["list", "--log-level"], ["list", "--log-level", "loud"]], ids=str)
def test_a_level_that_does_not_exist_is_a_usage_error(safeguard: Safeguard, argv: list[str]) -> None:
    ran = safeguard(*argv)
    assert ran.code == 2 and "give one of debug, info, warning, error" in ran.err
    assert ran.err.startswith("Error: --log-level")


@pytest.mark.parametrize(("name", "allowed"), [("LEVEL", "debug, info"), ("FORMAT", "text, json")])
def test_what_is_wrong_in_the_environment_is_blamed_on_the_environment(
    safeguard: Safeguard, monkeypatch: pytest.MonkeyPatch, name: str, allowed: str
) -> None:
    monkeypatch.setenv(f"SAFEGUARD_LOG_{name}", "loud")
    ran = safeguard("list")
    assert ran.code == 2 and ran.err.startswith(f"Error: SAFEGUARD_LOG_{name} loud: give one of {allowed}")
    ran = safeguard("list", f"--log-{name.lower()}", "louder")
    assert ran.code == 2 and ran.err.startswith(f"Error: --log-{name.lower()} louder: give one of {allowed}")
    monkeypatch.setenv(f"SAFEGUARD_LOG_{name}", "")  # as if it were not set
    assert "SAFEGUARD_LOG" not in safeguard("list").err
