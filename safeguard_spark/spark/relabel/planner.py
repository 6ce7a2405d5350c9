"""Planner: count on the current tables what a new version of a policy affects and what labelling that costs."""

from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError, TableError
from safeguard_spark.labelling.rows import LabelSpec
from safeguard_spark.policy.document import Policy
from safeguard_spark.relabel.estimate import Estimate, estimate_cost
from safeguard_spark.relabel.plan import PlanReport, RelabelPlan, ScopeSize
from safeguard_spark.relabel.rules import RuleChanges, rule_changes
from safeguard_spark.relabel.scope import Scope, ScopeKind
from safeguard_spark.screen.record import Screen, fallen_text, unused_text
from safeguard_spark.spark.activations import labeler_of
from safeguard_spark.spark.failures import is_denied
from safeguard_spark.spark.label.dry_run import Cost, cost_of
from safeguard_spark.spark.label.pending import cached_pending_keys, requested_keys, reusable_labels
from safeguard_spark.spark.label.run_rows import past_runs
from safeguard_spark.spark.relabel.human_decisions import decide_again
from safeguard_spark.spark.relabel.scoped_source import open_scoped
from safeguard_spark.spark.relabel.strata import AFFECTED, old_labels, plan_strata, rejudged, select_scope, strata
from safeguard_spark.spark.screens import all_screens, find_screen, num_checked, without_retired
from safeguard_spark.spark.source import Source, work_key
from safeguard_spark.spark.tables import Tables
from safeguard_spark.terminal import counted


@dataclass(frozen=True)
class PlanRequest:
    """What to plan: the version whose labels are read (None: no earlier one), the version to label under, the scope.

    `labeler`: whose labels of the old version, a name or the start of a hash; None: those that stand for it.
    """

    old: Policy | None
    new: Policy
    scope: Scope
    labeler: str | None = None


def plan_relabel(spark: SparkSession, config: RunConfig, request: PlanRequest) -> PlanReport:
    """Make a plan and store it, if the user may; nothing else changes. Raises SafeguardError."""
    tables = Tables.open(spark, config.output)
    version = tables.version(schema.LABELS)
    all_labels = tables.read(schema.LABELS, version)
    spec = LabelSpec.of(config, request.new)
    old, changes = request.old, RuleChanges()
    scope, configured = request.scope, spec.labeler.ref
    is_screened = scope.kind is ScopeKind.screened_by
    if is_screened:
        find_screen(tables, str(scope.screen)).refuse_other(spec)
    labels = without_retired(tables, all_labels, rejudged(tables, scope))
    old_labeler = None if old is None else labeler_of(tables, old, configured, request.labeler)
    old_labeler = configured if is_screened else old_labeler  # the screen's, see below
    is_relabelled = old_labeler is not None and old_labeler.hash != configured.hash
    if is_relabelled and scope.kind is ScopeKind.touched:
        raise ConfigError(
            f"The labeler changes from {old_labeler} to {configured}, which affects every content. Plan with --scope "
            "all, or with --scope 'sample N' to compare the two first."
        )
    if old is not None:
        changes = rule_changes(old, request.new)
    if old is not None and not is_relabelled:
        scope = scope.model_copy(update={"rules": changes.affected, "categories": changes.categories})
    elif scope.kind is ScopeKind.touched:
        raise ConfigError("--scope touched reads the labels of an earlier version: name it with --from VERSION.")
    screen = None if is_screened else _configured_screen(tables, config, spec)
    base = open_scoped(spark, config, scope, strata=screen.strata if screen else None)
    old_hash = old_labeler.hash if old_labeler else None
    previous = old_labels(all_labels, old, old_hash, config.source.collection(base.name))
    scope = plan_strata(base, previous, scope)
    selected = select_scope(base, previous, scope)
    checked = num_checked(tables, screen.screen_id) if screen else 0
    size = cost_of(config, spec, selected, labels, screen, checked)
    plan = _plan_of(config, request, scope, base, version, old_hash, configured.hash, size)
    is_filtered = scope.kind in (ScopeKind.since, ScopeKind.where)
    whole = open_scoped(spark, config, Scope(kind=ScopeKind.all)) if is_filtered else base
    unlabelled, others = _others(config, spec, whole, previous, labels, scope)
    price = config.relabel.price_per_engine_hour
    cost = estimate_cost(plan.calls, past_runs(tables, plan.labeler_hash), price)
    return PlanReport(
        plan=plan,
        changes=changes,
        cost=cost,
        unlabelled=unlabelled,
        others=others,
        labelers=(str(old_labeler), str(configured)) if is_relabelled else None,
        decide_again=decide_again(spark, config, request.new),
        screens=(*_used(screen, size), *_fallen(tables, old, spec)),
        currency=config.relabel.currency,
        not_stored=_store(tables, plan, cost),
    )


