"""Draw review items: an estimating sample, and queues of contents whose label may be wrong.

The items carry their contents, so that the console needs neither the source nor Spark.
"""

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.config.model import RunConfig, SourceConfig
from safeguard_spark.errors import ConfigError, SourceError, TableError
from safeguard_spark.evaluation.sets import find_set
from safeguard_spark.labelling.labeler import Labeler, LabelerRef
from safeguard_spark.labelling.verdict import Outcome
from safeguard_spark.policy.ref import Ref, read_ref
from safeguard_spark.relabel.plan import PolicyVersion
from safeguard_spark.relabel.scope import ScopeKind, parse_scope
from safeguard_spark.review.draws import CALIBRATION, ESTIMATE, Draw, DrawRequest, FindingQueue, content_json
from safeguard_spark.review.sampling import ReviewStratum
from safeguard_spark.spark.activations import active, active_labeler, labeler_of
from safeguard_spark.spark.evaluation.gold import Gold
from safeguard_spark.spark.label.executor import READERS
from safeguard_spark.spark.labels import CONTENT, newest_per_content, of_collection, of_version
from safeguard_spark.spark.relabel.apply import load_plan
from safeguard_spark.spark.relabel.scoped_source import open_scoped
from safeguard_spark.spark.review.calibration import known_contents, open_known
from safeguard_spark.spark.sampling import sample_score
from safeguard_spark.spark.source import Source, id_text, read_column, read_snapshot, source_sql
from safeguard_spark.spark.table_log import rows_version
from safeguard_spark.spark.tables import Tables
from safeguard_spark.tracking.registry import resolve

LABEL = (
    "content_hash", "labeler", "labeler_hash", "work_key", "outcome", "violation", "category", "rule_ids", "confidence",
    "labelled_at", "rationale",
)  # fmt: skip
KEYS = ("content_id", "content_hash")  # of a content in one source
POLICY_NAME = r"^\s*([^@\s]+)\s*(?:@.*)?$"  # of an appeal, with or without the version that it was decided under
# What the model could not judge and a person can.
UNREADABLE = (Outcome.unparseable, Outcome.truncated, Outcome.refused, Outcome.too_long)
SIMPLE_QUEUES: dict[FindingQueue, Callable[[], Column]] = {
    FindingQueue.escalated: lambda: F.col("outcome") == Outcome.review.value,
    FindingQueue.unreadable: lambda: F.col("outcome").isin(*(outcome.value for outcome in UNREADABLE)),
    FindingQueue.low_confidence: lambda: F.col("confidence") == "low",
    FindingQueue.screened: lambda: F.col("outcome") == Outcome.screened.value,
}


