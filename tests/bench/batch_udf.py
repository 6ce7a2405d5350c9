"""`pyspark.ml.functions.predict_batch_udf`: the engine inside the Python worker, called one batch at a time."""

import shutil
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safeguard_spark.config.load import build_config
from safeguard_spark.spark.session import session
from tests.bench import workload
from tests.bench.contender import Done
from tests.bench.models import Model, environment

IDLE_S = 15.0  # Spark ends a worker that is idle for 60 s, and the engine with it


def predict(model: dict[str, Any]) -> Callable[[], Callable[[Any], Any]]:
    """What `predict_batch_udf` calls in the worker."""

    def make() -> Callable[[Any], Any]:
        import os

        import numpy as np

        from safeguard_spark.labelling import verdict
        from safeguard_spark.labelling.contract import Contract
        from tests.bench import limit

        os.environ.pop("OMP_NUM_THREADS", None)  # Spark's own for its workers
        state = globals()
        if "ENGINE" not in state:  # one for all queries of this worker
            state["ENGINE"] = limit.llm(Model(**model))
        policy = workload.policy()
        contract = Contract.of(policy)

        def answers(texts: Any) -> Any:
            prompts = [{"prompt_token_ids": workload.prompt(policy.body, text)} for text in texts]
            outputs = state["ENGINE"].generate(prompts, limit.sampling(), use_tqdm=False)
            completions = [
                verdict.Completion(o.outputs[0].finish_reason, list(o.outputs[0].token_ids)) for o in outputs
            ]
            return np.array([
                f"{verdict.read(completion, contract).outcome.value} {figures(limit.tokens([output]))}"
                for completion, output in zip(completions, outputs, strict=True)
            ])  # fmt: skip

        return answers

    return make


def figures(done: Done) -> str:
    """Token counts as a column of text can carry them."""
    return f"{done.output_tokens} {done.prompt_tokens} {done.cached_tokens}"


class BatchUdf:
    """One task, so that there is one engine."""

    def __init__(self, model: Model, setting: dict[str, Any], folder: Path) -> None:
        self._folder, self._model = folder, asdict(model)
        names = {f"spark.executorEnv.{key}": value for key, value in environment(model).items()}
        config = build_config({"engine": {"kind": "scripted"}, "spark": {"master": "local[1]", "conf": names}})
        self._spark = session(config)
        self._spark.conf.set("spark.sql.files.minPartitionNum", "1")
        self._busy, self._over = threading.Lock(), threading.Event()
        threading.Thread(target=self._keep, daemon=True).start()

    def _keep(self) -> None:
        """Keep the one worker in use while other contenders run."""
        while not self._over.wait(IDLE_S):
            with self._busy:
                self._spark.range(1).coalesce(1).mapInArrow(lambda batches: batches, "id LONG").collect()

    def run(self, table: Path, setting: dict[str, Any]) -> Done:
        from pyspark.ml.functions import predict_batch_udf
        from pyspark.sql import functions as F
        from pyspark.sql.types import StringType

        label = predict_batch_udf(predict(self._model), return_type=StringType(), batch_size=int(setting["batch"]))
        output = str(self._folder / "answers")
        with self._busy:
            rows = self._spark.read.parquet(str(table)).coalesce(1)
            rows.select("id", label("body").alias("answer")).write.mode("overwrite").parquet(output)
            answer = F.split("answer", " ")
            parts = [F.sum(answer[number].cast("long")).alias(str(number)) for number in (1, 2, 3)]
            counted = self._spark.read.parquet(output).agg(F.count_if(answer[0] == "labelled").alias("rows"), *parts)
            totals = counted.first()
        assert totals is not None
        shutil.rmtree(output)
        return Done(totals["rows"], totals["1"], totals["2"], totals["3"], engine_starts=1)

    def close(self) -> None:
        self._over.set()
        self._spark.stop()
