"""Tracking: one MLflow run per job run. Never gets content, and never runs a Spark plan."""

import contextlib
import os
import re
import socket
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError, SafeguardError
from safeguard_spark.keys import canonical_json, sha256
from safeguard_spark.labelling.rows import LabelSpec
from safeguard_spark.redact import redacted, without_password
from safeguard_spark.result import RunResult

TRUNCATE = 500  # longest parameter value MLflow's sqlite store takes is 6000; long ones hide the short

SQLITE = "sqlite:///"


def tracking_uri(config: RunConfig) -> str:
    """Where runs are logged: as configured, else MLFLOW_TRACKING_URI, else sqlite beside the tables or below here."""
    if config.tracking.uri:
        return config.tracking.uri
    if os.environ.get("MLFLOW_TRACKING_URI"):
        return os.environ["MLFLOW_TRACKING_URI"]
    folder = _local_folder(config)
    folder.mkdir(parents=True, exist_ok=True)
    return f"{SQLITE}{folder.resolve()}/mlflow.db"


def registry_uri(config: RunConfig) -> str:
    """Where policies are published: as configured, else MLFLOW_TRACKING_URI, else sqlite beside the policies folder.

    Not beside the tables: every output shares the same policies.
    """
    configured = config.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI")
    return configured or f"{SQLITE}{config.policies.absolute().parent}/mlflow.db"


def registry_exists(uri: str) -> bool:
    """Whether a registry may be there; for a sqlite file this is known without importing MLflow."""
    return not uri.startswith(SQLITE) or Path(uri.removeprefix(SQLITE)).is_file()


def mlflow_client(uri: str) -> Any:
    """An MLflow client (seconds: it imports MLflow). Raises ConfigError if its store cannot be used."""
    with answering(uri):
        if uri.startswith(SQLITE):
            _try_sqlite(Path(uri.removeprefix(SQLITE)))
        _quiet()
        import mlflow

        return mlflow.MlflowClient(tracking_uri=uri)


def _try_sqlite(file: Path) -> None:
    """Raise what keeps a database from being opened at once: MLflow would try for 100 s."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA schema_version")


def try_server(uri: str) -> None:
    """Raise ConfigError at once if nothing listens at an http address, where MLflow would try for four minutes.

    For commands somebody waits for. Behind a proxy nothing is known before MLflow itself asks.
    """
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https") and parts.hostname and not getproxies():
        with answering(uri):
            socket.create_connection((parts.hostname, parts.port or parts.scheme), timeout=10).close()


@contextlib.contextmanager
def answering(uri: str) -> Iterator[None]:
    """Turn what MLflow or its store's driver raises into a ConfigError, our own errors aside."""
    try:
        yield
    except SafeguardError:
        raise
    except Exception as error:  # a wrong URI, no server, no permission
        cause = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise ConfigError(f"MLflow at {without_password(uri)} cannot be used: {without_password(cause)}") from error


@dataclass(frozen=True)
class Tracker:
    """An MLflow run under way."""

    config: RunConfig
    client: Any
    mlflow_run_id: str

    @classmethod
    def begin(cls, config: RunConfig, run_id: str) -> "Tracker":
        """Create the MLflow run of a job run. Raises ConfigError if the tracking server says no."""
        uri = tracking_uri(config)
        client = mlflow_client(uri)
        with answering(uri):
            run = client.create_run(_experiment(client, config, uri), run_name=run_id)
        return cls(config, client, str(run.info.run_id))

    def end(
        self, jobs: Sequence[LabelSpec], source: dict[str, Any], versions: tuple[int, int], result: RunResult
    ) -> None:
        """Log what the run came to."""
        found = params(self.config, jobs, source, versions, result)
        self.client.log_batch(
            self.mlflow_run_id,
            metrics=[_metric(name, value) for name, value in metrics(result).items()],
            params=[_param(name, value) for name, value in found.items()],
        )
        for job in jobs:
            self.client.log_text(self.mlflow_run_id, job.policy.body, f"policies/{job.policy.ref}.md")
        self.client.log_dict(self.mlflow_run_id, redacted(self.config.model_dump(mode="json")), "config.json")
        self.client.log_figure(self.mlflow_run_id, distribution(result), "labels.png")
        self.client.log_inputs(self.mlflow_run_id, [_dataset("source", source["name"], source["version"])])
        outputs = {name: {"location": place} for name, place in result.tables.items()}
        self.client.log_dict(self.mlflow_run_id, {**outputs, "labels_version": versions[1]}, "tables.json")
        self.client.set_terminated(self.mlflow_run_id, "FINISHED")

    def fail(self) -> None:
        """Say that the run did not end well."""
        self.client.set_terminated(self.mlflow_run_id, "FAILED")


def keep(
    config: RunConfig, name: str, params: Mapping[str, Any], metrics: Mapping[str, float], texts: Mapping[str, str]
) -> str:
    """An MLflow run that is over at once: what was found, and texts as its artifacts. Returns its id.

    Raises ConfigError if the tracking server says no.
    """
    tracker = Tracker.begin(config, name)
    with answering(tracking_uri(config)):
        tracker.client.log_batch(
            tracker.mlflow_run_id,
            metrics=[_metric(key, value) for key, value in metrics.items()],
            params=[_param(key, value) for key, value in params.items()],
        )
        for file, text in texts.items():
            tracker.client.log_text(tracker.mlflow_run_id, text, file)
        tracker.client.set_terminated(tracker.mlflow_run_id, "FINISHED")
    return tracker.mlflow_run_id


