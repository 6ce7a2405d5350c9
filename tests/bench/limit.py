"""The limit: `LLM.generate` with every prompt at once, rendered before the clock starts, answers not read."""

import os
import time
from pathlib import Path
from typing import Any

from tests.bench import workload
from tests.bench.contender import Done
from tests.bench.models import Model
from tests.bench.replay import NAME


def llm(model: Model) -> Any:
    """vLLM in this process, with the arguments every contender's engine has."""
    os.environ.update(model.env)
    from vllm import LLM

    return LLM(model=model.folder, logits_processors=[NAME], **model.args)


def sampling() -> Any:
    """The sampling parameters of the label job."""
    from vllm import SamplingParams

    from safeguard_spark.engines.protocol import STOP_IDS

    return SamplingParams(
        temperature=0.0, max_tokens=workload.MAX_TOKENS, stop_token_ids=list(STOP_IDS), detokenize=False
    )


def tokens(outputs: list[Any]) -> Done:
    """The figures of `LLM.generate`'s outputs."""
    return Done(
        rows=len(outputs),
        output_tokens=sum(len(output.outputs[0].token_ids) for output in outputs),
        prompt_tokens=sum(len(output.prompt_token_ids) for output in outputs),
        cached_tokens=sum(output.num_cached_tokens or 0 for output in outputs),
    )


class Limit:
    """vLLM with all rows at once; or, with `batch`, that many at a time: the cost of draining a batch UDF alone."""

    def __init__(self, model: Model, setting: dict[str, Any], folder: Path) -> None:
        self._llm = llm(model)
        self._body = workload.policy().body

    def run(self, table: Path, setting: dict[str, Any]) -> Done:
        prompts = [{"prompt_token_ids": workload.prompt(self._body, text)} for text in workload.read(table)]
        start = time.monotonic()
        batch = int(setting.get("batch") or len(prompts))
        outputs = []
        for first in range(0, len(prompts), batch):
            outputs += self._llm.generate(prompts[first : first + batch], sampling(), use_tqdm=False)
        wall_s = time.monotonic() - start
        done = tokens(outputs)
        done.wall_s, done.engine_starts = wall_s, 1
        return done

    def close(self) -> None:
        del self._llm
