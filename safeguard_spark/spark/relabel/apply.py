"""Apply a re-labelling plan: run the label job on the contents it selects, within a budget."""

from typing import NamedTuple

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.config.model import RunConfig, ScreenConfig
from safeguard_spark.errors import ConfigError, PolicyError, SourceError, TableError
from safeguard_spark.labelling.labeler import Labeler
from safeguard_spark.policy.document import Policy
from safeguard_spark.relabel.budget import Budget
from safeguard_spark.relabel.estimate import estimate_cost
from safeguard_spark.relabel.plan import RelabelPlan
from safeguard_spark.relabel.scope import ScopeKind
from safeguard_spark.result import RunResult
from safeguard_spark.spark.failures import FAILED, is_gone
from safeguard_spark.spark.label.job import label_table
from safeguard_spark.spark.label.run import Selection
from safeguard_spark.spark.label.run_rows import past_runs
from safeguard_spark.spark.relabel.carry_over import carry_over_verdicts, require_scope
from safeguard_spark.spark.relabel.scoped_source import open_scoped
from safeguard_spark.spark.relabel.strata import planned_labels, rejudged, select_scope
from safeguard_spark.spark.screens import find_screen
from safeguard_spark.spark.source import RANK, Source
from safeguard_spark.spark.tables import Tables
from safeguard_spark.terminal import counted

CHUNKS_PER_CALL_BUDGET = 4  # at least; so that the last chunk, which does not fit, is a small part of the budget
CHUNKS_PER_TIME_BUDGET = 10
DEFAULT_CHUNK_ROWS = 2_000  # with a time budget, if there is no past run to estimate the rate from


class SourceChange(NamedTuple):
    """How the contents in scope differ from those planned. Counts are None if the planned version is gone."""

    planned: int | None  # source version of the plan
    now: int | None  # source version now
    added: int | None
    edited: int | None
    gone: int | None
    rows_planned: int
    rows_now: int

    def __str__(self) -> str:
        where = f" from version {self.planned} to {self.now}" if self.planned != self.now else ""
        if self.added is None:
            return (
                f"The source changed{where}: the scope had {counted(self.rows_planned, 'content', 'contents')}, now "
                f"{self.rows_now:,}."
            )
        what = f"{self.added:,} new, {self.edited:,} edited, {self.gone:,} gone"
        return f"The source changed{where}. Contents in scope since the plan: {what}."


class Application(NamedTuple):
    """A plan, the version to label under, and the contents the plan selects now."""

    plan: RelabelPlan
    policy: Policy
    source: Source
    source_change: SourceChange | None


class Applied(NamedTuple):
    """The result of applying a plan; `carried` counts the contents whose old verdict was carried over."""

    result: RunResult
    carried: int


def load_plan(tables: Tables, plan_id: str) -> RelabelPlan:
    """A stored plan. Raises TableError if there is none with this id."""
    rows = tables.read(schema.PLANS)
    row = rows.where(F.col("plan_id") == plan_id).first()
    if row is None:
        newest = [r["plan_id"] for r in rows.orderBy(F.desc("created_at")).select("plan_id").limit(5).collect()]
        raise TableError(f"There is no plan {plan_id}. The newest plans: {', '.join(newest) or 'none'}.")
    return RelabelPlan.from_row(row.asDict(recursive=True))


