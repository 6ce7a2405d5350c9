"""The log of a Delta table: its newest commits, as DESCRIBE HISTORY shows them."""

import json
from typing import Any, NamedTuple

from py4j.java_gateway import is_instance_of  # type: ignore[import-untyped]
from py4j.protocol import Py4JError  # type: ignore[import-untyped]
from pyspark.sql import DataFrame, SparkSession

from safeguard_spark.spark.files import Files

# Operations after which a table has the same rows, and every unchanged file reads as before.
KEEPS_ROWS = frozenset({
    "OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES", "UNSET TBLPROPERTIES", "ADD CONSTRAINT",
    "DROP CONSTRAINT", "ADD COLUMNS", "CLUSTER BY",
})  # fmt: skip
FILES = "org.apache.spark.sql.execution.datasources.HadoopFsRelation"
DELTA_FILES = "org.apache.spark.sql.delta.files.TahoeFileIndex"
INFO = '{"commitInfo"'
FEW = 20  # more commits than a run that comes every night finds
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
    operation: str | None
    parameters: dict[str, str]
    user_metadata: str | None


def file_index(frame: DataFrame) -> Any:
    """The JVM's list of the files of the one table that a frame reads."""
    return _leaf(frame).relation().location()


def delta_name(frame: DataFrame) -> str | None:
    """The name in SQL of the one Delta table that a frame reads; None if what it reads is something else."""
    leaf, gateway = _leaf(frame), frame.sparkSession.sparkContext._gateway
    if not is_instance_of(gateway, leaf.relation(), FILES):
        return None
    index, table = leaf.relation().location(), leaf.catalogTable()
    if not is_instance_of(gateway, index, DELTA_FILES):
        return None
    if not table.isDefined():
        return f"delta.`{index.path().toString()}`"
    parts = table.get().identifier().nameParts()
    return ".".join(f"`{parts.apply(number)}`" for number in range(parts.size()))


def over_other_rows(frame: DataFrame, rows: DataFrame) -> DataFrame:
    """What a frame over one table, such as a view, makes of other rows of that table."""
    session, relation = frame.sparkSession, _leaf(rows).relation()
    jvm: Any = session._jvm
    gateway: Any = session.sparkContext._gateway

    def rebuilt(plan: Any) -> Any:
        num_children = plan.children().size()
        if num_children:
            children = jvm.java.util.ArrayList()
            for number in range(num_children):
                children.add(rebuilt(plan.children().apply(number)))
            return plan.withNewChildren(jvm.scala.jdk.javaapi.CollectionConverters.asScala(children).toSeq())
        fields = gateway.new_array(jvm.java.lang.Object, plan.productArity())
        fields[0] = relation
        for number in range(1, plan.productArity()):  # its columns, which the nodes above name by their ids
            fields[number] = plan.productElement(number)
        return plan.makeCopy(fields)

    plan = rebuilt(frame._jdf.queryExecution().analyzed())
    return DataFrame(jvm.org.apache.spark.sql.classic.Dataset.ofRows(session._jsparkSession, plan), session)


def _leaf(frame: DataFrame) -> Any:
    return frame._jdf.queryExecution().analyzed().collectLeaves().apply(0)


def newest_point(spark: SparkSession, table: str) -> Point:
    """The newest commit of a Delta table, by its name in SQL. Without a Spark job where Delta's own classes are."""
    try:
        return point_of(spark.sql(f"SELECT * FROM {table}"))
    except (Py4JError, TypeError):
        return newest_commits(spark, table, 1)[0].point


def point_of(frame: DataFrame) -> Point:
    """The commit at which a frame reads a Delta table."""
    snapshot = file_index(frame).getSnapshot()
    return Point(int(snapshot.version()), int(snapshot.timestamp()))


def last_transaction(spark: SparkSession, table: str, version: int, app_id: str) -> int:
    """An application's last transaction in a Delta table, by its name in SQL, at a version; 0 if it has none.

    Delta remembers it when the commit itself is no longer in the log.
    """
    try:
        index = file_index(spark.sql(f"SELECT * FROM {table} VERSION AS OF {version}"))
        last = index.getSnapshot().transactions().get(app_id)
        return int(last.get()) if last.isDefined() else 0
    except (Py4JError, TypeError):  # a platform with classes of its own
        return 0


def commits_since(spark: SparkSession, table: str, point: Point) -> list[Commit] | None:
    """The commits after a point, oldest first; None if the table's log no longer has the point, or never had it."""
    newest = newest_point(spark, table).version
    commits = newest_commits(spark, table, newest - point.version + 1) if newest >= point.version else []
    if not any(commit.point.is_same(point) for commit in commits):
        # Unless a commit came in between, so that these were too few.
        return commits_since(spark, table, point) if newest_point(spark, table).version > newest else None
    later = [commit for commit in reversed(commits) if commit.point.version > point.version]
    return later if len(later) == commits[0].point.version - point.version else None


def rows_version(spark: SparkSession, table: str, version: int) -> int:
    """The version since which a Delta table has had the rows of `version`; OPTIMIZE and the like change none.

    `version` itself if the newest commits do not show it.
    """
    commits = newest_commits(spark, table, MANY)
    others = (c.point.version for c in commits if c.point.version <= version and c.operation not in KEEPS_ROWS)
    return next(others, version)


def newest_commits(spark: SparkSession, table: str, count: int) -> list[Commit]:
    """The newest commits of a table, the newest first; fewer if its log has fewer.

    A few are read here, one file each: DESCRIBE HISTORY is a Spark job.
    """
    try:
        if count <= FEW:
            return _read_commits(spark, table, count)
    except (Py4JError, TypeError):  # a platform with classes of its own
        pass
    columns = ("version", "unix_millis(timestamp) AS at_ms", "operation", "operationParameters", "userMetadata")
    return [
        Commit(Point(row[0], row[1]), row[2], dict(row[3] or {}), row[4])
        for row in spark.sql(f"DESCRIBE HISTORY {table} LIMIT {count}").selectExpr(*columns).collect()
    ]


def _read_commits(spark: SparkSession, table: str, count: int) -> list[Commit]:
    index = file_index(spark.sql(f"SELECT * FROM {table}"))
    log, newest, commits = Files(spark, str(index.logPath().toString())), int(index.getSnapshot().version()), []
    for version in range(newest, max(-1, newest - count), -1):
        name = commit_file(version)
        text, changed_s = log.read_text(name), log.modified(name)
        if text is None or changed_s is None:  # deleted, as it is older than the retention of the log
            break
        info: dict[str, Any] = next((json.loads(line) for line in text.split("\n") if line.startswith(INFO)), {})
        info = info.get("commitInfo", {})
        parameters = info.get("operationParameters") or {}
        commits.append(Commit(
            Point(version, int(info.get("inCommitTimestamp") or changed_s * 1000)),
            info.get("operation"),
            {key: value if isinstance(value, str) else json.dumps(value) for key, value in parameters.items()},
            info.get("userMetadata"),
        ))  # fmt: skip
    return commits


def commit_file(version: int) -> str:
    """The name of a commit's file in the log."""
    return f"{version:020d}.json"