def params(
    config: RunConfig, jobs: Sequence[LabelSpec], source: dict[str, Any], versions: tuple[int, int], result: RunResult
) -> dict[str, Any]:
    """What identifies a run."""
    found: dict[str, Any] = {
        "run_id": result.run_id,
        "status": result.status.value,
        "source": source["name"],
        "source_version": source["version"],
        "labels_version_in": versions[0],
        "labels_version_out": versions[1],
        "config_hash": config.config_hash,
        "engine": config.engine.kind.value,
        "model": config.engine.name,
    }
    names = _names([job.policy.ref for job in jobs])
    for job in jobs:
        name = names[job.policy.ref]
        found[f"policy.{name}.version"] = job.policy.version
        found[f"policy.{name}.policy_hash"] = job.policy.policy_hash
        found[f"policy.{name}.document_hash"] = job.policy.document_hash
        found[f"policy.{name}.labeler_hash"] = job.labeler.labeler_hash
        found[f"policy.{name}.effort"] = job.labeler.effort.value
    return found


def metrics(result: RunResult) -> dict[str, float]:
    """The numbers of a run."""
    label_s = result.seconds.get("label", 0.0)
    found: dict[str, float] = {
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
        found["rows_per_s"] = result.calls / label_s
    if result.tokens.get("prompt"):
        found["cache_hit_rate"] = result.tokens.get("cached", 0) / result.tokens["prompt"]
    names = _names(list(result.by_policy))
    for ref, counts in result.by_policy.items():
        if _judged(counts):
            found[f"violation_rate.{names[ref]}"] = counts["violations"] / _judged(counts)
    return found


def _names(refs: Sequence[str]) -> dict[str, str]:
    """What figures of a policy are called: by its name, and its version where a run has several of them."""
    names = [ref.partition("@")[0] for ref in refs]
    several = {name for name in names if names.count(name) > 1}
    return {ref: ref.replace("@", "/") if name in several else name for ref, name in zip(refs, names, strict=True)}


def _judged(counts: dict[str, int]) -> int:
    return counts.get("labelled", 0) + counts.get("screened", 0)


def distribution(result: RunResult) -> Any:
    """A picture of outcomes and violations per policy (a matplotlib figure)."""
    from matplotlib.figure import Figure

    refs = sorted(result.by_policy) or ["nothing written"]
    figure = Figure(figsize=(7, 1.2 + 0.6 * len(refs)), layout="constrained")
    axes = figure.add_subplot()
    parts = ["violation", "no violation", "no verdict"]
    left = [0] * len(refs)
    for part, colour in zip(parts, ("#c0392b", "#2e86c1", "#aab7b8"), strict=True):
        widths = [_part(result.by_policy.get(ref, {}), part) for ref in refs]
        axes.barh(refs, widths, left=left, color=colour, label=part)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.set_xlabel("rows written")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.35), ncols=3, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _part(counts: dict[str, int], part: str) -> int:
    violations, judged = counts.get("violations", 0), _judged(counts)
    if part == "violation":
        return violations
    if part == "no violation":
        return judged - violations
    return sum(counts.values()) - violations - judged


def _dataset(name: str, location: str, version: int | None) -> Any:
    """Lineage by name and version; a dataset made from a frame would run its plan, model included."""
    from mlflow.entities import Dataset, DatasetInput

    kind = "parquet" if version is None else "delta_table"
    where = {"path": location} if version is None else {"path": location, "delta_table_version": version}
    return DatasetInput(Dataset(name, sha256(where)[:8], kind, canonical_json(where)), [])


def _experiment(client: Any, config: RunConfig, uri: str) -> str:
    found = client.get_experiment_by_name(config.tracking.experiment)
    if found is not None:
        return str(found.experiment_id)
    # Without a location a sqlite store puts artifacts below the current directory, wherever that is.
    artifacts = str((_local_folder(config) / "mlflow-artifacts").resolve()) if uri.startswith("sqlite:") else None
    try:
        return str(client.create_experiment(config.tracking.experiment, artifact_location=artifacts))
    except Exception:  # another driver made it between the two calls
        found = client.get_experiment_by_name(config.tracking.experiment)
        if found is None:
            raise
        return str(found.experiment_id)


def _local_folder(config: RunConfig) -> Path:
    output = re.sub(r"^file:/+", "/", config.output or "")
    return Path(output) if "/" in output and "://" not in output else Path.cwd()


def _metric(name: str, value: float) -> Any:
    import time

    from mlflow.entities import Metric

    return Metric(name, float(value), int(time.time() * 1000), 0)


def _param(name: str, value: Any) -> Any:
    from mlflow.entities import Param

    return Param(name, str(value)[:TRUNCATE])


def _quiet() -> None:
    """Keep MLflow's own progress, telemetry and database migration notes off the user's screen."""
    import logging

    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    logging.getLogger("alembic").setLevel(logging.WARNING)