def draw_items(
    spark: SparkSession, config: RunConfig, policy: str, request: DrawRequest, *, dry_run: bool = False
) -> Draw:
    """Add what a draw gives to `review_items`. Safe to repeat: the same draw on the same tables adds nothing.

    `policy` is a reference; a name alone means the active version. Raises ConfigError, SourceError, TableError.
    """
    scope = parse_scope(request.scope, kinds=(ScopeKind.all, ScopeKind.since, ScopeKind.where))
    tables = Tables.open(spark, config.output)
    tables.create()  # the columns of this release
    source = open_scoped(spark, config, scope)
    collection = config.source.collection(source.name)
    labels_version = tables.version(schema.LABELS)
    labels = of_collection(tables.read(schema.LABELS, labels_version), collection)
    version, labeler = labelled_version(tables, config, policy)
    known = _open_known(spark, config, request, policy, version)
    sample_id = request.sample_id(
        version=version,
        labeler=labeler,
        collection=collection,
        labels=rows_version(spark, tables.sql(schema.LABELS), labels_version),
        source=source.version and rows_version(spark, source_sql(config.source, source.name), source.version),
        **({"golden_set": known.golden_set.manifest.digest} if known else {}),
    )
    pool = _Pool(tables, source, labels, version, sample_id)
    newest = pool.newest(version, labeler.hash if labeler else None)
    with _cached(pool.in_source(newest)) as population:
        contents = _count(population)
        if not any(contents.values()):
            raise TableError(
                f"No content of {source.name} has a label under {version.name}@{version.version}: there is nothing to "
                "draw. Label it first, or name another --policy."
            )
        items, appeals = _drawn(pool, population, request, request.rates(contents))
        not_judged = population.where("violation IS NULL").count()
        draw = {
            "strata": contents,
            "not_judged": not_judged,
            "scope": request.scope,
            "seed": request.seed,
            "half_width": request.half_width,
        }
        draw |= {"labeler": labeler.name if labeler else None, "labels_version": labels_version}
        drawn = [(items, source)]
        if known:
            calibration = _calibration(pool, known, labeler.hash if labeler else None, request.queue_size)
            drawn.append((calibration, known.contents))
        now = tables.now()
        drawn = [(_complete(items, sample_id, draw, now), source) for items, source in drawn]
        counts, added = Counter[str](), 0
        if dry_run:
            for items, _ in drawn:
                counts.update(_by_purpose(items))
        else:
            added = _append(pool, drawn)
            counts.update(_by_purpose(pool.own_items))
        lost = newest.count() - population.count() if scope.kind is ScopeKind.all else 0
    purposes = [ESTIMATE] * request.has_estimate + [queue.value for queue in FindingQueue if queue in request.queues]
    purposes += [CALIBRATION] * bool(known)
    return Draw(
        sample_id=sample_id,
        ref=f"{version.name}@{version.version}",
        labeler=labeler.name if labeler else "any labeler",
        contents=contents,
        items={purpose: counts[purpose] for purpose in purposes},
        added=added,
        lost=lost,
        is_planned=dry_run,
        **appeals,
    )


@dataclass(frozen=True)
class _Pool:
    """What a draw selects from: the labels of a collection, and the contents that the source has."""

    tables: Tables
    source: Source
    labels: DataFrame
    version: PolicyVersion
    sample_id: str

    def newest(self, version: PolicyVersion, labeler_hash: str | None) -> DataFrame:
        """The newest label of each content under a version by a labeler, or by any for None."""
        return newest_per_content(of_version(self.labels, version, labeler_hash), *LABEL)

    def in_source(self, labels: DataFrame) -> DataFrame:
        """The labels whose content the source still has, with their stratum and sample score."""
        stratum = F.when(F.col("violation"), F.lit(ReviewStratum.flagged.value)).otherwise(
            ReviewStratum.unflagged.value
        )
        here = labels.join(self.source.frame.select(*KEYS), on=list(KEYS), how="left_semi")
        return here.withColumn("stratum", stratum).withColumn("score", sample_score(self.sample_id))

    @property
    def own_items(self) -> DataFrame:
        """The items of the same draw that are in the table already."""
        return self.tables.read(schema.REVIEW_ITEMS).where(F.col("sample_id") == self.sample_id)

    @property
    def other_items(self) -> DataFrame:
        """The items of other draws."""
        return self.tables.read(schema.REVIEW_ITEMS).where(F.col("sample_id") != self.sample_id)

    def unseen(self, labels: DataFrame, version: PolicyVersion) -> DataFrame:
        """The contents that no other draw has shown to people under a version."""
        keys = [*CONTENT, "content_hash"]
        items = self.other_items.where(F.col("policy_hash") == version.policy_hash).select(*keys)
        return labels.join(items, on=keys, how="left_anti")


