"""Our label job, whole: plan, staging, label tasks, commit. `slots` are Spark's task slots, `partitions` a chunk's."""

import shutil
from pathlib import Path
from typing import Any

from safeguard_spark.config.load import build_config
from safeguard_spark.config.model import RunConfig
from safeguard_spark.spark.label import job
from safeguard_spark.spark.session import session
from tests.bench import workload
from tests.bench.contender import Done
from tests.bench.models import Model, environment


def settings(model: Model, table: Path, output: str, slots: int, setting: dict[str, Any]) -> RunConfig:
    """The configuration of a run."""
    return build_config({
        "source": {"location": str(table), "text_column": "body"},
        "output": output,
        "run": {"chunk_rows": setting.get("chunk_rows", 20_000)},
        "engine": {
            "kind": "vllm", "model": model.folder, "model_name": model.name, "window": setting.get("window"),
            "idle_s": 7200, "deadline_s": 3600,  # 640 tokens of `llama` take 400 s in a full batch
            "niceness": model.niceness, "env": environment(model),
            "args": {**model.args, "logits_processors": "tests.bench.replay:Replay"},
        },
        "labeler": {
            "effort": workload.EFFORT.value, "max_tokens": workload.MAX_TOKENS, "max_prompt_tokens": 1536,
            "structured": False,
        },
        "tracking": {"enabled": False},
        "spark": {"master": f"local[{slots}]"},
    })  # fmt: skip


class LabelJob:
    """`label_table` in one Spark session, whose server outlives its runs."""

    def __init__(self, model: Model, setting: dict[str, Any], folder: Path) -> None:
        self._model, self._slots, self._folder = model, int(setting["slots"]), folder
        self._spark = session(settings(model, Path("none"), "none", self._slots, {}))
        self._runs = 0

    def run(self, table: Path, setting: dict[str, Any]) -> Done:
        partitions = int(setting.get("partitions", 1))
        self._runs += 1
        output = self._folder / f"tables-{self._runs}"
        rows = len(workload.read(table))
        # The job opens no task for fewer than 64 contents; here the number of partitions is what is measured.
        job.MIN_PARTITION_ROWS = max(1, rows // partitions)
        job.PARTITIONS_PER_SLOT = -(-partitions // self._slots)
        config = settings(self._model, table, str(output), self._slots, setting)
        result = job.label_table(self._spark, config, [workload.policy()], show=False)
        assert result.outcomes == {"labelled": rows}, result
        shutil.rmtree(output)
        return Done(
            rows=rows,
            output_tokens=result.tokens["completion"],
            prompt_tokens=result.tokens["prompt"],
            cached_tokens=result.tokens["cached"],
            engine_starts=result.engine_starts,
            seconds=result.seconds,
        )

    def close(self) -> None:
        self._spark.stop()
