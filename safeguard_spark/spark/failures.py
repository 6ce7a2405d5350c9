"""Failures of Spark jobs: which they are, and one line on each that quotes no row."""

import re
from collections.abc import Iterator
from typing import Any

from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]
from pyspark.errors import PySparkException

# PySpark turns only some of the JVM's exceptions into its own; a job that failed is not one of them.
FAILED = (PySparkException, Py4JJavaError)
CONFLICTS = ("Concurrent", "MetadataChanged", "ProtocolChanged", "DELTA_CONCURRENT", "ALREADY_EXISTS", "DELTA_METADATA")
DEEPEST = 20


def is_conflict(error: Exception) -> bool:
    """Whether Delta lost a race. Python sees Delta's exceptions only by the name of their class or condition."""
    java = _java(error)
    name = java.getClass().getName() if java is not None else ""
    return any(word in f"{_condition(error)} {name} {type(error).__name__}" for word in CONFLICTS)


def failure_cause(error: Exception) -> str:
    """One line of a Spark error without values of rows."""
    if said := storage_cause(error):
        return said
    if isinstance(error, Py4JJavaError):
        # The message of a failed job quotes its tasks' messages, and those may quote rows.
        inner = [*_chain(error.java_exception)][-1]
        return str(inner.getClass().getSimpleName())
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return re.sub(r"violated by row with.*", "violated", line)[:300]


def storage_cause(error: Exception) -> str | None:
    """What a file system said, if it is what made a job fail: a full disk, a missing right, a file that is gone."""
    for java in reversed([*_chain(_java(error))]):
        if _is(java, "java.io.IOException") and not _is(java, "java.io.EOFException", "java.net.SocketException"):
            said = " ".join(str(java.getMessage() or "").split())
            return f"{java.getClass().getSimpleName()}: {said}"[:300]
    return None


def _java(error: Exception) -> Any:
    return getattr(error, "java_exception", None) or getattr(error, "_origin", None)


def _condition(error: Exception) -> str:
    return (error.getCondition() or "") if isinstance(error, PySparkException) else ""


def _chain(java: Any) -> Iterator[Any]:
    """A JVM exception and what caused it, the outermost first."""
    for _ in range(DEEPEST):
        if java is None:
            return
        yield java
        java = java.getCause()


def _is(java: Any, *names: str) -> bool:
    from py4j.java_gateway import is_instance_of  # type: ignore[import-untyped]
    from pyspark import SparkContext

    gateway = SparkContext._gateway
    return gateway is not None and any(is_instance_of(gateway, java, name) for name in names)