def _drawn(
    pool: _Pool, population: DataFrame, request: DrawRequest, rates: Mapping[ReviewStratum, float]
) -> tuple[DataFrame, dict[str, int]]:
    """The items of a draw, and the counts of its appeals, by the names of the fields of `Draw`."""
    rated = population.withColumn("inclusion_probability", _by_stratum(rates))
    is_drawn = F.col("score") < F.col("inclusion_probability")
    frames = [_items(rated.where(is_drawn), pool.version, ESTIMATE)]  # none, without an estimating sample
    rest, appeals = rated.where(~is_drawn).drop("stratum", "inclusion_probability"), dict[str, int]()
    for queue in FindingQueue:
        if queue is FindingQueue.appeal and queue in request.queues:
            appealed, appeals = _appealed(pool, str(request.appeals), population.drop("stratum"))
            frames.append(_items(appealed, pool.version, queue))
        elif queue in request.queues:
            found, version = rest, pool.version
            if queue is FindingQueue.newly_caught:
                found, version = _newly_caught(pool, str(request.plan_id))
            elif queue is FindingQueue.disagreement:
                found = rest.join(_disagreeing(pool.labels, version.name), on=list(KEYS), how="left_semi")
            else:
                found = rest.where(SIMPLE_QUEUES[queue]())
            first = pool.unseen(found, version).orderBy("score", "content_id").limit(request.queue_size)
            frames.append(_items(first, version, queue))
    return _one_of_each_content(reduce(DataFrame.unionByName, frames)), appeals


def _open_known(
    spark: SparkSession, config: RunConfig, request: DrawRequest, text: str, version: PolicyVersion
) -> Gold | None:
    """The golden set that a request names, with its answers for a version; None if it names none."""
    if request.calibration is None:
        return None
    golden_set, ref = find_set(request.calibration, config.sets), read_ref(text)
    active_ref = f"{version.name}@{version.version}"
    policy = resolve(active_ref if isinstance(ref, Ref) and not ref.tag else text, config)
    return open_known(spark, config, golden_set, policy)


def _calibration(pool: _Pool, known: Gold, labeler_hash: str | None, limit: int) -> DataFrame:
    """Up to `limit` contents with a known answer that no other draw has hidden, with their labels if they have any."""
    hidden = pool.other_items.where(F.col("purpose") == CALIBRATION)
    hidden = hidden.where(F.col("policy_hash") == pool.version.policy_hash).select(*CONTENT, "content_hash")
    contents = known_contents(known, pool.sample_id).join(hidden, on=[*CONTENT, "content_hash"], how="left_anti")
    few = contents.orderBy("position", F.desc("known_violation")).limit(limit)
    labels = of_collection(pool.tables.read(schema.LABELS), known.config.name)
    newest = newest_per_content(of_version(labels, pool.version, labeler_hash), *LABEL)
    # A label says what the person sees after the decision; without one, that there is none.
    return _items(few.join(newest, on=[*CONTENT, "content_hash"], how="left"), pool.version, CALIBRATION)


def _append(pool: _Pool, drawn: Iterable[tuple[DataFrame, Source]]) -> int:
    """Append the items that are not in the table yet, with their contents from their sources. Returns how many."""
    before, complete = pool.own_items.count(), list[DataFrame]()
    for items, source in drawn:
        new = items.join(pool.own_items.select("item_id"), on="item_id", how="left_anti")
        complete.append(new.join(_contents(source, new.select(*KEYS)), on=list(KEYS), how="inner"))
    rows = reduce(DataFrame.unionByName, complete).select(*schema.REVIEW_ITEMS.names).repartition(1)
    # The number is part of the transaction's name: of two equal draws at once the second is skipped.
    pool.tables.append_frame(schema.REVIEW_ITEMS, rows, f"{pool.sample_id}/{before}")
    return pool.own_items.count() - before


@contextlib.contextmanager
def _cached(frame: DataFrame) -> Iterator[DataFrame]:
    cached = frame.cache()
    try:
        yield cached
    finally:
        cached.unpersist()


def _count(population: DataFrame) -> dict[ReviewStratum, int]:
    counted = {row["stratum"]: int(row["count"]) for row in population.groupBy("stratum").count().collect()}
    return {stratum: counted.get(stratum.value, 0) for stratum in ReviewStratum}


def _by_purpose(items: DataFrame) -> dict[str, int]:
    return {row["purpose"]: int(row["count"]) for row in items.groupBy("purpose").count().collect()}


