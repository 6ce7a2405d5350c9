"""Dry run: what the label job would do and cost, without changing anything."""

from collections.abc import Sequence
from typing import NamedTuple

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from safeguard_spark import schema
from safeguard_spark.config.model import RunConfig
from safeguard_spark.labelling.rows import LabelSpec
from safeguard_spark.policy.document import Policy
from safeguard_spark.result import RunResult, Status
from safeguard_spark.screen.record import Screen, unused_text
from safeguard_spark.spark.activations import inactive_message
from safeguard_spark.spark.label.candidates import Candidates, Way, find_candidates
from safeguard_spark.spark.label.executor import COST_TYPE, Recipe, count_calls
from safeguard_spark.spark.label.pending import cached_pending_keys, requested_keys, reusable_labels
from safeguard_spark.spark.label.run import by_work, configured_screen, specs_of
from safeguard_spark.spark.label.screening import SCREENED_COST, ScreenRecipe, cost_batches
from safeguard_spark.spark.screens import num_checked, without_retired
from safeguard_spark.spark.source import Source, SourceTable, distinct_contents, find_source, refuse_overlap, work_key
from safeguard_spark.spark.tables import Tables


class Cost(NamedTuple):
    """What one policy would cost. Tokens are those of the prompts, before the prefix cache.

    `spared`: calls that a screen spares, which are in neither of the others.
    """

    rows: int
    pending: int
    calls: int
    prompt_tokens: int
    spared: int = 0


def dry_run(spark: SparkSession, config: RunConfig, policies: Sequence[Policy], *, full: bool = False) -> RunResult:
    """Plan without staging, calling or writing. Raises SafeguardError as `label_table` does.

    Calls are exact for this moment; with a glance screen they are an estimate. `seconds.label` assumes the rate of past
    runs with the same labelers, and is missing if there was no such run.
    """
    specs = specs_of(config, policies)
    table = find_source(spark, config.source)
    refuse_overlap(spark, config, table)
    tables = Tables(spark, config.output or "")
    exists = tables.exists()
    labels = without_retired(tables, tables.read(schema.LABELS)) if exists else None
    screen = configured_screen(tables, config, specs) if config.screen.id else None
    table = table.by_strata(screen.strata) if screen else table
    candidates = find_candidates(table, config, specs, tables, full=full) if exists else Candidates(Way.all)
    checked = num_checked(tables, screen.screen_id) if screen else 0
    costs = _costs(config, specs, table, labels, candidates, screen, checked)
    rate = calls_per_s(tables, {spec.labeler.labeler_hash for spec in specs}) if exists else None
    calls = sum(cost.calls for cost in costs)
    sentences = [unused_text(screen)] if screen and screen.is_retired else []
    sentences += [inactive] if exists and (inactive := inactive_message(tables, specs)) else []
    return RunResult(
        run_id="",
        status=Status.planned,
        rows=sum(cost.rows for cost in costs),
        pending=sum(cost.pending for cost in costs),
        calls=calls,
        written=0,
        outcomes={},
        tokens={"prompt": sum(cost.prompt_tokens for cost in costs)},
        seconds={"label": round(calls / rate, 1)} if rate else {},
        tables={table.name: tables.path(table) for table in schema.TABLES},
        message=" ".join(sentences) or None,
        candidates=candidates.message,
        screen_id=screen.screen_id if screen and not screen.is_retired else None,
        spared=sum(cost.spared for cost in costs),
    )


def _costs(
    config: RunConfig,
    specs: Sequence[LabelSpec],
    table: SourceTable,
    labels: DataFrame | None,
    candidates: Candidates,
    screen: Screen | None,
    checked: int,
) -> list[Cost]:
    """What each of the specs would cost."""
    if candidates.covered and candidates.is_nothing:
        return [Cost(candidates.covered.rows, 0, 0, 0) for _ in specs]
    labels = table.spark.createDataFrame([], schema.LABELS.ddl) if labels is None else labels
    source, (first, later) = candidates.contents(table), by_work(specs)
    costs = [cost_of(config, spec, source, labels, screen, checked) for spec in first]
    for spec in later:  # they reuse the verdicts of the first
        with cached_pending_keys(config, spec, source, labels) as keys:
            costs.append(Cost(costs[0].rows, keys.rows, 0, 0))
    rows = candidates.num_rows(table)
    return costs if rows is None else [cost._replace(rows=rows) for cost in costs]


def cost_of(
    config: RunConfig,
    spec: LabelSpec,
    source: Source,
    labels: DataFrame,
    screen: Screen | None = None,
    checked: int = 0,
) -> Cost:
    """What labelling a source under one policy would cost now, with a screen if it is one of this spec.

    `checked`: contents that the screen's audits have checked.
    """
    with cached_pending_keys(config, spec, source, labels) as keys:
        pending = source.frame.join(keys.frame, on=["content_id", "content_hash"], how="inner")
        calls = distinct_contents(
            pending.withColumn("work_key", work_key(spec.policy.policy_hash, spec.labeler.labeler_hash)),
            "work_key",
            source.payload,
        ).join(reusable_labels(labels, spec).select("work_key"), on="work_key", how="left_anti")
        recipe = Recipe(config, spec, "", 1)
        if screen is not None and (screen.is_retired or not screen.fits(spec)):
            screen = None
        if screen is None or screen.kind == "glance":
            costs = calls.mapInArrow(count_calls(recipe), COST_TYPE)
        else:
            costs = calls.mapInArrow(cost_batches(ScreenRecipe.of(recipe, screen)), from_arrow_schema(SCREENED_COST))
        row = costs.agg(*(F.coalesce(F.sum(name), F.lit(0)).alias(name) for name in costs.columns)).first()
        assert row is not None  # an aggregate without groups has one row
        total: dict[str, float] = row.asDict()
        num_calls, tokens, spared = int(total["calls"]), int(total["prompt_tokens"]), 0
        if screen is not None and screen.kind == "glance":  # without a call only its share is known
            total = {"cleared": num_calls * screen.cleared, "cleared_tokens": tokens * screen.cleared}
        if screen is not None and (cleared := round(total["cleared"])):
            spared = cleared - screen.checks_of_run(cleared, num_calls, checked, config.screen.audit)
            tokens -= round(total["cleared_tokens"] * spared / cleared)
        return Cost(requested_keys(source, config.source.limit).count(), keys.rows, num_calls - spared, tokens, spared)


def calls_per_s(tables: Tables, labeler_hashes: set[str]) -> float | None:
    """Calls per second of label time over all past runs of exactly these labelers; None without such a run."""
    hashes = F.array_sort(F.array(*(F.lit(labeler_hash) for labeler_hash in sorted(labeler_hashes))))
    runs = tables.read(schema.RUNS).where(F.array_sort(F.array_distinct("labeler_hashes")) == hashes)
    row = runs.where("calls > 0").agg(F.sum("calls"), F.sum(F.col("seconds")["label"])).first()
    if row is None or not row[0] or not row[1]:
        return None
    return float(row[0]) / float(row[1])
