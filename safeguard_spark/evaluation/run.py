"""The MLflow run of an evaluation."""

import json
import re
from collections.abc import Iterator

from safeguard_spark.config.model import RunConfig
from safeguard_spark.evaluation.page import evaluation_page
from safeguard_spark.evaluation.result import Evaluation
from safeguard_spark.evaluation.text import evaluation_text
from safeguard_spark.policy.document import ALL
from safeguard_spark.tracking.runs import log_finished_run

NO_KEY = re.compile(r"[^\w\-. :/]")  # what MLflow does not accept in the name of a metric
CELLS = ("n", "tp", "fp", "fn", "tn", "unreadable", "unknown")


def log_evaluation(config: RunConfig, evaluation: Evaluation) -> str | None:
    """Log an evaluation as an MLflow run; returns its id, or None without tracking. Content is never logged."""
    if not config.tracking.enabled:
        return None
    params = {"evaluation_id": evaluation.evaluation_id, "answers": evaluation.answers}
    for result in evaluation.sets:
        params[f"{result.ref}.digest"] = result.digest
        params[f"{result.ref}.cohort"] = result.cohort.cohort_hash
        for number, side in enumerate(result.sides):
            params[f"{result.ref}.side.{number}"] = side.name
    params = {key.replace("@", "/"): value for key, value in params.items()}
    artifacts = {
        "evaluation.txt": evaluation_text(evaluation),
        "evaluation.html": evaluation_page(evaluation),
        "evaluation.json": json.dumps(evaluation.to_json(), ensure_ascii=False, indent=1),
    }
    return log_finished_run(
        config, f"evaluate {evaluation.evaluation_id}", params, dict(_metrics(evaluation)), artifacts
    )


def _metrics(evaluation: Evaluation) -> Iterator[tuple[str, float]]:
    """Value, low and high of every metric, and the counts of every policy and slice. A key is set/side/policy/slice."""
    for result in evaluation.sets:
        for number, side in enumerate(result.sides):
            for metric in (*side.metrics, *side.names):
                policy = "all" if metric.policy == ALL else metric.policy
                slice_ = "all" if metric.slice == ALL else metric.slice
                key = f"{result.ref.replace('@', '/')}/{number}/{policy}/{slice_}"
                values = {
                    metric.metric: metric.value,
                    **{f"{metric.metric}.{e}": getattr(metric, e) for e in ("low", "high")},
                }
                values |= {cell: getattr(metric, cell) for cell in CELLS} if metric.metric == "recall" else {}
                yield from (
                    (NO_KEY.sub("_", f"{key}/{name}")[:250], value)
                    for name, value in values.items()
                    if value is not None
                )
