"""Carry over: verdicts that a policy's change does not affect become labels of the new version, without a call.

So a version can be active for the whole table although only the affected contents were labelled again. The column
`carried_from` of such a label names the version of its verdict; comparisons of versions leave these labels out.
"""

import contextlib
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError
from safeguard_spark.labelling.verdict import Outcome
from safeguard_spark.policy.document import Policy
from safeguard_spark.relabel.plan import RelabelPlan
from safeguard_spark.relabel.scope import ScopeKind
from safeguard_spark.result import RunResult, Status
from safeguard_spark.spark.commit_log import LabelScope, append_labels
from safeguard_spark.spark.coverage import spec_key
from safeguard_spark.spark.label.run_rows import append_run, count_written
from safeguard_spark.spark.labels import CONTENT, newest_per_content, of_version
from safeguard_spark.spark.relabel.strata import AFFECTED, planned_labels, strata_of_labels
from safeguard_spark.spark.source import open_source, work_key
from safeguard_spark.spark.staging import Manifest, SourceVersion, Staging
from safeguard_spark.spark.tables import Tables


def require_scope(plan: RelabelPlan) -> None:
    """Raise ConfigError unless the plan knows which contents the change affects: its scope is `touched`."""
    if plan.old is None:
        raise ConfigError(
            f"Plan {plan.plan_id} names no earlier version with labels, so there is no verdict to carry over. Apply it "
            "without --carry, or plan again with --from VERSION."
        )
    if plan.scope.kind is not ScopeKind.touched:
        raise ConfigError(
            f"Plan {plan.plan_id} has scope {plan.scope}: only a plan with scope touched says which contents the "
            "change does not affect. Apply it without --carry, or plan again with --scope touched."
        )


def carry_over_verdicts(spark: SparkSession, config: RunConfig, plan: RelabelPlan, policy: Policy) -> int:
    """Copy the old verdict of every content the change does not affect to the new version; returns the rows written.

    Only contents that were not edited since, and have no label under the new version. Safe to repeat. Raises
    ConfigError unless the plan's scope is `touched`.
    """
    require_scope(plan)
    tables = Tables.open(spark, config.output)
    tables.create()  # the columns of this release
    started, version = datetime.now(UTC), tables.version(schema.LABELS)
    source = open_source(spark, config.source)
    contents = source.frame.select("content_id", "content_hash").distinct()
    contents = contents.withColumn("collection", F.lit(config.source.collection(source.name)))
    rows = _rows(tables, plan, policy, contents, version).cache()
    try:
        count = rows.count()
        if count:
            run_id = f"carry-{started:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
            scope = LabelScope(
                config.source.collection(source.name), spec_key(policy, plan.labeler_hash), None, source.version
            )
            manifest = _manifest(config, plan, policy, started, version)
            with _staged(tables, config, manifest, run_id):
                append_labels(tables, rows.withColumn("run_id", F.lit(run_id)), run_id, 0, version, scope)
                _append_run(tables, config, plan, manifest, run_id)
    finally:
        rows.unpersist()
    return count


def _rows(tables: Tables, plan: RelabelPlan, policy: Policy, contents: DataFrame, version: int) -> DataFrame:
    """The labels to append, without `labelled_at` and `run_id`."""
    assert plan.old is not None  # see require_scope
    labels = tables.read(schema.LABELS, version)
    # Of this labeler only: its labels become active with the version. With another one every content is affected.
    old, new = (of_version(labels, version, plan.labeler_hash) for version in (plan.old, policy))
    newest = newest_per_content(old, *(name for name in schema.LABELS.names if name not in CONTENT))
    keys = [*CONTENT, "content_hash"]
    affected = strata_of_labels(planned_labels(tables, plan), plan.scope).where(F.col("stratum") == AFFECTED)
    carried = (
        newest.where(~F.col("outcome").isin(Outcome.engine_failed.value, Outcome.screened.value))
        .join(contents, on=keys, how="left_semi")
        .join(affected, on="content_id", how="left_anti")
        .join(new.select(keys), on=keys, how="left_anti")
    )
    # The labeler's columns stay those of the old label: it is its verdict. The tokens were spent there, not here.
    no_tokens = {name: F.lit(None).cast("bigint") for name in ("prompt_tokens", "cached_tokens", "completion_tokens")}
    return carried.withColumns({
        "carried_from": F.coalesce("carried_from", "policy_version"),
        "policy_version": F.lit(policy.version),
        "policy_hash": F.lit(policy.policy_hash),
        "work_key": work_key(policy.policy_hash, F.col("labeler_hash")),
        "chunk": F.lit(0),
        "screen": F.lit(None).cast("string"),  # it was audited under the old version
        **no_tokens,
    }).drop("run_id")  # fmt: skip


def _manifest(config: RunConfig, plan: RelabelPlan, policy: Policy, started: datetime, version: int) -> Manifest:
    """The manifest of a run that began at `started`, on a version of `labels`."""
    source = SourceVersion(name=plan.source, version=plan.source_version, collection=plan.collection)
    return Manifest.of(
        config,
        source,
        [policy],
        [plan.labeler_hash],
        started_at=started,
        labels_version=version,
        plan_id=plan.plan_id,
    )


@contextlib.contextmanager
def _staged(tables: Tables, config: RunConfig, manifest: Manifest, run_id: str) -> Iterator[None]:
    """Stage a run's manifest while a block runs: if the block does not end, a later run records this one."""
    staging = Staging(tables.spark, config.run.staging or tables.sibling_folder("_staging"))
    with staging.heartbeat(run_id, config.run.heartbeat_s):  # first: without it a driver counts as dead
        staging.write(manifest, run_id)
        try:
            yield
        except Exception:
            with contextlib.suppress(Exception):  # the first error is the one to report
                staging.write(manifest.model_copy(update={"failed": True}), run_id)
            raise
        staging.clear(run_id)


def _append_run(tables: Tables, config: RunConfig, plan: RelabelPlan, manifest: Manifest, run_id: str) -> None:
    """Append the row of `runs`, so that the `run_id` of these labels leads to what wrote them."""
    written = count_written(tables, run_id, config.run.max_attempts)
    result = RunResult(
        run_id=run_id,
        status=Status.complete,
        rows=written.rows,
        pending=written.rows,
        calls=0,
        written=written.rows,
        outcomes=written.outcomes,
        tokens=written.tokens,
        seconds={"total": (datetime.now(UTC) - manifest.started_at).total_seconds()},
        message=f"Verdicts of {plan.policy}@{plan.old_version} that the change does not affect, carried over.",
    )
    append_run(tables, manifest, result)