def labelled_version(tables: Tables, config: RunConfig, text: str) -> tuple[PolicyVersion, LabelerRef | None]:
    """The version that a reference means, a name alone the active one, and whose labels stand for it (None: any).

    Raises ConfigError, PolicyError, TableError.
    """
    ref = read_ref(text)
    if isinstance(ref, Ref) and not ref.tag:
        row = active(tables, ref.name)
        if row is None:
            raise TableError(f"No version of {ref.name} is active in {tables.output}: nothing was labelled under it.")
        return PolicyVersion(ref.name, row["policy_version"], row["policy_hash"]), active_labeler(row)
    policy = resolve(text, config)
    version = PolicyVersion(policy.name, policy.version, policy.policy_hash)
    return version, labeler_of(tables, policy, Labeler.of(config, policy).ref)


def _disagreeing(labels: DataFrame, policy: str) -> DataFrame:
    """Contents that two labels of a policy, of any version and labeler, judge differently."""
    judged = labels.where((F.col("policy") == policy) & F.col("violation").isNotNull())
    both = judged.groupBy(*KEYS).agg(F.min("violation").alias("lowest"), F.max("violation").alias("highest"))
    return both.where("lowest <> highest").select(*KEYS)


def _newly_caught(pool: _Pool, plan_id: str) -> tuple[DataFrame, PolicyVersion]:
    """The contents that a plan's new version flags and its old one did not, with their labels under the new one."""
    plan = load_plan(pool.tables, plan_id)
    if plan.policy != pool.version.name or plan.old is None:
        raise ConfigError(f"Plan {plan_id} is not one from a version of {pool.version.name} to another.")
    new = PolicyVersion(plan.policy, plan.new_version, plan.new_hash)
    old = newest_per_content(of_version(pool.labels, plan.old, plan.old_labeler_hash), "violation")
    safe = old.where("NOT violation").select("content_id")
    caught = pool.in_source(pool.newest(new, plan.labeler_hash).where("violation")).drop("stratum")
    return caught.join(safe, on="content_id", how="left_semi"), new


def _appealed(pool: _Pool, location: str, population: DataFrame) -> tuple[DataFrame, dict[str, int]]:
    """The labels of a population that appeals are about which no other draw has, and counts of appeals that are not.

    The counts have the names of the fields of `Draw`. Raises SourceError without the columns appeal_id, content_id,
    policy, appealed_at and reason, and for appeals without an id.
    """
    try:
        frame = read_snapshot(pool.tables.spark, SourceConfig(location=location)).frame
    except SourceError as error:
        raise SourceError(f"--appeals: {error}") from error
    table = f"the table of appeals {location}"
    names = ("appeal_id", "content_id", "policy", "appealed_at", "reason")
    appeal_id, content_id, policy, appealed_at, reason = (read_column(frame, table, name, name) for name in names)
    appeals = frame.select(
        appeal_id.column.cast("string").alias("appeal_id"),
        id_text(content_id, table).alias("content_id"),
        F.regexp_extract(policy.column.cast("string"), POLICY_NAME, 1).alias("policy"),
        appealed_at.column.try_cast("timestamp").alias("appealed_at"),
        reason.column.cast("string").alias("appeal_reason"),
    )
    activations = pool.tables.read(schema.ACTIVATIONS).select("policy").distinct().collect()
    is_known = F.col("policy").isin(pool.version.name, *(row["policy"] for row in activations))
    of_policy = appeals.where(F.col("policy") == pool.version.name).drop("policy").distinct()
    if without_id := of_policy.where("coalesce(trim(appeal_id), '') = ''").count():
        raise SourceError(
            f"Appeals in {location} without an appeal_id: {without_id:,}. Give every appeal an id of its own."
        )
    # Of several rows with one id always the same one, else a second draw would add the others.
    rest = [name for name in of_policy.columns if name != "appeal_id"]
    one_of_each = (
        of_policy.groupBy("appeal_id").agg(F.min(F.struct(*rest)).alias("first")).select("appeal_id", "first.*")
    )
    # An appeal against labels of several policies is an item of each.
    items = pool.other_items.where(F.col("policy") == pool.version.name)
    existing = items.where("appeal_id IS NOT NULL").select("appeal_id")
    new = one_of_each.join(existing, on="appeal_id", how="left_anti")
    appealed = population.join(new, on="content_id", how="inner")
    return appealed, {
        "lost_appeals": new.join(population.select("content_id"), on="content_id", how="left_anti").count(),
        "unknown_policy_appeals": appeals.where(~F.coalesce(is_known, F.lit(False))).count(),
        "repeated_appeals": of_policy.count() - one_of_each.count(),
        "undated_appeals": appealed.where("appealed_at IS NULL").count(),
    }


