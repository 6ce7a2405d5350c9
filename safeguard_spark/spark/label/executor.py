"""What runs in a Python worker: contents in, verdicts out, through the one engine of this executor."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType

from safeguard_spark.config.engine import VllmConfig
from safeguard_spark.config.model import RunConfig
from safeguard_spark.engines.factory import open_engine
from safeguard_spark.errors import ConfigError, EngineError, ExitCode, PolicyError
from safeguard_spark.labelling.content import Content, from_json, from_text, from_turns
from safeguard_spark.labelling.engine import Engine
from safeguard_spark.labelling.prompt import Prompt
from safeguard_spark.labelling.rows import Labelled, LabelSpec, Row, label_rows, prepare
from safeguard_spark.labelling.verdict import Outcome, Verdict
from safeguard_spark.spark.label.devices import devices
from safeguard_spark.spark.label.progress import Address, Reporter

MOVE_S = 5.0  # until the driver has taken an executor out of use
# An outgoing batch ends at either limit, so that memory stays flat and results leave as they finish.
MAX_BATCH_ROWS, MAX_BATCH_BYTES = 1024, 4 << 20

# One row per content, and one more for the other call of a second look, without outcome and tokens: the content's row
# has the tokens of both.
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
    ("effort", pa.string()),
    ("called", pa.bool_()),
    ("over_share", pa.bool_()),
    ("engine_unavailable", pa.bool_()),
    ("server_ids", pa.list_(pa.string())),
    ("engine_error", pa.string()),
    ("engine_forms", pa.list_(pa.string())),
    ("exit_code", pa.int32()),
])  # fmt: skip
TOKENS = ("prompt_tokens", "cached_tokens", "completion_tokens")
RESULT_TYPE = from_arrow_schema(RESULT)
VERDICT_COLUMNS = RESULT.names[1 : RESULT.names.index("error") + 1]
VERDICT_TYPE = StructType([RESULT_TYPE[name] for name in VERDICT_COLUMNS])

COST = pa.schema([("calls", pa.int64()), ("prompt_tokens", pa.int64())])
COST_TYPE = from_arrow_schema(COST)


@dataclass(frozen=True)
class Recipe:
    """What a worker needs to label: frozen models, never live objects."""

    config: RunConfig
    spec: LabelSpec
    run_id: str
    window: int  # requests this task keeps in flight
    progress: Address | None = None  # of the driver's progress listener
    gpus: dict[str, tuple[str, ...]] = field(default_factory=dict)  # addresses by executor
    attempts: int = 1  # of a task whose engine does not start

    def engine(self) -> Engine:
        """The engine of this executor. Nothing is started before its first request."""
        config = self.config.engine
        addresses = devices(config.num_gpus, self.gpus) if isinstance(config, VllmConfig) else []
        return open_engine(config, run_id=self.run_id, window=self.window, devices=addresses)

    @property
    def attempt(self) -> int:
        """How often this task has failed before."""
        context = TaskContext.get()
        return context.attemptNumber() if context else 0


class Input(NamedTuple):
    """A staged content, the work key of its verdict, and whether a screen nearly cleared it."""

    work_key: str
    content: Content
    is_close: bool = False


def label_batches(recipe: Recipe) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function for `mapInArrow`: batches of (work_key, text or turns) to batches of `RESULT`."""

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        inputs = (row for batch in batches for row in _inputs(batch))
        yield from _results(recipe, inputs)

    return run


