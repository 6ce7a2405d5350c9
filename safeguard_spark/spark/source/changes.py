"""Changes: the contents of a Delta table that may have come or changed since one of its commits.

From the table's change feed, if it has one: exactly these. Else the rows of the files that were added since: after
appends exactly the new ones, after an update or a merge all rows of the files that it wrote anew.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from safeguard_spark.spark.failures import FAILED, is_gone
from safeguard_spark.spark.files import Files
from safeguard_spark.spark.source.contents import STRATUM, Changes, SourceTable
from safeguard_spark.spark.source.location import is_path
from safeguard_spark.spark.table_log import KEEPS_ROWS, Commit, commit_file, file_index, over_other_rows

FEED = "delta.enableChangeDataFeed"
# Operations that change rows in a way that the feed and the added files show. A table that was overwritten or restored,
# or whose columns were renamed, is read as a whole: a file that is still there may be read in another way.
CHANGES_ROWS = frozenset({"WRITE", "MERGE", "UPDATE", "DELETE", "STREAMING UPDATE", "COPY INTO"})
MAX_FILES = 10_000  # more are read as the whole table
MAX_LOG_BYTES = 64 << 20


class FileAction(NamedTuple):
    """What a commit did with a file. Without `data_change` an added file has only rows of files it replaces.

    `text` is the action as the log has it.
    """

    version: int
    path: str
    is_added: bool
    data_change: bool = False
    text: str = ""


def why_all(commits: Sequence[Commit]) -> str | None:
    """Why all rows have to be read after these commits, or None."""
    for commit in commits:
        operation, parameters = commit.operation, commit.parameters
        is_replaced = parameters.get("mode") == "Overwrite" and parameters.get("predicate", "[]") in ("", "[]")
        if is_replaced or parameters.get("outputMode") == "Complete":
            return f"version {commit.point.version} of the source replaced all rows ({operation})"
        if operation not in {*CHANGES_ROWS, *KEEPS_ROWS}:
            return f"version {commit.point.version} of the source is a {operation}"
    return None


def has_feed(source: SourceTable, commits: Sequence[Commit]) -> bool:
    """Whether a table's change feed was on during all of these commits. Of a view the files are used."""
    if source.version is None:
        return False
    setting = file_index(source.cells).getSnapshot().metadata().configuration().get(FEED)
    is_on = setting.isDefined() and str(setting.get()).lower() == "true"
    return is_on and not any("TBLPROPERTIES" in str(commit.operation) for commit in commits)


def changes_by_feed(source: SourceTable, table: str, commits: Sequence[Commit]) -> Changes | None:
    """The contents that the feed shows and that are in the source now. None if a VACUUM deleted files of the feed."""
    reader = source.spark.read.format("delta").option("readChangeFeed", "true")
    reader = reader.option("startingVersion", commits[0].point.version)
    reader = reader.option("endingVersion", commits[-1].point.version)
    feed = reader.load(source.name) if is_path(str(source.config.location)) else reader.table(table)
    change = F.when(F.col("_change_type").isin("insert", "update_postimage"), 1).otherwise(-1).alias("change")
    events = source.cells_of(feed, change, F.col("_commit_version").alias("version"))
    name = source.payload.name
    events = events.withColumn("content_hash", source.payload.hash)
    keys = ["content_id", "content_hash"]
    removed, change = F.count_if(F.col("change") < 0).alias("removed"), F.sum("change").alias("change")
    # The stratum of a content is that of its newest row.
    has_strata = STRATUM in events.columns
    in_version = [F.max_by(STRATUM, "change").alias(STRATUM)] if has_strata else []
    by_version = events.groupBy(*keys, "version").agg(removed, change, F.first(name).alias(name), *in_version)
    steps = F.sort_array(F.collect_list(F.struct("version", "removed", "change"))).alias("steps")
    newest = [F.max_by(STRATUM, "version").alias(STRATUM)] if has_strata else []
    contents = by_version.groupBy(*keys).agg(steps, F.first(name).alias(name), *newest)
    try:
        no_id = F.count_if(F.col("content_id").isNull() & (F.col("change") > 0))
        total = events.agg(F.count(F.lit(1)), no_id, F.coalesce(F.sum("change"), F.lit(0))).first()
    except FAILED as error:
        if is_gone(error):
            return None
        raise
    assert total is not None  # an aggregate without groups has one row
    present = contents.where(_is_present("steps")).select("content_id", name, *([STRATUM] if has_strata else []))
    without_id = None if total[1] else 0  # of those that came; they may be gone again
    return Changes(present, total[0], without_id, total[2], contents.select(*keys))


