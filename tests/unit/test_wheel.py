"""The wheel holds the package with its weights and settings, and no tools, tests or training code."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tools import rooms

pytestmark = pytest.mark.unit
METADATA = "safeguard_spark-"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built without a network, from a copy: a build leaves files in the folder it runs in."""
    source = tmp_path_factory.mktemp("source")
    for folder in ("safeguard_spark", "tools", "tests", "jobs"):
        shutil.copytree(rooms.ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(rooms.ROOT / file, source)
    build = "from setuptools.build_meta import build_wheel; build_wheel('dist')"
    subprocess.run((sys.executable, "-c", build), cwd=source, check=True, capture_output=True)
    (built,) = (source / "dist").iterdir()
    return built


def test_the_wheel_holds_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    files = {name for name in zipfile.ZipFile(wheel).namelist() if not name.startswith(METADATA)}
    package = (rooms.ROOT / rooms.PACKAGE).rglob("*")
    assert files == {
        str(path.relative_to(rooms.ROOT)) for path in package if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"safeguard_spark/demo/weights/demo.safetensors", "safeguard_spark/spark/ivysettings.xml"} <= files


def test_the_wheel_holds_no_training_code(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        imports = [
            found
            for name in archive.namelist()
            if name.endswith(".py")
            for found in rooms.imports(archive.read(name).decode(), name)
        ]
    assert len(imports) > 500
    assert [found for found in imports if found.module.partition(".")[0] in ("torch", "tools", "tests")] == []


def test_every_package_that_an_installation_brings_is_imported() -> None:
    project = tomllib.loads((rooms.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = {re.split("[<>=]", requirement)[0].lower() for requirement in project["dependencies"]}
    files = [rooms.ROOT / file for file in rooms.source_files()]
    imports = [found for file in files for found in rooms.imports(file.read_text(encoding="utf-8"), file.name)]
    brought_by = packages_distributions()
    names = [name for found in imports for name in brought_by.get(found.module.partition(".")[0], ())]
    assert required - {name.lower().replace("_", "-") for name in names} == set()
