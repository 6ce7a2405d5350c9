"""Jars that a first start resolved, found again by the next one."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from safeguard_spark.spark.jars import CLASS_PATH, PACKAGES, ResolvedJars

pytestmark = pytest.mark.unit


@pytest.fixture
def jars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ResolvedJars:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(CLASS_PATH, "/of/the/platform")
    return ResolvedJars("io.delta:delta:1")


def keep(jars: ResolvedJars, *files: Path) -> None:
    jars.list.parent.mkdir(parents=True, exist_ok=True)
    jars.list.write_text(json.dumps([str(file) for file in files]))


def test_known_files_stand_on_the_class_path_in_place_of_the_packages(jars: ResolvedJars, tmp_path: Path) -> None:
    first, second = (tmp_path / name for name in ("a.jar", "b.jar"))
    first.touch(), second.touch()
    keep(jars, first, second)
    builder = SimpleNamespace(_options={PACKAGES: "io.delta:delta:1", "spark.app.name": "a"})
    with jars.on_class_path(builder):
        assert os.environ[CLASS_PATH] == f"/of/the/platform:{first}:{second}"
        assert builder._options == {"spark.app.name": "a"}
    assert os.environ[CLASS_PATH] == "/of/the/platform"


@pytest.mark.parametrize("text", ["", "{", "7", '["/no/such/file.jar"]'])
def test_packages_are_resolved_again_if_the_files_are_not_known(jars: ResolvedJars, text: str) -> None:
    keep(jars)
    jars.list.write_text(text)
    builder = SimpleNamespace(_options={PACKAGES: "io.delta:delta:1"})
    with jars.on_class_path(builder):
        assert builder._options == {PACKAGES: "io.delta:delta:1"}
        assert os.environ[CLASS_PATH] == "/of/the/platform"


def test_other_packages_have_another_list(jars: ResolvedJars) -> None:
    assert jars.list != ResolvedJars("io.delta:delta:2").list
