"""What a label task does, without Spark: separates the cost of HTTP, rendering and reading from that of Spark."""

import os
from pathlib import Path
from typing import Any

from safeguard_spark.engines.factory import open_engine
from safeguard_spark.labelling.content import from_text
from safeguard_spark.labelling.rows import LabelSpec, Row, label_rows
from safeguard_spark.labelling.verdict import Outcome
from tests.bench import job, workload
from tests.bench.contender import Done
from tests.bench.models import Model


class Seam:
    """`label_rows` over the engine the label job would start, in one process."""

    def __init__(self, model: Model, setting: dict[str, Any], folder: Path) -> None:
        self._config = job.settings(model, Path("none"), "none", 1, 1, {})
        policy = workload.policy()
        self._spec = LabelSpec.of(self._config, policy)

    def run(self, table: Path, setting: dict[str, Any]) -> Done:
        config = self._config.engine
        rows = [Row(number, from_text(text.encode())) for number, text in enumerate(workload.read(table))]
        with open_engine(config, run_id=str(os.getpid()), window=config.requests_in_flight, devices=[]) as engine:
            done = list(label_rows(self._spec, engine, rows))
        assert all(row.verdict.outcome is Outcome.labelled for row in done)
        completions = [row.completion for row in done if row.completion]
        return Done(
            rows=len(done),
            output_tokens=sum(completion.completion_tokens for completion in completions),
            prompt_tokens=sum(completion.prompt_tokens for completion in completions),
            cached_tokens=sum(completion.cached_tokens for completion in completions),
            engine_starts=len(engine.server_ids),
        )

    def close(self) -> None:
        pass
