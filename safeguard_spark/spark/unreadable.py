"""Unreadable: why Spark cannot read a table, in one sentence that says what to do and quotes no row's values."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from py4j.protocol import Py4JError, Py4JNetworkError  # type: ignore[import-untyped]
from pyspark.errors import AnalysisException, PySparkException, PythonException

from safeguard_spark.errors import ConfigError, SafeguardError, SourceError
from safeguard_spark.spark.failures import FAILED, causes, first_sentence, storage_cause
from safeguard_spark.spark.session import jvm_output

OUT_OF_MEMORY = (
    "Spark is out of memory. Give it more: --set spark.conf.spark.driver.memory=8g where the job starts Spark, or "
    "spark-submit's --driver-memory and --executor-memory."
)
CASE_SENSITIVE = "spark.conf.spark.sql.caseSensitive=true"
MALFORMED = (
    "a line does not have the columns or the form of the others. Correct it, or say how the files are written: --set "
    "source.options.sep=';', and likewise quote, escape, encoding, multiLine."
)
VALUE_CONDITION = re.compile(
    r"CAST_|CANNOT_PARSE|INVALID_|DIVIDE|ARITHMETIC|NUMERIC_|DATETIME|MAP_KEY|ELEMENT_|MALFORMED_(?!RECORD|CSV)|SCALAR_|USER_RAISED"
)


@contextlib.contextmanager
def readable(what: str) -> Iterator[None]:
    """Raise the errors of Spark in this block that have a known cause as SourceError or ConfigError."""
    try:
        yield
    except (*FAILED, Py4JNetworkError, ConnectionError) as error:
        if problem := problem_of(error, what):
            raise problem from error
        raise


def problem_of(error: BaseException, what: str = "A table") -> SafeguardError | None:
    """The error to show in place of one of Spark's, or None if that is not about what was read."""
    if _is_ended(error) and "OutOfMemoryError" in jvm_output():
        return ConfigError(OUT_OF_MEMORY)
    if not isinstance(error, FAILED) or isinstance(error, PythonException):
        return None
    chain = causes(error)
    text = " ".join(f"{java.getClass().getName()} {java.getMessage()}" for java in chain)
    if "OutOfMemoryError" in text:
        return ConfigError(OUT_OF_MEMORY)
    conditions = {condition: java for java in reversed(chain) if (condition := _condition(java))}
    if isinstance(error, PySparkException) and error.getCondition():
        conditions.setdefault(str(error.getCondition()), None)
    sentence = _file_sentence(conditions, text) or _log_sentence(conditions, text) or _value_sentence(conditions)
    if sentence is None and (cause := storage_cause(error)):
        sentence = f"{cause}. {_advice(cause)}"
    if sentence is None and isinstance(error, AnalysisException):  # of names and types; others may quote a row
        sentence = first_sentence(error)
    return SourceError(f"{what} cannot be read: {sentence}") if sentence else None


def _is_ended(error: BaseException) -> bool:
    """Whether Spark's process has ended or is ending: it does so by itself when it is out of memory."""
    if not isinstance(error, FAILED):
        return isinstance(error, Py4JNetworkError | ConnectionError)
    try:
        return any("SparkContext was shut down" in str(java.getMessage()) for java in causes(error))
    except (Py4JNetworkError, ConnectionError):
        return True


def _file_sentence(conditions: dict[str, Any], text: str) -> str | None:
    """A data file that cannot be read."""
    is_malformed = any(name.startswith("MALFORMED_RECORD_IN_PARSING") for name in conditions)
    condition = next((name for name in conditions if name.startswith("FAILED_READ_FILE")), None)
    if condition is None:
        return MALFORMED if is_malformed else None
    parameters = conditions[condition].getMessageParameters() if conditions[condition] else {}
    file = f"file {parameters.get('path')}"
    if "/_delta_log/" in file:
        return f"{file} of its Delta log is damaged. Restore the file."
    if condition.endswith("FILE_NOT_EXIST"):
        return f"{file} does not exist, though the table lists it. Restore it, or an older version of the table."
    if condition.endswith("DATA_TYPE_MISMATCH"):
        column, expected, actual = (parameters.get(key) for key in ("column", "expectedType", "actualType"))
        return f"column {column} is {actual} in {file} and {expected} in others. Write the files again with one type."
    if is_malformed:
        return f"{file}: {MALFORMED}"
    if "duplicate field" in text:
        return f"{file} has columns whose names differ only in case. Add --set {CASE_SENSITIVE}."
    if "footer" in text.lower() or "is not a Parquet file" in text:
        kind = "an ORC" if "orc" in text.lower() else "a Parquet"
        return f"{file} is not {kind} file, or only part of one. Write it again, or move it away."
    return _value_sentence(conditions) or f"{file} is damaged or of another format. Write it again, or move it away."


def _log_sentence(conditions: dict[str, Any], text: str) -> str | None:
    """A Delta log that cannot be read."""
    if any(name.startswith("DELTA_PATH_BASED_ACCESS_TO_CATALOG_MANAGED") for name in conditions):
        return "it is a catalog-managed table, which no program may open by its path. Name it: CATALOG.SCHEMA.TABLE."
    if "Couldn't locate commit coordinator" in text:
        return "it is managed by another catalog than the one that is named. Name it: CATALOG.SCHEMA.TABLE."
    if "DELTA_VERSIONS_NOT_CONTIGUOUS" in conditions:
        return "a file of its Delta log is missing. Restore the file."
    is_damaged = any(name.startswith(("DELTA_LOG_FILE", "DELTA_STATE")) for name in conditions)
    return "its Delta log is damaged. Restore its files." if is_damaged or "JsonParseException" in text else None


def _value_sentence(conditions: dict[str, Any]) -> str | None:
    """A value from which an expression or a view cannot compute another. Spark's own sentence quotes it."""
    name = next((name for name in conditions if VALUE_CONDITION.match(name)), None)
    if name is None:
        return None
    return f"an expression or a view fails for a row ({name}). Use its try_ form, for example try_to_timestamp."


def _condition(java: Any) -> str | None:
    try:
        return java.getCondition() or None
    except Py4JError:  # not one of Spark's own exceptions
        return None


def _advice(cause: str) -> str:
    if re.search(r"AccessDenied|Permission denied|Forbidden|403", cause):
        return "Ask for the right to read it."
    if re.search(r"NoAuth|Credentials|credentials", cause):
        return "Give Spark credentials (spark.hadoop.fs.…, or the variables that the package reads)."
    return "Correct the location, or the access to it."
