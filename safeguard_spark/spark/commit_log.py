"""The commits to `labels`: each chunk is appended exactly once, by whichever driver comes first.

A commit is a compare-and-swap. All commits share one txnAppId, and each has the next txnVersion of a sequence that is
kept in the commits' userMetadata. If two drivers commit at once, Delta lets one through. The other reads what has been
added since and tries the next number. One txnAppId per chunk would also make a retry safe, but then two runs could
append the same rows.
"""

import json
from datetime import datetime
from typing import NamedTuple

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.errors import TableError
from safeguard_spark.spark.failures import retrying
from safeguard_spark.spark.table_log import last_transaction, newest_commits
from safeguard_spark.spark.tables import Tables

APP_ID = "safeguard-labels"


class Commit(NamedTuple):
    """One of our commits to `labels`: its table version, its number in the sequence, who made it, and when."""

    version: int
    seq: int
    run_id: str
    chunk: int
    committed_at: datetime


class LabelScope(NamedTuple):
    """What a commit to `labels` is about: a collection, a policy version with its labeler, and how it was read.

    `spec` and `selection` are hashes; `version` is that of the source, or when its files were listed.
    """

    collection: str
    spec: str
    selection: str | None
    version: int | None


def scope_of(user_metadata: str | None) -> LabelScope | None:
    """The scope of one of our commits; None for another program's, and for one of an earlier release."""
    try:
        return LabelScope(**json.loads(user_metadata or "")["scope"])
    except (ValueError, KeyError, TypeError):
        return None


def commits_after(tables: Tables, version: int) -> tuple[int, list[Commit]]:
    """The newest version of `labels`, and our commits to it after `version`, oldest first."""
    newest = tables.version(schema.LABELS)
    if newest <= version:
        return newest, []
    table_commits = newest_commits(tables.spark, tables.sql(schema.LABELS), newest - version)
    commits = [_parse_commit(commit.point.version, commit.user_metadata) for commit in table_commits]
    # A commit made between the two statements is left to the next call.
    return newest, sorted(commit for commit in commits if commit is not None and version < commit.version <= newest)


def last_commit(tables: Tables, version: int | None = None) -> Commit | None:
    """Our newest commit to `labels`, or the newest up to a version. Searches the history in growing steps."""
    last, step = tables.version(schema.LABELS) if version is None else version, 5
    while True:
        commits = [commit for commit in commits_after(tables, max(-1, last - step))[1] if commit.version <= last]
        if commits:
            return commits[-1]
        if step > last:
            return None
        step *= 10


def labels_at(tables: Tables, version: int) -> DataFrame:
    """The labels that `labels` had at a version, less what was erased since. Raises TableError if its log is gone.

    Read from the current version by the time of the commit, because the files of an older one may be vacuumed.
    """
    labels, commit = tables.read(schema.LABELS), last_commit(tables, version)
    if commit is not None:
        return labels.where(F.col("labelled_at") <= F.lit(commit.committed_at).cast("timestamp"))
    first = tables.spark.sql(f"DESCRIBE HISTORY {tables.sql(schema.LABELS)}").agg(F.min("version")).first()
    if first is None or first[0] > 0:
        raise TableError(
            f"The log of {tables.path(schema.LABELS)} no longer says which labels it had at version {version}, on "
            "which the plan was made. Plan again."
        )
    return labels.limit(0)


def is_committed(tables: Tables, run_id: str, chunk: int, after_version: int) -> bool:
    """Whether a chunk's labels were appended after a version of `labels`."""
    return _has_chunk(commits_after(tables, after_version)[1], run_id, chunk)


def append_labels(tables: Tables, rows: DataFrame, run_id: str, chunk: int, planned_on: int, scope: LabelScope) -> None:
    """Append the rows of a chunk to `labels` once, even if other drivers commit too. Raises TableError.

    `rows` is read again on every attempt: it must come from staged files, never from the model. Rows that another run
    has committed since version `planned_on` are left out.
    """

    def append() -> None:
        newest, commits = commits_after(tables, planned_on)
        if _has_chunk(commits, run_id, chunk):
            return
        last = commits[-1] if commits else last_commit(tables, newest)  # a newer one is left to the next attempt
        seq = 1 + (last.seq if last else last_transaction(tables.spark, tables.sql(schema.LABELS), newest, APP_ID))
        other_runs = sorted({commit.run_id for commit in commits if commit.run_id != run_id})
        # A newer label must not look older.
        committed_at = tables.now(after=last.committed_at if last else None)
        new_rows = _without_labels_of(tables, rows, other_runs, newest) if other_runs else rows
        stamped = new_rows.withColumn("labelled_at", F.lit(committed_at).cast("timestamp")).select(*schema.LABELS.names)
        commit = {"run_id": run_id, "chunk": chunk, "seq": seq, "at": committed_at.isoformat()}
        metadata = json.dumps({**commit, "scope": scope._asdict()})
        tables.append_transaction(schema.LABELS, stamped, APP_ID, seq, metadata)
        # Delta silently skips a number that is taken, so check.
        if not is_committed(tables, run_id, chunk, newest):
            from delta.exceptions import ConcurrentTransactionException

            raise ConcurrentTransactionException(f"Another run has made commit {seq}.")

    retrying(append, f"Labels cannot be written to {tables.path(schema.LABELS)}")


def _has_chunk(commits: list[Commit], run_id: str, chunk: int) -> bool:
    return any(commit.run_id == run_id and commit.chunk == chunk for commit in commits)


def _without_labels_of(tables: Tables, rows: DataFrame, run_ids: list[str], version: int) -> DataFrame:
    """Rows whose content and work key none of these runs has labelled up to `version`.

    A row of the labeler stays if the others only screened its content: the labeler's verdict counts.
    """
    labels = tables.read(schema.LABELS, version).where(F.col("run_id").isin(run_ids))
    keys = ["collection", "content_id", "work_key", "policy", "policy_version"]
    any_label = labels.select(keys)
    judged = labels.where("screened_for IS NULL").select(keys)
    by_labeler = rows.where("screened_for IS NULL").join(judged, on=keys, how="left_anti")
    screened = rows.where("screened_for IS NOT NULL").join(any_label, on=keys, how="left_anti")
    return by_labeler.unionByName(screened)


def _parse_commit(version: int, user_metadata: str | None) -> Commit | None:
    """Our commit from its userMetadata, or None for a commit of another program (OPTIMIZE, VACUUM, …)."""
    try:
        fields = json.loads(user_metadata or "")
        committed_at = datetime.fromisoformat(fields["at"])
        return Commit(version, int(fields["seq"]), fields["run_id"], int(fields["chunk"]), committed_at)
    except (ValueError, KeyError, TypeError):
        return None
