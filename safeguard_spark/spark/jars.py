"""Jars: the one with our log stores, and the packages of a local session, found again without resolving them each time.

Spark resolves `spark.jars.packages` at every start, which takes seconds, and a local session then copies every jar for
the executor that it is itself. So the files that a first start resolved are kept in a list, and a later local session
has them on its class path, after Spark's own.
"""

import contextlib
import json
import os
import shlex
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pyspark
from py4j.java_gateway import JavaPackage  # type: ignore[import-untyped]
from pyspark.sql import SparkSession

from safeguard_spark.keys import sha256
from safeguard_spark.whole_files import write_files

CLASS_PATH = "SPARK_DIST_CLASSPATH"  # Spark puts it after its own jars
PACKAGES, JARS = "spark.jars.packages", "spark.jars"  # delta-spark sets packages anew, with those it is given
S3_LOG_STORE, LOCAL_LOG_STORE = "safeguard.S3LogStore", "safeguard.LocalLogStore"
LOG_STORES_JAR = Path(__file__).with_name("log-stores.jar")  # built from java/ by tools/jar.py


def has_class(jvm: Any, name: str) -> bool:
    """Whether a JVM finds a class."""
    return not isinstance(reduce(getattr, name.split("."), jvm), JavaPackage)  # to Py4J, a name that is no class


def with_jars(arguments: str | None, jars: str) -> str:
    """Arguments of PySpark's command that starts the JVM, with jars beside those that they name."""
    *options, last = shlex.split(arguments or "pyspark-shell")
    named = list[str]()
    while "--jars" in options:
        position = options.index("--jars")
        named += options[position + 1 : position + 2]
        del options[position : position + 2]
    return shlex.join(["--jars", ",".join([*named, jars]), *options, last])


class ResolvedJars:
    """The files of some packages and our own jar, if an earlier session of this user resolved them."""

    def __init__(self, packages: str) -> None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        self.list = (
            cache / "safeguard-spark" / f"jars-{sha256([packages, str(LOG_STORES_JAR), pyspark.__version__])[:16]}.json"
        )

    def files(self) -> list[str]:
        """The files, ours among them, or none if they are not known or one of them is gone."""
        try:
            files = [str(file) for file in json.loads(self.list.read_text(encoding="utf-8"))]
        except (OSError, ValueError, TypeError):
            return []
        is_whole = str(LOG_STORES_JAR) in files and all(Path(file).is_file() for file in files)
        return files if is_whole else []

    @contextlib.contextmanager
    def on_class_path(self, builder: Any) -> Iterator[None]:
        """Within the block, start Spark with the files rather than with packages, if they are known."""
        files, before = self.files(), os.environ.get(CLASS_PATH)
        if not files:
            yield
            return
        builder._options.pop(PACKAGES, None)
        os.environ[CLASS_PATH] = ":".join(filter(None, [before, *files]))
        try:
            yield
        finally:
            if before is None:
                del os.environ[CLASS_PATH]
            else:
                os.environ[CLASS_PATH] = before

    def remember(self, spark: SparkSession) -> None:
        """Keep the files that this session resolved, if ours is one of them: another session may need it.

        Where that cannot be written, the next session resolves again.
        """
        jvm: Any = spark._jvm
        resolved = jvm.java.lang.System.getProperty(JARS, "")  # the session's own setting is what it was given
        files = [unquote(urlparse(jar).path) for jar in resolved.split(",") if jar.startswith("file:")]
        if str(LOG_STORES_JAR) not in files or self.files():
            return
        with contextlib.suppress(OSError):
            write_files({self.list: json.dumps(files)}, make_folders=True)
