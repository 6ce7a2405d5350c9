"""The jar of the log stores is what its source compiles to."""

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from safeguard_spark.spark.jars import LOCAL_LOG_STORE, LOG_STORES_JAR, S3_LOG_STORE
from tools.jar import JAVA, compiled

pytestmark = pytest.mark.spark


def test_the_jar_of_the_log_stores_is_what_its_source_compiles_to() -> None:
    if not shutil.which("javac"):
        pytest.skip("no javac: a JDK compiles the source, and here is none")
    version = subprocess.run(["javac", "-version"], capture_output=True, text=True, check=True).stdout
    if not version.startswith(f"javac {JAVA}."):
        pytest.skip(f"{version.strip()} may compile to other bytes than that of Java {JAVA}")
    if not any(Path.home().glob(".ivy2*/jars/io.delta_delta-storage-*.jar")):
        pytest.skip("no Spark session has resolved Delta's jars yet")
    with zipfile.ZipFile(LOG_STORES_JAR) as jar:
        in_jar = {name: jar.read(name) for name in jar.namelist()}
    assert in_jar == compiled(), "Run python -m tools.jar."
    assert in_jar.keys() == {f"{name.replace('.', '/')}.class" for name in (S3_LOG_STORE, LOCAL_LOG_STORE)}