def count_calls(recipe: Recipe) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function for `mapInArrow`: batches of (work_key, text or turns) to their cost (calls, prompt_tokens)."""

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            prepared = [prepare(recipe.spec, item.content) for item in _inputs(batch)]
            prompts = [prompt for prompt in prepared if isinstance(prompt, Prompt)]
            tokens = sum(len(prompt.token_ids or ()) for prompt in prompts)
            yield pa.RecordBatch.from_pydict({"calls": [len(prompts)], "prompt_tokens": [tokens]}, COST)

    return run


def _results(recipe: Recipe, inputs: Iterator[Input]) -> Iterator[pa.RecordBatch]:
    keys: dict[int, str] = {}

    def rows() -> Iterator[Row]:
        for number, item in enumerate(inputs):
            keys[number] = item.work_key
            yield Row(number, item.content, item.is_close)

    batch = _ResultBatch()
    with contextlib.ExitStack() as opened:
        engine: Engine | None = None
        try:
            engine = opened.enter_context(recipe.engine())
            reporter = opened.enter_context(Reporter(recipe.progress))
            for result in label_rows(recipe.spec, engine, rows()):
                if not result.unavailable:
                    reporter.add(result, engine)
                batch.add(keys.pop(result.key), result)
                if batch.is_full:
                    yield batch.flush(engine)
        except (ConfigError, EngineError, PolicyError) as error:
            if isinstance(error, EngineError) and recipe.attempt + 1 < recipe.attempts:
                # Another executor's engine may start. Spark may have chosen this one again before the driver saw why.
                time.sleep(MOVE_S if recipe.attempt else 0.0)
                raise EngineError(str(error)) from None
            # Not raised: Spark would run the task again, and the driver would get the cause only as a traceback.
            batch.exit_code = error.exit_code
            unlabelled = [*keys.values(), *(item.work_key for item in inputs)]
            for key in unlabelled:
                verdict = Verdict(Outcome.engine_failed, error=str(error))
                batch.add(key, Labelled(-1, verdict, unavailable=True))
                if batch.is_full:
                    yield batch.flush(engine)
        if batch.rows:
            yield batch.flush(engine)


class _ResultBatch:
    """Results that are not yet written."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._bytes = 0
        self.exit_code: ExitCode | None = None  # of the error that ended the task's work

    @property
    def is_full(self) -> bool:
        return len(self.rows) >= MAX_BATCH_ROWS or self._bytes >= MAX_BATCH_BYTES

    def add(self, work_key: str, result: Labelled) -> None:
        completions = [call.completion for call in result.calls if call.completion]
        tokens = {name: sum(getattr(completion, name) for completion in completions) for name in TOKENS if completions}
        self._add(work_key, result, outcome=result.verdict.outcome.value, **tokens)
        if result.other:
            self._add(work_key, result.other)

    def _add(self, work_key: str, result: Labelled, **values: Any) -> None:
        verdict, completion = result.verdict, result.completion
        self._bytes += len(verdict.raw_output or "") + len(verdict.reasoning or "") + 500
        self.rows.append({
            "work_key": work_key,
            "violation": verdict.violation,
            "category": verdict.category,
            "rule_ids": list(verdict.rule_ids),
            "confidence": verdict.confidence,
            "rationale": verdict.rationale,
            "error": verdict.error,
            "finish_reason": completion.finish_reason if completion else None,
            "reasoning": verdict.reasoning,
            "raw_output": verdict.raw_output,
            "effort": result.effort.value if result.effort else None,
            "called": result.called,
            "over_share": result.over_share,
            "engine_unavailable": result.unavailable,
            **values,
        })  # fmt: skip

    def flush(self, engine: Engine | None) -> pa.RecordBatch:
        # What the engine has become is known only now. The first row of each batch holds it.
        self.rows[0]["exit_code"] = self.exit_code
        if engine is not None:  # else it could not be opened
            self.rows[0] |= {
                "server_ids": sorted(engine.server_ids),
                "engine_error": engine.unavailable,
                "engine_forms": engine.forms,
            }
        batch = pa.RecordBatch.from_pylist(self.rows, RESULT)
        self.rows, self._bytes = [], 0
        return batch


def _inputs(batch: pa.RecordBatch) -> Iterator[Input]:
    names = batch.schema.names
    payload = next(name for name in names if name in READERS)
    close = batch.column("is_close").to_pylist() if "is_close" in names else [None] * batch.num_rows
    for key, cell, is_close in zip(batch.column("work_key"), batch.column(payload), close, strict=True):
        yield Input(key.as_py(), READERS[payload](cell.as_py()), is_close is True)


def _from_turns(turns: list[dict[str, bytes | None] | None] | None) -> Content:
    return from_turns(
        None if turns is None else [(turn["role"], turn["text"]) if turn else (None, None) for turn in turns]
    )


READERS: dict[str, Callable[[Any], Content]] = {"text": from_text, "json": from_json, "turns": _from_turns}
