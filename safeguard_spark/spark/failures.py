"""Failures of Spark jobs: how to recognize them, and one line about each that contains no row's values."""

import re
from collections.abc import Iterator
from typing import Any

from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]
from pyspark.errors import PySparkException

# PySpark converts only some JVM exceptions to its own; the exception of a failed job is not among them.
FAILED = (PySparkException, Py4JJavaError)
CONFLICTS = ("Concurrent", "MetadataChanged", "ProtocolChanged", "DELTA_CONCURRENT", "ALREADY_EXISTS", "DELTA_METADATA")
MAX_CAUSES = 20


def is_conflict(error: Exception) -> bool:
    """Whether a commit lost to another writer. Python knows Delta's exceptions only by class name or condition."""
    java = _java(error)
    name = java.getClass().getName() if java is not None else ""
    return any(word in f"{_condition(error)} {name} {type(error).__name__}" for word in CONFLICTS)


def failure_cause(error: Exception) -> str:
    """One line about a Spark error that contains no row's values."""
    if cause := storage_cause(error):
        return cause
    if isinstance(error, Py4JJavaError):
        # The message of a failed job quotes its tasks' messages, which may contain rows.
        root = [*_chain(error.java_exception)][-1]
        return str(root.getClass().getSimpleName())
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return re.sub(r"violated by row with.*", "violated", line)[:300]


def storage_cause(error: Exception) -> str | None:
    """The file system's error if it made the job fail (full disk, missing permission, missing file), else None."""
    for java in reversed([*_chain(_java(error))]):
        if _is(java, "java.io.IOException") and not _is(java, "java.io.EOFException", "java.net.SocketException"):
            message = " ".join(str(java.getMessage() or "").split())
            return f"{java.getClass().getSimpleName()}: {message}"[:300]
    return None


def _java(error: Exception) -> Any:
    return getattr(error, "java_exception", None) or getattr(error, "_origin", None)


def _condition(error: Exception) -> str:
    return (error.getCondition() or "") if isinstance(error, PySparkException) else ""


def _chain(java: Any) -> Iterator[Any]:
    """A JVM exception and its causes, the outermost first."""
    for _ in range(MAX_CAUSES):
        if java is None:
            return
        yield java
        java = java.getCause()


def _is(java: Any, *names: str) -> bool:
    from py4j.java_gateway import is_instance_of  # type: ignore[import-untyped]
    from pyspark import SparkContext

    gateway = SparkContext._gateway
    return gateway is not None and any(is_instance_of(gateway, java, name) for name in names)
