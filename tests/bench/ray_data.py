"""Ray Data LLM, optional: `build_processor` over token ids.

Every run starts a new engine; the difference of two sizes cancels that.

Install: `ray[data]` 2.60 in an environment that has vLLM, named by BENCH_RAY_PYTHON.
"""

from pathlib import Path
from typing import Any

from tests.bench import workload
from tests.bench.contender import Done
from tests.bench.models import Model, environment
from tests.bench.replay import NAME

BATCH = 256  # rows a batch; the stage keeps several batches at the engine


class RayData:
    """One engine actor."""

    def __init__(self, model: Model, setting: dict[str, Any], folder: Path) -> None:
        import ray
        from ray.data.llm import build_processor, vLLMEngineProcessorConfig

        # The engine's actor requires a GPU even on a machine without one: Ray is told that there is one.
        ray.init(num_cpus=4, num_gpus=1, include_dashboard=False, log_to_driver=False)
        body, tokens, stops = workload.policy().body, workload.MAX_TOKENS, _stops()
        config = vLLMEngineProcessorConfig(
            model_source=model.folder,
            engine_kwargs={**model.args, "logits_processors": [NAME]},
            runtime_env={"env_vars": {**environment(model), "CUDA_VISIBLE_DEVICES": ""}},
            batch_size=BATCH,
            concurrency=1,
            chat_template_stage=False,
            tokenize_stage=False,
            detokenize_stage=False,
            log_engine_metrics=False,
        )

        def before(row: dict[str, Any]) -> dict[str, Any]:
            sampling = {"temperature": 0.0, "max_tokens": tokens, "stop_token_ids": stops, "detokenize": False}
            ids = workload.prompt(body, row["body"])
            return {"prompt": row["id"], "tokenized_prompt": ids, "sampling_params": sampling}

        def after(row: dict[str, Any]) -> dict[str, Any]:
            return {"output_tokens": row["num_generated_tokens"], "prompt_tokens": row["num_input_tokens"]}

        self._processor = build_processor(config, preprocess=before, postprocess=after)

    def run(self, table: Path, setting: dict[str, Any]) -> Done:
        import ray

        rows = self._processor(ray.data.read_parquet(str(table))).take_all()
        output_tokens = sum(row["output_tokens"] for row in rows)
        prompt_tokens = sum(row["prompt_tokens"] for row in rows)
        return Done(len(rows), output_tokens, prompt_tokens, engine_starts=1)

    def close(self) -> None:
        import ray

        ray.shutdown()


def _stops() -> list[int]:
    from safeguard_spark.engines.protocol import STOP_IDS

    return list(STOP_IDS)
