"""What runs in a Python worker: contents in, verdicts out, through the one engine of this executor."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from safeguard_spark.config.model import EngineKind, RunConfig
from safeguard_spark.engines.factory import open_engine
from safeguard_spark.engines.processes import lower_own_priority
from safeguard_spark.errors import ConfigError, EngineError
from safeguard_spark.labelling.content import Content, from_text, from_turns
from safeguard_spark.labelling.engine import Engine
from safeguard_spark.labelling.labeler import Labeler
from safeguard_spark.labelling.prompt import Prompt
from safeguard_spark.labelling.rows import Labelled, LabelSpec, Row, label_rows, prepare
from safeguard_spark.labelling.verdict import Outcome, Verdict
from safeguard_spark.policy.document import Policy
from safeguard_spark.spark.label.progress import Reporter

# Outgoing batches end at whichever comes first, so that memory stays flat and results leave as they finish.
BATCH_ROWS, BATCH_BYTES = 1024, 4 << 20

RESULT = pa.schema([
    ("work_key", pa.string()),
    ("outcome", pa.string()),
    ("violation", pa.bool_()),
    ("category", pa.string()),
    ("rule_ids", pa.list_(pa.string())),
    ("confidence", pa.string()),
    ("rationale", pa.string()),
    ("error", pa.string()),
    ("finish_reason", pa.string()),
    ("reasoning", pa.string()),
    ("raw_output", pa.string()),
    ("prompt_tokens", pa.int64()),
    ("cached_tokens", pa.int64()),
    ("completion_tokens", pa.int64()),
    ("asked", pa.bool_()),
    ("fatal", pa.bool_()),
    ("engines", pa.list_(pa.string())),
    ("lost", pa.string()),
])  # fmt: skip
RESULT_DDL = (
    "work_key STRING, outcome STRING, violation BOOLEAN, category STRING, rule_ids ARRAY<STRING>, confidence STRING, "
    "rationale STRING, error STRING, finish_reason STRING, reasoning STRING, raw_output STRING, prompt_tokens BIGINT, "
    "cached_tokens BIGINT, completion_tokens BIGINT, asked BOOLEAN, fatal BOOLEAN, engines ARRAY<STRING>, lost STRING"
)


COST = pa.schema([("calls", pa.int64()), ("prompt_tokens", pa.int64())])
COST_DDL = "calls BIGINT, prompt_tokens BIGINT"


@dataclass(frozen=True)
class Recipe:
    """What a worker needs to label: plain values, never live objects."""

    config: dict[str, Any]
    policy: dict[str, Any]
    labeler: dict[str, Any]
    run_id: str
    window: int  # requests this task keeps in flight
    progress: tuple[str, int, str] | None = None  # host, port and token of the driver's progress listener

    def job(self) -> LabelSpec:
        """The job this recipe describes."""
        return LabelSpec(Policy.model_validate(self.policy), Labeler.model_validate(self.labeler))

    def engine(self) -> Engine:
        """The engine of this executor; nothing is started before its first request."""
        config = RunConfig.model_validate(self.config).engine
        if config.kind is EngineKind.vllm:
            lower_own_priority(config.niceness)
        return open_engine(config, run_id=self.run_id, window=self.window, devices=devices())


class Input(NamedTuple):
    """A staged content and the key its verdict goes by."""

    work_key: str
    content: Content


def devices() -> list[str]:
    """GPU addresses Spark gave this task; none outside a task or without GPUs."""
    from pyspark import TaskContext

    context = TaskContext.get()
    gpu = context.resources().get("gpu") if context else None
    return list(gpu.addresses) if gpu else []


def label_batches(recipe: Recipe) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function for `mapInArrow`: batches of (work_key, text or turns) to batches of `RESULT`."""

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        inputs = (row for batch in batches for row in _inputs(batch))
        yield from _results(recipe, inputs)

    return run


