"""Daft's vLLM provider, optional. It takes text, so the engine tokenizes; every run starts a new engine.

That start takes as long as hundreds of rows and varies, so two tables do not cancel it: it is timed.

Install: `daft` 0.7 in an environment that has vLLM, named by BENCH_DAFT_PYTHON.
"""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safeguard_spark.labelling.prompt import harmony_encoding
from tests.bench import workload
from tests.bench.contender import Done
from tests.bench.models import Model
from tests.bench.replay import NAME


class DaftProvider:
    """One engine, prompts routed by prefix."""

    def __init__(self, model: Model, setting: dict[str, Any], folder: Path) -> None:
        import daft  # noqa: F401  fails here with a clear message if it is not installed

        self._model, self._body = model, workload.policy().body

    def run(self, table: Path, setting: dict[str, Any]) -> Done:
        import daft
        from daft.functions import prompt
        from vllm import SamplingParams

        from safeguard_spark.engines.protocol import STOP_IDS

        prompts = [workload.prompt(self._body, text) for text in workload.read(table)]
        rows = daft.from_pydict({"prompt": [harmony_encoding().decode(ids) for ids in prompts]})
        sampling = SamplingParams(
            temperature=0.0, max_tokens=workload.MAX_TOKENS, stop_token_ids=list(STOP_IDS), skip_special_tokens=False
        )
        answer = prompt(
            daft.col("prompt"),
            provider="vllm-prefix-caching",
            model=self._model.folder,
            engine_args={**self._model.args, "logits_processors": [NAME]},
            generate_args={"sampling_params": sampling},
        )
        with _engine_start() as seconds:
            answers = rows.with_column("answer", answer).to_pydict()["answer"]
        assert all("no rule applies" in text for text in answers)
        return Done(
            rows=len(answers),
            output_tokens=sum(map(workload.length, prompts)),
            prompt_tokens=sum(map(len, prompts)),
            engine_starts=1,
            seconds={"start": seconds[0]},
        )

    def close(self) -> None:
        pass


@contextlib.contextmanager
def _engine_start() -> Iterator[list[float]]:
    """Collect the seconds in which vLLM makes its engine, in whichever thread Daft calls it."""
    from vllm import AsyncLLMEngine

    original, seconds = AsyncLLMEngine.from_engine_args, []

    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.monotonic()
        engine = original(*args, **kwargs)
        seconds.append(time.monotonic() - start)
        return engine

    AsyncLLMEngine.from_engine_args = timed
    try:
        yield seconds
    finally:
        AsyncLLMEngine.from_engine_args = original
