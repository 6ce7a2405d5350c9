"""Jars that a first start resolved, found again by the next one; which sessions get our log store for folders."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from pyspark.sql import SparkSession

from safeguard_spark.spark.jars import (
    CLASS_PATH,
    JARS,
    LOCAL_LOG_STORE,
    LOG_STORES_JAR,
    PACKAGES,
    ResolvedJars,
    with_jars,
)
from safeguard_spark.spark.session import DATABRICKS, _local_log_store

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
    keep(jars, first, second, LOG_STORES_JAR)
    builder = SimpleNamespace(_options={PACKAGES: "io.delta:delta:1", "spark.app.name": "a"})
    with jars.on_class_path(builder):
        assert os.environ[CLASS_PATH] == f"/of/the/platform:{first}:{second}:{LOG_STORES_JAR}"
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


class Resolved:
    """A session that resolved these jars."""

    def __init__(self, *files: Path) -> None:
        jars = ",".join(file.as_uri() for file in files)
        properties = SimpleNamespace(getProperty=lambda key, default: {JARS: jars}.get(key, default))
        self._jvm = SimpleNamespace(java=SimpleNamespace(lang=SimpleNamespace(System=properties)))


def test_only_lists_with_our_jar_are_kept_and_used(jars: ResolvedJars, tmp_path: Path) -> None:
    delta = tmp_path / "delta 1.jar"
    delta.touch()
    jars.remember(cast(SparkSession, Resolved(delta)))  # a session whose settings name another log store
    assert not jars.list.exists()
    keep(jars, delta)  # by an earlier release
    assert jars.files() == []
    jars.remember(cast(SparkSession, Resolved(delta, LOG_STORES_JAR)))
    assert jars.files() == [str(delta), str(LOG_STORES_JAR)]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (None, "--jars file:/o%20r.jar pyspark-shell"),
        ("--name 'a b' pyspark-shell", "--jars file:/o%20r.jar --name 'a b' pyspark-shell"),
        ("--jars x.jar --name a pyspark-shell", "--jars x.jar,file:/o%20r.jar --name a pyspark-shell"),
    ],
)
def test_jars_stand_beside_those_that_the_environment_names(arguments: str | None, expected: str) -> None:
    assert with_jars(arguments, "file:/o%20r.jar") == expected


def test_other_packages_have_another_list(jars: ResolvedJars) -> None:
    assert jars.list != ResolvedJars("io.delta:delta:2").list


def test_another_installation_of_this_package_has_another_list(
    jars: ResolvedJars, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("safeguard_spark.spark.jars.LOG_STORES_JAR", Path("/other/log-stores.jar"))
    assert jars.list != ResolvedJars("io.delta:delta:1").list


def test_sessions_get_our_log_store_for_folders_unless_it_cannot_be_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(DATABRICKS, raising=False)
    assert _local_log_store({"spark.app.name": "a"}) == {"spark.delta.logStore.file.impl": LOCAL_LOG_STORE}
    for key in ("spark.delta.logStore.class", "delta.logStore.class"):
        assert _local_log_store({key: "com.example.Store"}) == {}
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("safeguard_spark.spark.session.LOG_STORES_JAR", Path("/venv [old]/log-stores.jar"))
        assert _local_log_store({}) == {}
    monkeypatch.setenv(DATABRICKS, "18.0")
    assert _local_log_store({}) == {}
