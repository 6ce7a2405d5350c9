"""Ray Data LLM, optional: `build_processor` over token ids. Every run starts its engine anew; two sizes cancel that.

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

        # On a machine without one the engine's actor still asks for a GPU: it is given the name of one.
        ray.init(num_cpus=4, num_gpus=1, include_dashboard=False, log_to_driver=False)
        body, tokens, stops = workload.policy().body, workload.MAX_TOKENS, _stops()
        asked = vLLMEngineProcessorConfig(
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
            return {"said": row["num_generated_tokens"], "asked": row["num_input_tokens"]}

        self._processor = build_processor(asked, preprocess=before, postprocess=after)

    def run(self, table: Path, setting: dict[str, Any]) -> Done:
        import ray

        rows = self._processor(ray.data.read_parquet(str(table))).take_all()
        return Done(len(rows), sum(row["said"] for row in rows), sum(row["asked"] for row in rows), engine_starts=1)

    def close(self) -> None:
        import ray

        ray.shutdown()


def _stops() -> list[int]:
    from safeguard_spark.engines.protocol import STOP_IDS

    return list(STOP_IDS)