def _by_stratum(values: Mapping[ReviewStratum, float]) -> Column:
    """The value of a row's stratum; null without one."""
    pairs = (F.lit(part) for stratum, value in values.items() for part in (stratum.value, value))
    return F.create_map(*pairs)[F.col("stratum")]


def _items(rows: DataFrame, version: PolicyVersion, purpose: str) -> DataFrame:
    """Rows as items of a purpose, without what is the same for every item of a draw."""
    absent = {"stratum": "string", "inclusion_probability": "double", "appeal_id": "string",
              "appealed_at": "timestamp", "appeal_reason": "string", "known_violation": "boolean",
              "known_rule_ids": "array<string>"}  # fmt: skip
    for name, kind in absent.items():
        if name not in rows.columns:
            rows = rows.withColumn(name, F.lit(None).cast(kind))
    return rows.select(
        *CONTENT,
        *LABEL,
        *absent,
        F.lit(str(purpose)).alias("purpose"),
        F.lit(version.name).alias("policy"),
        F.lit(version.version).alias("policy_version"),
        F.lit(version.policy_hash).alias("policy_hash"),
    )


def _one_of_each_content(items: DataFrame) -> DataFrame:
    """A content is judged once in a draw, for the first purpose that fits; each appeal is an item of its own."""
    purposes = [ESTIMATE, *(queue.value for queue in FindingQueue)]
    position = F.array_position(F.array(*map(F.lit, purposes)), F.col("purpose"))
    by_content = Window.partitionBy(*KEYS, "policy_hash", "appeal_id").orderBy(position)
    return items.withColumn("rank", F.row_number().over(by_content)).where("rank = 1").drop("rank")


def _complete(items: DataFrame, sample_id: str, draw: dict[str, Any], now: datetime) -> DataFrame:
    """The columns of `review_items`, but for the content."""
    identity = ("purpose", "collection", "content_id", "content_hash", "policy", "policy_hash", "appeal_id")
    parts = [F.lit(sample_id), *(F.coalesce(name, F.lit("")) for name in identity)]
    return items.withColumns(
        {
            # As JSON, so that no two lists of parts are the same text.
            "item_id": F.sha2(F.to_json(F.array(*parts)), 256),
            "sample_id": F.lit(sample_id),
            "stratum_size": _by_stratum(draw["strata"]).cast("bigint"),
            "drawn_at": F.lit(now).cast("timestamp"),
            "draw": F.lit(json.dumps(draw)),
        }
    )


def _contents(source: Source, keys: DataFrame) -> DataFrame:
    """(content_id, content_hash, content as JSON) of some contents, one row each."""
    payload = source.payload
    few = source.frame.join(F.broadcast(keys.distinct()), on=list(KEYS), how="left_semi")
    rows = few.select(*KEYS, payload).dropDuplicates(list(KEYS))

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            texts = [content_json(READERS[payload](cell.as_py())) for cell in batch.column(payload)]
            columns = [*(batch.column(name) for name in KEYS), pa.array(texts, pa.string())]
            yield pa.RecordBatch.from_arrays(columns, names=[*KEYS, "content"])

    return rows.mapInArrow(read, ", ".join(f"{name} STRING" for name in (*KEYS, "content")))
