"""Failures of Spark jobs: which to try again, and one line about each that contains no row's values."""

import re
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]
from pyspark.errors import PySparkException

from safeguard_spark.errors import TableError
from safeguard_spark.extras import require

try:
    from delta import exceptions
    from delta.exceptions import captured  # noqa: F401  without it Delta 4.0 and 4.1 do not convert their exceptions
except ModuleNotFoundError:
    require("delta")  # which drivers need, and executors do not
    raise

CONFLICTS = tuple(getattr(exceptions, name) for name in exceptions.__all__)
# PySpark converts only some JVM exceptions to its own; the exception of a failed job is not among them.
FAILED = (PySparkException, Py4JJavaError)
# What a driver gets that creates a table while another one does: it is there, or its folder but not yet its log.
CREATED_MEANWHILE = (
    "TABLE_OR_VIEW_ALREADY_EXISTS",
    "DELTA_TABLE_ALREADY_EXISTS",
    "DELTA_CREATE_TABLE_WITH_NON_EMPTY_LOCATION",
    "DELTA_TABLE_NOT_FOUND",
    "TABLE_OR_VIEW_NOT_FOUND",  # of a view that Spark 4.0 drops before it creates the new one
)
TRIES = 20  # attempts at a commit that loses to other writers
MAX_CAUSES = 20

Result = TypeVar("Result")


def retrying(operation: Callable[[], Result], problem: str, tries: int = TRIES) -> Result:
    """An operation's result, tried again while it loses to other writers. Raises TableError: `problem`, the cause."""
    attempt = 0
    while True:
        try:
            return operation()
        except FAILED as error:
            attempt += 1
            if not is_conflict(error):
                raise TableError(f"{problem}: {failure_cause(error)}") from error
            if attempt == tries:
                lost = f"{tries} attempts in a row lost to other writers ({failure_cause(error)})"
                raise TableError(f"{problem}: {lost}. Start fewer runs at once.") from error
            time.sleep(0.1 * attempt)


def is_conflict(error: Exception) -> bool:
    """Whether a commit, or the creation of a table, lost to another writer."""
    return isinstance(error, CONFLICTS) or _condition(error) in CREATED_MEANWHILE


def is_denied(error: BaseException | None) -> bool:
    """Whether a Spark error says that the user lacks a right."""
    return _names(error, r"Permission denied|AccessDenied|AccessControl|PERMISSION|UNAUTHORIZED")


def is_gone(error: BaseException | None) -> bool:
    """Whether a Spark error says that a version of a table is no longer in its log, or that its files are deleted."""
    return _names(error, r"DELTA_VERSION_NOT_FOUND|DELTA_NO_RECREATABLE_HISTORY|FileNotFoundException(?!.*denied)")


def _names(error: BaseException | None, pattern: str) -> bool:
    """Whether a Spark error's condition or its file system's error match a pattern."""
    return isinstance(error, FAILED) and bool(re.search(pattern, f"{_condition(error)} {storage_cause(error)}"))


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


def causes(error: Exception) -> list[Any]:
    """The JVM exception behind an error and its causes, the outermost first."""
    return [*_chain(_java(error))]


def first_sentence(error: Exception) -> str:
    """Spark's own sentence about a name, a type or a path; it quotes no rows."""
    text = " ".join(str(error).split("SQLSTATE")[0].split())
    return re.sub(r"^\[[A-Z_.]+\]\s*", "", text).split(". ")[0].rstrip(". ") + "."


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
