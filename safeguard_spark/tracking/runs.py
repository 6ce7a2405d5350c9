"""Runs: one MLflow run per job run. Never gets content, and never runs a Spark plan."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safeguard_spark.config.model import RunConfig
from safeguard_spark.keys import canonical_json, sha256
from safeguard_spark.labelling.rows import LabelSpec
from safeguard_spark.redact import redacted
from safeguard_spark.result import RunResult
from safeguard_spark.tracking.store import answering, local_folder, mlflow_client, tracking_uri

TRUNCATE = 500  # characters of a parameter's value; MLflow's sqlite store takes 6000, but long values hide the short
MAX_METRICS = 800  # of a request; MLflow takes 1000 entries in all


@dataclass(frozen=True)
class Tracker:
    """An MLflow run that has not ended."""

    config: RunConfig
    client: Any
    mlflow_run_id: str

    @classmethod
    def begin(cls, config: RunConfig, run_id: str) -> "Tracker":
        """Create the MLflow run of a job run. Raises ConfigError if the server refuses, TrackingError if it is down."""
        uri = tracking_uri(config)
        client = mlflow_client(uri)
        with answering(uri):
            run = client.create_run(_experiment_id(client, config, uri), run_name=run_id)
        return cls(config, client, str(run.info.run_id))

    def end(
        self, specs: Sequence[LabelSpec], source: dict[str, Any], versions: tuple[int, int], result: RunResult
    ) -> None:
        """Log the result of the run. `versions` are those of `labels` before and after it."""
        self.log(params(self.config, specs, source, versions, result), metrics(result))
        for spec in specs:
            self.client.log_text(self.mlflow_run_id, spec.policy.body, f"policies/{spec.policy.ref}.md")
        self.client.log_dict(self.mlflow_run_id, redacted(self.config.model_dump(mode="json")), "config.json")
        self.client.log_inputs(self.mlflow_run_id, [_dataset("source", source["name"], source["version"])])
        outputs = {name: {"location": location} for name, location in result.tables.items()}
        self.client.log_dict(self.mlflow_run_id, {**outputs, "labels_version": versions[1]}, "tables.json")
        self.client.set_terminated(self.mlflow_run_id, "FINISHED")

    def log(self, params: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Log parameters and metrics, in one request if there are not many metrics."""
        from mlflow.entities import Metric, Param

        now = int(time.time() * 1000)
        named = [Metric(name, float(value), now, 0) for name, value in metrics.items()]
        parameters = [Param(name, str(value)[:TRUNCATE]) for name, value in params.items()]
        for first in range(0, max(1, len(named)), MAX_METRICS):
            batch = named[first : first + MAX_METRICS]
            self.client.log_batch(self.mlflow_run_id, metrics=batch, params=[] if first else parameters)

    def fail(self) -> None:
        """Mark the run as failed."""
        self.client.set_terminated(self.mlflow_run_id, "FAILED")


def log_finished_run(
    config: RunConfig,
    name: str,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    files: Mapping[str, str | bytes],
) -> str:
    """Log a run that is finished: parameters, metrics, and texts or bytes by file name as artifacts. Returns its id.

    Raises ConfigError if the tracking server refuses, TrackingError if it is down.
    """
    tracker = Tracker.begin(config, name)
    with answering(tracking_uri(config)):
        tracker.log(params, metrics)
        for file, content in files.items():
            if isinstance(content, str):
                tracker.client.log_text(tracker.mlflow_run_id, content, file)
                continue
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / file
                path.write_bytes(content)
                tracker.client.log_artifact(tracker.mlflow_run_id, str(path))
        tracker.client.set_terminated(tracker.mlflow_run_id, "FINISHED")
    return tracker.mlflow_run_id


def params(
    config: RunConfig, specs: Sequence[LabelSpec], source: dict[str, Any], versions: tuple[int, int], result: RunResult
) -> dict[str, Any]:
    """What identifies a run: its source, policies, labelers and configuration."""
    values: dict[str, Any] = {
        "run_id": result.run_id,
        "status": result.status.value,
        "source": source["name"],
        "source_version": source["version"],
        "labels_version_in": versions[0],
        "labels_version_out": versions[1],
        "config_hash": config.config_hash,
        "engine": config.engine.kind,
        "model": config.engine.name,
    }
    names = _policy_keys([spec.policy.ref for spec in specs])
    for spec in specs:
        name = names[spec.policy.ref]
        values[f"policy.{name}.version"] = spec.policy.version
        values[f"policy.{name}.policy_hash"] = spec.policy.policy_hash
        values[f"policy.{name}.document_hash"] = spec.policy.document_hash
        values[f"policy.{name}.labeler_hash"] = spec.labeler.labeler_hash
        values[f"policy.{name}.effort"] = spec.labeler.effort.value
    return values


def metrics(result: RunResult) -> dict[str, float]:
    """The numbers of a run. A rate without a denominator is left out."""
    label_s = result.seconds.get("label", 0.0)
    values: dict[str, float] = {
        "rows": result.rows,
        "pending": result.pending,
        "calls": result.calls,
        "written": result.written,
        "engine_starts": result.engine_starts,
        **{f"outcome.{name}": count for name, count in result.outcomes.items()},
        **{f"tokens.{name}": count for name, count in result.tokens.items()},
        **{f"seconds.{name}": value for name, value in result.seconds.items()},
    }
    if label_s > 0 and result.calls:
        values["rows_per_s"] = result.calls / label_s
    if result.tokens.get("prompt"):
        values["cache_hit_rate"] = result.tokens.get("cached", 0) / result.tokens["prompt"]
    names = _policy_keys(list(result.by_policy))
    for ref, counts in result.by_policy.items():
        judged = counts.get("labelled", 0) + counts.get("screened", 0)
        if judged:
            values[f"violation_rate.{names[ref]}"] = counts["violations"] / judged
    if result.screen_id:
        values["spared"] = result.spared
    if result.screen_recall_low is not None:
        values["screen_recall_low"] = result.screen_recall_low
    return values


def _policy_keys(refs: Sequence[str]) -> dict[str, str]:
    """Reference to the key of its values: the policy's name, with its version where a run has several versions."""
    names = [ref.partition("@")[0] for ref in refs]
    several = {name for name in names if names.count(name) > 1}
    return {ref: ref.replace("@", "/") if name in several else name for ref, name in zip(refs, names, strict=True)}


def _dataset(name: str, location: str, version: int | None) -> Any:
    """Lineage by name and version; a dataset made from a frame would run its plan, model included."""
    from mlflow.entities import Dataset, DatasetInput

    kind = "parquet" if version is None else "delta_table"
    where = {"path": location} if version is None else {"path": location, "delta_table_version": version}
    return DatasetInput(Dataset(name, sha256(where)[:8], kind, canonical_json(where)), [])


def _experiment_id(client: Any, config: RunConfig, uri: str) -> str:
    name = config.tracking.experiment
    if uri.startswith("databricks") and not name.startswith("/"):
        name = f"/Shared/{name}"  # an experiment is a path there
    if (experiment := client.get_experiment_by_name(name)) is not None:
        return str(experiment.experiment_id)
    # Without a location a sqlite store puts artifacts below the current directory, wherever that is.
    artifacts = str((local_folder(config) / "mlflow-artifacts").resolve()) if uri.startswith("sqlite:") else None
    try:
        return str(client.create_experiment(name, artifact_location=artifacts))
    except Exception:
        if (experiment := client.get_experiment_by_name(name)) is None:
            raise
        return str(experiment.experiment_id)  # another driver created it between the two calls
