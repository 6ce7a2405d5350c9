"""Apply a plan to re-label: the label job on what it selects, as far as the budget goes."""

from dataclasses import dataclass
from typing import NamedTuple

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError, PolicyError, TableError
from safeguard_spark.labelling.labeler import Labeler
from safeguard_spark.policy.document import Policy
from safeguard_spark.relabel.budget import Budget
from safeguard_spark.relabel.estimate import estimate_cost
from safeguard_spark.relabel.plan import RelabelPlan
from safeguard_spark.result import RunResult
from safeguard_spark.spark.failures import FAILED
from safeguard_spark.spark.label.job import label_table
from safeguard_spark.spark.label.run import Selection
from safeguard_spark.spark.relabel.carry import carry_verdicts
from safeguard_spark.spark.relabel.planner import past_runs
from safeguard_spark.spark.relabel.scoped_source import open_scoped
from safeguard_spark.spark.relabel.strata import labels_at, old_labels, select_scope
from safeguard_spark.spark.source import Source
from safeguard_spark.spark.tables import Tables

CHUNKS_OF_A_BUDGET = 4  # at least; so that the last chunk that does not fit is a small part of it
FIRST_CHUNK = 2_000  # contents, where only a time is given and no past run tells the rate
CHUNKS_OF_A_TIME = 10


class Moved(NamedTuple):
    """How the contents in scope differ from those planned."""

    planned: int | None  # source version
    now: int | None
    added: int | None
    edited: int | None
    gone: int | None
    rows_planned: int
    rows_now: int

    def __str__(self) -> str:
        where = f" from version {self.planned} to {self.now}" if self.planned != self.now else ""
        if self.added is None:
            return f"The source moved{where}: {self.rows_planned:,} contents in scope then, {self.rows_now:,} now."
        what = f"{self.added:,} contents in scope are new, {self.edited:,} edited, {self.gone:,} gone"
        return f"The source moved{where}: {what} since the plan."


@dataclass(frozen=True)
class Application:
    """A plan and the contents it selects now."""

    plan: RelabelPlan
    source: Source
    moved: Moved | None


class Applied(NamedTuple):
    """The result of applying a plan; `carried` counts the contents whose old verdict was carried over."""

    result: RunResult
    carried: int


def load_plan(tables: Tables, plan_id: str) -> RelabelPlan:
    """A plan written down before. Raises TableError."""
    rows = tables.read(schema.PLANS)
    row = rows.where(F.col("plan_id") == plan_id).first()
    if row is None:
        newest = [r["plan_id"] for r in rows.orderBy(F.desc("created_at")).select("plan_id").limit(5).collect()]
        raise TableError(f"There is no plan {plan_id}. The newest plans: {', '.join(newest) or 'none'}.")
    return RelabelPlan.from_row(row.asDict(recursive=True))


def prepare_application(
    spark: SparkSession, config: RunConfig, plan: RelabelPlan, policy: Policy, order: str | None = None
) -> Application:
    """The contents a plan selects in the source as it is now. Raises SafeguardError if it is not the plan's own."""
    if (policy.name, policy.policy_hash) != (plan.policy, plan.new_hash):
        raise PolicyError(
            f"Plan {plan.plan_id} is about {plan.new_ref} with policy hash {plan.new_hash[:12]}, and {policy.ref} has "
            f"{policy.policy_hash[:12]}. Plan again."
        )
    labeler = Labeler.of(config, policy)
    if labeler.labeler_hash != plan.labeler_hash:
        raise ConfigError(
            f"Plan {plan.plan_id} counted calls for another labeler than the configuration's {labeler.name}. Use the "
            "configuration it was made with, or plan again."
        )
    tables = Tables.open_existing(spark, config)
    said = old_labels(labels_at(tables, plan.labels_version), plan.policy, plan.old_version, plan.old_hash)
    source = select_scope(open_scoped(spark, config, plan.scope, order=order), said, plan.scope)
    if source.name != plan.source:
        raise ConfigError(f"Plan {plan.plan_id} was made on {plan.source}; the configuration names {source.name}.")
    return Application(plan, source, _moved(spark, config, plan, source, said))


def _moved(spark: SparkSession, config: RunConfig, plan: RelabelPlan, source: Source, said: DataFrame) -> Moved | None:
    if source.version == plan.source_version and source.version is not None:
        return None
    rows = source.frame.count()
    unknown = Moved(plan.source_version, source.version, None, None, None, plan.rows, rows)
    if plan.source_version is None:
        return unknown if rows != plan.rows else None
    try:
        before = select_scope(open_scoped(spark, config, plan.scope, version=plan.source_version), said, plan.scope)
    except AnalysisException:  # the version has left the table's log
        return unknown
    was = before.frame.select("content_id", F.col("content_hash").alias("was"))
    now = source.frame.select("content_id", F.col("content_hash").alias("now"))
    conditions = {"added": "was IS NULL", "edited": "was != now", "gone": "now IS NULL"}
    counts = [F.expr(f"count_if({condition})").alias(name) for name, condition in conditions.items()]
    counted = was.join(now, on="content_id", how="full").agg(*counts)
    try:
        row = counted.first()
    except FAILED:  # its files have been vacuumed
        return unknown
    assert row is not None  # an aggregate without groups has one row
    return unknown._replace(added=row["added"], edited=row["edited"], gone=row["gone"])


def apply_plan(
    spark: SparkSession,
    config: RunConfig,
    application: Application,
    policy: Policy,
    budget: Budget,
    *,
    show: bool = True,
) -> RunResult:
    """Label what a plan selects, as far as the budget goes. Issue it again to go on."""
    cut = config.run.chunk_rows
    if budget.calls is not None:
        cut = min(cut, -(-budget.calls // CHUNKS_OF_A_BUDGET))
    if budget.seconds is not None:
        tables = Tables.open(spark, config)
        known = estimate_cost(1, past_runs(tables, application.plan.labeler_hash))
        in_time = known.calls_per_s.median * budget.seconds / CHUNKS_OF_A_TIME if known else FIRST_CHUNK
        cut = min(cut, max(1, int(in_time)))
    run = config.model_copy(update={"run": config.run.model_copy(update={"chunk_rows": cut})})
    selection = Selection(application.source, budget, application.plan.plan_id)
    return label_table(spark, run, [policy], show=show, selection=selection)


def apply_and_carry_over(
    spark: SparkSession,
    config: RunConfig,
    application: Application,
    policy: Policy,
    budget: Budget,
    *,
    show: bool = True,
) -> Applied:
    """Apply a plan; once all of it is labelled, carry over the verdicts of the contents the change does not affect.

    Raises ConfigError unless the plan's scope is `touched`.
    """
    result = apply_plan(spark, config, application, policy, budget, show=show)
    if result.exit_code:
        return Applied(result, 0)
    return Applied(result, carry_verdicts(spark, config, application.plan, policy))
