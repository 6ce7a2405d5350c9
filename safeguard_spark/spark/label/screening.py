"""Screening: which pending contents a screen clears, staged with the plan, and which of those audit it."""

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError, EngineError, PolicyError
from safeguard_spark.labelling.content import Content
from safeguard_spark.labelling.prompt import Prompt
from safeguard_spark.labelling.rows import LabelSpec, prepare
from safeguard_spark.labelling.verdict import Outcome
from safeguard_spark.policy.document import Effort
from safeguard_spark.screen.glance import GlanceScreen
from safeguard_spark.screen.linear import LinearScreen
from safeguard_spark.screen.record import Screen
from safeguard_spark.screen.scorer import Scorer, Scores
from safeguard_spark.spark import executors
from safeguard_spark.spark.files import Files
from safeguard_spark.spark.label.executor import READERS, Recipe
from safeguard_spark.spark.source import STRATUM
from safeguard_spark.tracking.artifacts import read_artifact

log = logging.getLogger(__name__)

# Of contents that a screen cleared `distance` is null; of others it says by how much they are above the threshold.
# A row without a bucket is of no content: its `error` is why a task scored no more contents.
CLEARED = pa.schema([
    ("work_key", pa.string()), ("bucket", pa.int32()), ("distance", pa.float64()), ("error", pa.string()),
])  # fmt: skip
CLEARED_TYPE = from_arrow_schema(CLEARED)
SCREENED_COST = pa.schema([(name, pa.int64()) for name in ("calls", "prompt_tokens", "cleared", "cleared_tokens")])
BATCH = 1_000  # contents scored at once: their n-grams are in memory together
SHORT = 8  # a content of so many times fewer characters than a prompt may have tokens is short enough for any prompt


class StagedScreen(BaseModel):
    """A screen as a plan has staged what it clears. `audited_up_to`: contents up to this key are audited.

    `close_up_to`: contents that are not cleared up to this distance are judged again with more effort; None: none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    screen_id: str
    screen_hash: str
    kind: str
    run_id: str
    audited_up_to: str
    spared: int
    close_up_to: float | None = None

    def close(self, rows: DataFrame) -> DataFrame:
        """(work_key, is_close) of staged rows that the screen nearly cleared."""
        return rows.where(F.col("distance") <= F.lit(self.close_up_to)).select(
            "work_key", F.lit(True).alias("is_close")
        )

    def cleared(self, rows: DataFrame) -> DataFrame:
        """(work_key, is_audited) of staged rows that the screen cleared."""
        rows = rows.where("distance IS NULL")
        return rows.select("work_key", (_audit_key(self.run_id) <= self.audited_up_to).alias("is_audited"))

    def verdicts(self, cleared: DataFrame) -> DataFrame:
        """The verdicts of cleared contents that are not audited."""
        spared = cleared.where("NOT is_audited").select("work_key")
        return spared.withColumns({
            "outcome": F.lit(Outcome.screened.value),
            "violation": F.lit(False),
            "effort": F.lit(Effort.none.value),
            "called": F.lit(False),
            "engine_unavailable": F.lit(False),
            "screen": F.lit(self.screen_id),
        })  # fmt: skip

    def audited(self, cleared: DataFrame) -> DataFrame:
        """(work_key, screen) of cleared contents that are audited."""
        return cleared.where("is_audited").select("work_key", F.lit(self.screen_id).alias("screen"))

    @property
    def label_columns(self) -> dict[str, str]:
        """What the columns of a screened label say in place of what they say of the labeler's."""
        return {"labeler": f"screen/{self.screen_id}", "labeler_hash": self.screen_hash, "model": self.kind}


def _audit_key(run_id: str) -> Column:
    """Uniform over contents, and other contents in every run, so that no content decides whether it is audited."""
    return F.sha2(F.concat(F.col("work_key"), F.lit(run_id)), 256)


@dataclass(frozen=True)
class ScreenRecipe:
    """What a worker needs to score contents: a classifier, or how the engine is opened."""

    labelling: Recipe
    screen: Screen
    classifier: LinearScreen | None

    @classmethod
    def of(cls, labelling: Recipe, screen: Screen) -> "ScreenRecipe":
        """The recipe of a run, with the classifier from MLflow. Raises TableError, ConfigError, TrackingError."""
        if screen.artifact is None:
            return cls(labelling, screen, None)
        data = read_artifact(labelling.config, screen.artifact, str(screen.artifact_sha256))
        return cls(labelling, screen, LinearScreen.loads(data))

    @property
    def spec(self) -> LabelSpec:
        """The policy and the labeler that the screen stands in for."""
        return self.labelling.spec

    @contextlib.contextmanager
    def scorer(self) -> Iterator[Scorer]:
        """The scorer of this executor."""
        if self.classifier is not None:
            yield self.classifier
            return
        with self.labelling.engine() as engine:
            yield GlanceScreen(self.spec, engine)

    @property
    def escalate(self) -> float | None:
        """The share of calls that are made once more for contents near the threshold; None: it is not asked for."""
        return self.spec.labeler.escalate if self.screen.kind == "glance" else None

    def distances(self, scorer: Scorer, batch: pa.RecordBatch, contents: list[Content]) -> Scores:
        """By how much the contents of a batch are above the threshold. NaN where the labeler needs no call."""
        has_prompt = np.array([_has_prompt(self.spec, content) for content in contents], dtype=np.bool_)
        scores = np.full(len(contents), np.nan)
        scores[has_prompt] = scorer.scores([contents[number] for number in np.flatnonzero(has_prompt)])
        strata = batch.column(STRATUM).to_pylist() if STRATUM in batch.schema.names else None
        return self.screen.distances(scores, strata)


