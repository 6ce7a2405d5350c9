"""Artifacts: a file of a finished MLflow run, read back by its address and its hash."""

import hashlib
import tempfile
from pathlib import Path

from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import TableError
from safeguard_spark.redact import without_password
from safeguard_spark.tracking.store import answering, mlflow_client, tracking_uri

SCHEME = "runs:/"  # MLflow's own form of an address: runs:/RUN_ID/FILE


def artifact_address(mlflow_run_id: str, file: str) -> str:
    """The address of a file that a run has logged."""
    return f"{SCHEME}{mlflow_run_id}/{file}"


def read_artifact(config: RunConfig, address: str, sha256: str) -> bytes:
    """The bytes at an address.

    Raises TableError if they have another hash or are not there any more, ConfigError, TrackingError.
    """
    run_id, _, file = address.removeprefix(SCHEME).partition("/")
    uri = tracking_uri(config)
    client = mlflow_client(uri)
    with answering(uri), tempfile.TemporaryDirectory() as folder:
        try:
            data = Path(client.download_artifacts(run_id, file, folder)).read_bytes()
        except Exception as error:  # what MLflow raises depends on its store
            if not _is_missing(error):
                raise
            where = f"MLflow at {without_password(uri)}"
            raise TableError(f"{address} is not in {where} any more. Restore it, or make it again.") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise TableError(f"{address} in MLflow is not the file that was logged. Restore it, or make it again.")
    return data


def _is_missing(error: Exception) -> bool:
    """Whether an error says that there is no such run or file."""
    if getattr(error, "error_code", None) == "RESOURCE_DOES_NOT_EXIST" or isinstance(error, FileNotFoundError):
        return True
    return getattr(getattr(error, "response", None), "status_code", None) == 404