def count_calls(recipe: Recipe) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function for `mapInArrow`: batches of (work_key, text or turns) to (calls, prompt_tokens) they would cost."""

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        job = recipe.job()
        for batch in batches:
            ready = [prepare(job, item.content) for item in _inputs(batch)]
            prompts = [prompt for prompt in ready if isinstance(prompt, Prompt)]
            tokens = sum(len(prompt.token_ids or ()) for prompt in prompts)
            yield pa.RecordBatch.from_pydict({"calls": [len(prompts)], "prompt_tokens": [tokens]}, COST)

    return run


def _results(recipe: Recipe, inputs: Iterator[Input]) -> Iterator[pa.RecordBatch]:
    keys: dict[int, str] = {}

    def rows() -> Iterator[Row]:
        for number, item in enumerate(inputs):
            keys[number] = item.work_key
            yield Row(number, item.content)

    out = _Batch()
    with recipe.engine() as engine, Reporter(recipe.progress) as report:
        try:
            for done in label_rows(recipe.job(), engine, rows()):
                report.add(done, engine)
                out.add(keys.pop(done.key), done)
                if out.is_full:
                    yield out.flush(engine)
        except (EngineError, ConfigError) as error:
            # Not raised: Spark would try the task again, and the driver could tell the cause only from a traceback.
            lost = [*keys.values(), *(item.work_key for item in inputs)]
            for key in lost:
                out.add(key, Labelled(-1, Verdict(Outcome.engine_failed, error=str(error))), fatal=True)
                if out.is_full:
                    yield out.flush(engine)
        if out.rows:
            yield out.flush(engine)


class _Batch:
    """Results on their way out."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._bytes = 0
        self._since = time.monotonic()

    @property
    def is_full(self) -> bool:
        return len(self.rows) >= BATCH_ROWS or self._bytes >= BATCH_BYTES

    def add(self, key: str, done: Labelled, *, fatal: bool = False) -> None:
        verdict, completion = done.verdict, done.completion
        self._bytes += len(verdict.raw_output or "") + len(verdict.reasoning or "") + 500
        self.rows.append({
            "work_key": key,
            "outcome": verdict.outcome.value,
            "violation": verdict.violation,
            "category": verdict.category,
            "rule_ids": list(verdict.rule_ids),
            "confidence": verdict.confidence,
            "rationale": verdict.rationale,
            "error": verdict.error,
            "finish_reason": completion.finish_reason if completion else None,
            "reasoning": verdict.reasoning,
            "raw_output": verdict.raw_output,
            "prompt_tokens": completion.prompt_tokens if completion else None,
            "cached_tokens": completion.cached_tokens if completion else None,
            "completion_tokens": completion.completion_tokens if completion else None,
            "asked": done.called,
            "fatal": fatal,
            "engines": None,
            "lost": None,
        })  # fmt: skip

    def flush(self, engine: Engine) -> pa.RecordBatch:
        # Which engines this run started, and whether one is lost, is known only now; one row of a batch carries it.
        self.rows[0] |= {"engines": sorted(engine.server_ids), "lost": engine.unavailable}
        batch = pa.RecordBatch.from_pylist(self.rows, RESULT)
        self.rows, self._bytes = [], 0
        return batch


def _inputs(batch: pa.RecordBatch) -> Iterator[Input]:
    keys = batch.column("work_key")
    names = batch.schema.names
    cells = batch.column("turns" if "turns" in names else "text")
    for number in range(batch.num_rows):
        cell = cells[number].as_py()
        if "turns" in names:
            turns = None if cell is None else [(turn and turn["role"], turn and turn["text"]) for turn in cell]
            yield Input(keys[number].as_py(), from_turns(turns))
        else:
            yield Input(keys[number].as_py(), from_text(cell))


def as_recipe(config: RunConfig, job: LabelSpec, run_id: str, window: int, progress: Any = None) -> Recipe:
    """A recipe of live objects."""
    return Recipe(
        config=json.loads(config.model_dump_json()),
        policy=job.policy.model_dump(mode="json"),
        labeler=job.labeler.model_dump(mode="json"),
        run_id=run_id,
        window=window,
        progress=progress,
    )