def _configured_screen(tables: Tables, config: RunConfig, spec: LabelSpec) -> Screen | None:
    """The configured screen if it is one of the version to label under: `apply` refuses any other."""
    screen = find_screen(tables, config.screen.id) if config.screen.id else None
    return screen if screen and screen.fits(spec) else None


def _used(screen: Screen | None, size: Cost) -> list[str]:
    """What the configured screen does for a plan."""
    if screen is None:
        return []
    if screen.is_retired:
        return [unused_text(screen)]
    return [f"Screen {screen.screen_id} spares {counted(size.spared, 'more call', 'more calls')}."]


def _fallen(tables: Tables, old: Policy | None, spec: LabelSpec) -> list[str]:
    """That screens fall with a change of the policy or the labeler."""
    screens = [] if old is None else all_screens(tables)
    return [
        fallen_text(screen, spec.policy)
        for screen in screens
        if old is not None and screen.policy_hash == old.policy_hash and not screen.is_retired
        if not screen.fits(spec)
    ]


def _store(tables: Tables, plan: RelabelPlan, cost: Estimate | None) -> str:
    """Append a plan to `plans` unless it is there. Returns why not, if the user may not write there."""
    if tables.read(schema.PLANS).where(F.col("plan_id") == plan.plan_id).count():
        return ""
    try:
        tables.append(schema.PLANS, [{**plan.to_row(cost), "created_at": tables.now()}], plan.plan_id)
    except TableError as error:
        if is_denied(error.__cause__):
            return str(error)
        raise
    return ""


def _plan_of(
    config: RunConfig,
    request: PlanRequest,
    scope: Scope,
    base: Source,
    labels_version: int,
    old_labeler_hash: str | None,
    labeler_hash: str,
    size: Cost,
) -> RelabelPlan:
    old, new = request.old, request.new
    return RelabelPlan(
        policy=new.name,
        old_version=old.version if old else None,
        old_hash=old.policy_hash if old else None,
        old_labeler_hash=old_labeler_hash,
        new_version=new.version,
        new_hash=new.policy_hash,
        labeler_hash=labeler_hash,
        scope=scope,
        collection=config.source.name,
        source=base.name,
        source_version=base.version,
        labels_version=labels_version,
        rows=size.rows,
        pending=size.pending,
        calls=size.calls,
        prompt_tokens=size.prompt_tokens,
    )


def _others(
    config: RunConfig, spec: LabelSpec, whole: Source, old: DataFrame, labels: DataFrame, scope: Scope
) -> tuple[int, dict[str, ScopeSize]]:
    """Contents without a label under the new version, and the sizes of other scopes."""
    touched = scope.model_copy(update={"kind": ScopeKind.touched})
    # Without an old version no content is affected.
    sampled = strata(whole.frame.select("content_id").distinct(), old, touched).select(
        "content_id", ((F.col("stratum") == AFFECTED) | (F.col("sample_score") < touched.share)).alias("in_touched")
    )
    contents = requested_keys(whole, config.source.limit)
    judged = reusable_labels(labels, spec).select("work_key").distinct().withColumn("already_judged", F.lit(True))
    call = F.when(F.col("is_pending") & F.col("already_judged").isNull(), F.col("work_key"))
    with cached_pending_keys(config, spec, whole, labels) as keys:
        pending = keys.frame.drop("attempt").withColumn("is_pending", F.lit(True))
        joined = (
            contents.join(pending, on=["content_id", "content_hash"], how="left")
            .withColumn("work_key", work_key(spec.policy.policy_hash, spec.labeler.labeler_hash))
            .join(judged, on="work_key", how="left")
            .join(sampled, on="content_id", how="left")
        )
        row = joined.agg(
            F.count(F.lit(1)).alias("rows"),
            F.count_if("is_pending").alias("pending"),
            F.count_distinct(call).alias("calls"),
            F.count_if("in_touched").alias("touched_rows"),
            F.count_distinct(F.when(F.col("in_touched"), call)).alias("touched_calls"),
        ).first()
    assert row is not None  # an aggregate without groups has one row
    sizes = {"all": ScopeSize(row["rows"], row["calls"])} if scope.kind is not ScopeKind.all else {}
    if scope.kind is not ScopeKind.touched and scope.rules:
        sizes[str(touched)] = ScopeSize(row["touched_rows"], row["touched_calls"])
    return row["pending"], sizes
