"""The log of a Delta table: its newest commit, and which it has had, as DESCRIBE HISTORY shows them."""

from typing import Any, NamedTuple

from py4j.protocol import Py4JError  # type: ignore[import-untyped]
from pyspark.sql import DataFrame, Row, SparkSession

# Operations after which a table has the same rows, and every unchanged file reads as before.
KEEPS_ROWS = frozenset({
    "OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES", "UNSET TBLPROPERTIES", "ADD CONSTRAINT",
    "DROP CONSTRAINT", "ADD COLUMNS", "CLUSTER BY",
})  # fmt: skip
RECENT = 20  # commits that are read first: a run that comes every night needs no more
MANY = 200  # in which maintenance alone is unlikely
SAME_MS = 1_000  # Delta moves times of commits that do not ascend by a millisecond each


class Point(NamedTuple):
    """A commit of a table. Another table in the same place may have the version, but not of the same time."""

    version: int
    at_ms: int

    def is_same(self, other: "Point") -> bool:
        """Whether both are one commit."""
        return self.version == other.version and abs(self.at_ms - other.at_ms) < SAME_MS


class Commit(NamedTuple):
    """A commit as the log describes it."""

    point: Point
    operation: str
    parameters: dict[str, str]
    user_metadata: str | None


def file_index(frame: DataFrame) -> Any:
    """The JVM's list of the files of the one table that a frame reads."""
    return frame._jdf.queryExecution().analyzed().collectLeaves().apply(0).relation().location()


def newest_point(spark: SparkSession, table: str) -> Point:
    """The newest commit of a Delta table, by its name in SQL. Without a Spark job where Delta's own classes are."""
    try:
        return point_of(spark.sql(f"SELECT * FROM {table}"))
    except (Py4JError, TypeError):
        return _commit(_history(spark, table, 1)[0]).point


def point_of(frame: DataFrame) -> Point:
    """The commit at which a frame reads a Delta table."""
    snapshot = file_index(frame).getSnapshot()
    return Point(int(snapshot.version()), int(snapshot.timestamp()))


def commits_since(spark: SparkSession, table: str, point: Point, limit: int = RECENT) -> list[Commit] | None:
    """The commits after a point, oldest first; None if the table's log no longer has the point, or never had it."""
    commits = [_commit(row) for row in _history(spark, table, limit)]
    newest, oldest = commits[0].point.version, commits[-1].point.version
    if point.version < oldest and len(commits) == limit:
        return commits_since(spark, table, point, newest - point.version + 1)
    if not any(commit.point.is_same(point) for commit in commits):
        return None
    later = [commit for commit in reversed(commits) if commit.point.version > point.version]
    return later if len(later) == newest - point.version else None


def rows_version(spark: SparkSession, table: str, version: int) -> int:
    """The version since which a Delta table has had the rows of `version`; OPTIMIZE and the like change none.

    `version` itself if the newest commits do not show it.
    """
    commits = (_commit(row) for row in _history(spark, table, MANY))
    others = (c.point.version for c in commits if c.point.version <= version and c.operation not in KEEPS_ROWS)
    return next(others, version)


def _history(spark: SparkSession, table: str, limit: int) -> list[Row]:
    columns = ("version", "unix_millis(timestamp) AS at_ms", "operation", "operationParameters", "userMetadata")
    return spark.sql(f"DESCRIBE HISTORY {table} LIMIT {limit}").selectExpr(*columns).collect()


def _commit(row: Row) -> Commit:
    parameters = dict(row["operationParameters"] or {})
    return Commit(Point(int(row["version"]), int(row["at_ms"])), row["operation"], parameters, row["userMetadata"])