def prepare_application(
    spark: SparkSession, config: RunConfig, plan: RelabelPlan, policy: Policy, order: str | None = None
) -> Application:
    """The contents a plan selects in the current source.

    Raises PolicyError or ConfigError if the policy, the labeler or the source is not the one of the plan.
    """
    if (policy.name, policy.policy_hash) != (plan.policy, plan.new_hash):
        raise PolicyError(
            f"Plan {plan.plan_id} is for {plan.new_ref} with policy hash {plan.new_hash[:12]}, but {policy.ref} has "
            f"{policy.policy_hash[:12]}. Plan again."
        )
    labeler = Labeler.of(config, policy)
    if labeler.labeler_hash != plan.labeler_hash:
        raise ConfigError(
            f"Plan {plan.plan_id} was made with another labeler than the configured {labeler.name}. Use the "
            "configuration of the plan, or plan again."
        )
    tables = Tables.open(spark, config.output)
    old, screen_id = planned_labels(tables, plan), config.screen.id
    strata = find_screen(tables, screen_id).strata if screen_id else None
    source = select_scope(open_scoped(spark, config, plan.scope, order=order, strata=strata), old, plan.scope)
    planned, configured = _source_text(plan.source, plan.collection), _source_text(source.name, config.source.name)
    if planned != configured:
        raise ConfigError(
            f"Plan {plan.plan_id} was made on {planned}, but the configured source is {configured}. Plan again."
        )
    return Application(plan, policy, source, _source_change(spark, config, plan, source, old))


def _source_text(name: str, collection: str | None) -> str:
    return name if collection is None else f"{name} (source.name {collection})"


def _source_change(
    spark: SparkSession, config: RunConfig, plan: RelabelPlan, source: Source, old: DataFrame
) -> SourceChange | None:
    if source.version == plan.source_version and source.version is not None:
        return None
    rows = source.frame.count()
    uncounted = SourceChange(plan.source_version, source.version, None, None, None, plan.rows, rows)
    if plan.source_version is None:
        return uncounted if rows != plan.rows else None
    try:
        planned = select_scope(open_scoped(spark, config, plan.scope, version=plan.source_version), old, plan.scope)
        before = planned.frame.select("content_id", F.col("content_hash").alias("before"))
        now = source.frame.select("content_id", F.col("content_hash").alias("now"))
        conditions = {"added": "before IS NULL", "edited": "before != now", "gone": "now IS NULL"}
        counts = [F.expr(f"count_if({condition})").alias(name) for name, condition in conditions.items()]
        row = before.join(now, on="content_id", how="full").agg(*counts).first()
    except (SourceError, *FAILED) as error:
        if is_gone(error.__cause__ if isinstance(error, SourceError) else error):
            return uncounted
        raise
    assert row is not None  # an aggregate without groups has one row
    return uncounted._replace(added=row["added"], edited=row["edited"], gone=row["gone"])


def apply_plan(
    spark: SparkSession,
    config: RunConfig,
    application: Application,
    budget: Budget,
    *,
    carry: bool = False,
    show: bool = True,
) -> Applied:
    """Label what a plan selects, within the budget. Call it again to continue.

    With `carry`, once all of it is labelled, carry over the verdicts of the contents that the change does not affect.
    Raises ConfigError, before it labels anything, if the plan does not know which those are.
    """
    plan, chunk_rows = application.plan, config.run.chunk_rows
    if carry:
        require_scope(plan)
    if budget.calls is not None:
        chunk_rows = min(chunk_rows, -(-budget.calls // CHUNKS_PER_CALL_BUDGET))
    if budget.seconds is not None:
        estimate = estimate_cost(1, past_runs(Tables.open(spark, config.output), plan.labeler_hash))
        rows = estimate.calls_per_s.median * budget.seconds / CHUNKS_PER_TIME_BUDGET if estimate else DEFAULT_CHUNK_ROWS
        chunk_rows = min(chunk_rows, max(1, int(rows)))
    run = config.model_copy(update={"run": config.run.model_copy(update={"chunk_rows": chunk_rows})})
    again = rejudged(Tables.open(spark, config.output), plan.scope)
    if again:
        run = run.model_copy(update={"screen": ScreenConfig()})
    # All of the source in any order is labelled as by the label job, and the next run need not read it again.
    is_whole = plan.scope.kind is ScopeKind.all and RANK not in application.source.frame.columns
    source = None if is_whole else application.source
    selection = Selection(source, budget, plan.plan_id, rejudged=again)
    result = label_table(spark, run, [application.policy], show=show, selection=selection)
    carried = carry_over_verdicts(spark, config, plan, application.policy) if carry and not result.exit_code else 0
    return Applied(result, carried)
