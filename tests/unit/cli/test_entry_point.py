"""The scripts that an installation puts on the path lead to functions that exist."""

import os
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit
SCRIPTS = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "scripts"
]


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_script_of_the_package_can_be_loaded(name: str) -> None:
    assert callable(EntryPoint(name, SCRIPTS[name], "console_scripts").load())


@pytest.mark.parametrize(("out", "code", "message"), [("/dev/full", 1, "No space left"), (None, 0, "")])
def test_a_command_whose_output_goes_nowhere_says_so_in_a_sentence(out: str | None, code: int, message: str) -> None:
    target = ">&-" if out is None else f"> {out}"
    command = f"'{sys.executable}' -m safeguard_spark --version {target}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env={**os.environ}, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert message in done.stderr
