"""The scripts that an installation puts on the path lead to functions that exist."""

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