def _has_prompt(spec: LabelSpec, content: Content) -> bool:
    """Whether the labeler would be called. Long contents are rendered to see: it costs as much as a score."""
    if content.invalid or content.is_empty:
        return False
    return content.size < spec.labeler.max_prompt_tokens // SHORT or isinstance(prepare(spec, content), Prompt)


def clear_batches(recipe: ScreenRecipe) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function for `mapInArrow`: batches of (work_key, bucket, text or turns) to rows of `CLEARED`.

    Those that are cleared, and if any are to be judged again with more effort, those that are not. An engine that does
    not work clears nothing: the labeler judges what it has not scored, and ends the run if its engine does not either.
    """

    def staged(scorer: Scorer, batch: pa.RecordBatch) -> pa.RecordBatch:
        payload = next(name for name in batch.schema.names if name in READERS)
        contents = [READERS[payload](cell.as_py()) for cell in batch.column(payload)]
        distances = recipe.distances(scorer, batch, contents)
        is_cleared = distances < 0
        is_staged = is_cleared | (np.isfinite(distances) if recipe.escalate else False)
        columns = [*batch.select(["work_key", "bucket"]).columns, pa.array(distances, pa.float64(), mask=is_cleared)]
        columns.append(pa.nulls(batch.num_rows, pa.string()))
        return pa.RecordBatch.from_arrays(columns, schema=CLEARED).filter(pa.array(is_staged))

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        try:
            with recipe.scorer() as scorer:
                for batch in batches:
                    for start in range(0, batch.num_rows, BATCH):
                        yield staged(scorer, batch.slice(start, BATCH))
        except (ConfigError, EngineError, PolicyError) as error:
            # Not raised: Spark would run the task again, and the driver would get the cause only as a traceback.
            deque(batches, maxlen=0)
            yield pa.RecordBatch.from_pylist([{"distance": np.nan, "error": str(error)}], CLEARED)

    return run


def cost_batches(recipe: ScreenRecipe) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function for `mapInArrow`: batches of (work_key, text or turns) to `SCREENED_COST`, one row for a batch."""

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        scorer = recipe.classifier
        assert scorer is not None  # a dry run makes no call, so it has no other kind
        for batch in batches:
            payload = next(name for name in batch.schema.names if name in READERS)
            totals = dict.fromkeys(SCREENED_COST.names, 0)
            for start in range(0, batch.num_rows, BATCH):
                part = batch.slice(start, BATCH)
                contents = [READERS[payload](cell.as_py()) for cell in part.column(payload)]
                prepared = [prepare(recipe.spec, content) for content in contents]
                cleared = recipe.distances(scorer, part, contents) < 0
                for prompt, is_cleared in zip(prepared, cleared.tolist(), strict=True):
                    if isinstance(prompt, Prompt):
                        tokens = len(prompt.token_ids or ())
                        totals["calls"] += 1
                        totals["prompt_tokens"] += tokens
                        totals["cleared"] += is_cleared
                        totals["cleared_tokens"] += is_cleared * tokens
            yield pa.RecordBatch.from_pylist([totals], SCREENED_COST)

    return run


def stage_cleared(
    config: RunConfig, spec: LabelSpec, screen: Screen, folder: Files, run_id: str, *, has_reused: bool, checked: int
) -> StagedScreen | None:
    """Stage which pending contents of a plan the screen clears, and draw those to audit; None if it clears none.

    `checked`: contents that the audits of earlier runs have checked.
    """
    pending = folder.spark.read.parquet(folder.path("pending")).where("is_first").drop("content_id", "content_hash")
    payload = next(name for name in pending.columns if name in READERS)
    columns = [name for name in ("work_key", "bucket", payload, STRATUM) if name in pending.columns]
    contents = pending.select(columns)
    if has_reused:
        reused = folder.spark.read.parquet(folder.path("reused")).select("work_key")
        contents = contents.join(reused, on="work_key", how="left_anti").select(columns)
    spark, labelling, profile = folder.spark, Recipe(config, spec, run_id, 1), None
    if screen.kind == "glance":
        running = executors.executors(spark)
        slots = executors.task_slots(spark, running)
        contents = contents.repartition(slots.total, "work_key")
        profile = executors.label_profile(spark, running, slots)
        window = -(-config.engine.requests_in_flight // slots.per_executor)
        labelling = replace(labelling, window=window, gpus={executor.id: executor.gpus for executor in running})
    recipe = ScreenRecipe.of(labelling, screen)
    scored = contents.mapInArrow(clear_batches(recipe), CLEARED_TYPE, profile=profile)
    scored.write.partitionBy("bucket").parquet(folder.path("cleared"))
    staged = folder.spark.read.schema(CLEARED_TYPE).parquet(folder.path("cleared"))
    if screen.kind == "glance" and (failed := staged.where("bucket IS NULL").first()) is not None:
        log.warning("Run %s: screen %s has not scored every content: %s", run_id, screen.screen_id, failed["error"])
    staged = staged.where("bucket IS NOT NULL")
    cleared = staged.where("distance IS NULL")
    num_cleared, num_calls = cleared.count(), contents.count()
    if not num_cleared:
        return None
    num_checks = screen.checks_of_run(num_cleared, num_calls, checked, config.screen.audit)
    keys = cleared.select(_audit_key(run_id).alias("key")).orderBy("key").limit(num_checks)
    last = keys.agg(F.max("key")).first()
    nearest = staged.agg(F.percentile_approx("distance", recipe.escalate)).first() if recipe.escalate else None
    return StagedScreen(
        screen_id=screen.screen_id,
        screen_hash=screen.screen_hash,
        kind=screen.kind,
        run_id=run_id,
        audited_up_to=str(last[0]) if last else "",
        spared=num_cleared - num_checks,
        close_up_to=nearest[0] if nearest else None,
    )