def _is_present(steps: str) -> Column:
    """Whether a content is there after its `steps`, each of which removes rows of it and adds others.

    How often it was there before them is unknown, but at least as often as they removed it.
    """
    start = F.struct(F.lit(0).cast("bigint").alias("now"), F.lit(0).cast("bigint").alias("lowest"))

    def add(state: Column, step: Column) -> Column:
        lowest = F.least(state["lowest"], state["now"] - step["removed"])
        return F.struct((state["now"] + step["change"]).alias("now"), lowest.alias("lowest"))

    return F.aggregate(steps, start, add, lambda state: state["now"] - state["lowest"] >= 1)


def changes_by_files(source: SourceTable, commits: Sequence[Commit]) -> Changes | str:
    """The rows of the files that were added in these commits and are still there, or why all rows have to be read."""
    index, spark = file_index(source.cells), source.spark
    log, names = Files(spark, str(index.logPath().toString())), [commit_file(c.point.version) for c in commits]
    if sum(log.size(name) for name in names) > MAX_LOG_BYTES:
        return f"the log of the changes has more than {MAX_LOG_BYTES >> 20} MiB"
    texts = [log.read_text(name) for name in names]
    actions = [a for c, text in zip(commits, texts, strict=True) for a in file_actions(c.point.version, text or "")]
    if None in texts:
        return "the log of the source cannot be read"
    added = added_files(actions)
    if len(added) > MAX_FILES:
        return f"more than {MAX_FILES:,} files of the source were added"
    jvm: Any = spark._jvm
    files, parser = jvm.java.util.ArrayList(), getattr(jvm.org.apache.spark.sql.delta.actions, "Action$")
    for action in added:
        files.add(getattr(parser, "MODULE$").fromJson(action.text))
    listed = jvm.scala.jdk.javaapi.CollectionConverters.asScala(files).toSeq()
    frame = index.deltaLog().createDataFrame(index.getSnapshot(), listed, False, jvm.scala.Option.empty())
    rows = DataFrame(frame, spark)
    # Of a view, or of a table.
    changes = source.changes(over_other_rows(source.frame, rows) if source.version is None else rows)
    return changes.only_added(source) if all(action.is_added for action in actions) else changes


def added_files(actions: Iterable[FileAction]) -> list[FileAction]:
    """The files that may have a row which is not in a file from before the actions, and that are still there."""
    ordered = sorted(actions, key=lambda action: (action.version, action.is_added))
    last, changed = {action.path: action for action in ordered}, changed_files(ordered)
    return [last[path] for path in sorted(changed) if last[path].is_added]


def file_actions(version: int, text: str) -> Iterator[FileAction]:
    """What a commit did with files, by the text of its file in the log."""
    for line in filter(None, text.split("\n")):  # a value in it may have other characters that end lines
        action: dict[str, Any] = json.loads(line)
        if add := action.get("add"):
            yield FileAction(version, add["path"], True, add["dataChange"], line)
        elif remove := action.get("remove"):
            yield FileAction(version, remove["path"], False)


def changed_files(actions: Iterable[FileAction]) -> set[str]:
    """The files that may have a row which is not in a file from before the actions. Some may be gone again."""
    changed, commits = set[str](), dict[int, list[FileAction]]()
    for action in actions:
        commits.setdefault(action.version, []).append(action)
    for _, commit in sorted(commits.items()):
        replaces_changed = any(not action.is_added and action.path in changed for action in commit)
        changed |= {action.path for action in commit if action.is_added and (action.data_change or replaces_changed)}
    return changed
