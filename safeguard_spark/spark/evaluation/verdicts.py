"""Verdicts on a golden set: from the label tables, or from recorded answers."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from safeguard_spark.config.model import SourceConfig
from safeguard_spark.errors import SourceError
from safeguard_spark.evaluation.replay import ANSWER, OPTIONAL, recorded_verdict
from safeguard_spark.evaluation.sets import SetManifest
from safeguard_spark.keys import sha256
from safeguard_spark.labelling.contract import Contract
from safeguard_spark.policy.document import Policy
from safeguard_spark.spark.labels import newest_per_content
from safeguard_spark.spark.source import Source, find_column, id_text, read_column, read_snapshot
from safeguard_spark.spark.unreadable import readable
from safeguard_spark.terminal import counted

VERDICT = ("outcome", "violation", "category", "rule_ids")
READ = pa.schema([
    ("content_id", pa.string()),
    ("outcome", pa.string()),
    ("violation", pa.bool_()),
    ("category", pa.string()),
    ("rule_ids", pa.list_(pa.string())),
])  # fmt: skip


class Tokens(NamedTuple):
    """What the labels of a set cost, per thousand calls; None where no label knows."""

    prompt: float | None = None
    completion: float | None = None


def labelled_verdicts(labels: DataFrame) -> DataFrame:
    """(content_id, outcome, violation, category, rule_ids) of the newest label of each content of one collection."""
    return newest_per_content(labels, *VERDICT).select("content_id", *VERDICT)


def tokens_of(labels: DataFrame) -> Tokens:
    """The tokens per thousand calls of some labels. A label whose verdict was reused has none."""
    row = labels.agg(F.avg("prompt_tokens"), F.avg("completion_tokens")).first()
    assert row is not None  # an aggregate without groups has one row
    return Tokens(*(None if value is None else 1000 * float(value) for value in row))


def open_replay(spark: SparkSession, location: str, manifest: SetManifest) -> Source:
    """Recorded answers: content_id, raw_output, and reasoning, finish_reason and policy, null if they are not there.

    The id is in the column that has the name of the set's, else in `id`. Raises SourceError.
    """
    snapshot = read_snapshot(spark, SourceConfig(location=location))
    frame, name = snapshot.frame, f"recording {location}"
    column = manifest.id_column if find_column(frame, manifest.id_column) else "id"
    with readable(f"The {name}"):
        id = read_column(frame, name, column, "the set's id_column")
        answer = read_column(frame, name, ANSWER, "--replay").column.cast("string").alias(ANSWER)
        optional = [
            (F.col(column) if find_column(frame, column) else F.lit(None)).cast("string").alias(column)
            for column in (*OPTIONAL, "policy")
        ]
        rows = frame.select(id_text(id, name).alias("content_id"), answer, *optional)
        keys = ("content_id", "policy")
        if repeated := rows.groupBy(*keys).count().where("count > 1").count():
            raise SourceError(
                f"{counted(repeated, 'id has', 'ids have')} several answers in {location}. Keep one of each."
            )
    return Source(location, snapshot.version, ANSWER, rows, snapshot.folder)


def recording_digest(location: str) -> str:
    """SHA-256 of a recording: of the file, or of its location if it is not a file on this machine."""
    path = Path(location)
    if not path.is_file():
        return sha256(["recording", location])
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def replayed_verdicts(replay: Source, policy: Policy) -> DataFrame:
    """(content_id, outcome, violation, category, rule_ids) of recorded answers.

    An answer belongs to `policy` if its column `policy` has the policy's name or `name@version`, or is null.
    """
    column = F.col("policy")
    rows = replay.frame.where(column.isNull() | column.isin(policy.name, policy.ref))
    columns = ("content_id", ANSWER, *OPTIONAL)
    return rows.select(*columns).mapInArrow(_read_batches(Contract.of(policy)), from_arrow_schema(READ))


def _read_batches(contract: Contract) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            rows = []
            for row in batch.to_pylist():
                verdict = recorded_verdict(contract, row[ANSWER], *(row[name] for name in OPTIONAL))
                rows.append({
                    "content_id": row["content_id"],
                    "outcome": verdict.outcome.value,
                    "violation": verdict.violation,
                    "category": verdict.category,
                    "rule_ids": list(verdict.rule_ids),
                })  # fmt: skip
            yield pa.RecordBatch.from_pylist(rows, READ)

    return run
