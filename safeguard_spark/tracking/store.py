"""Store: MLflow's address for runs and for policies, whether it answers, and a client for it."""

import contextlib
import logging
import os
import re
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError, SafeguardError
from safeguard_spark.redact import without_password

SQLITE = "sqlite:///"


def tracking_uri(config: RunConfig) -> str:
    """Where runs are logged: configured, else MLFLOW_TRACKING_URI, else sqlite next to the tables or in this folder."""
    if config.tracking.uri:
        return config.tracking.uri
    if os.environ.get("MLFLOW_TRACKING_URI"):
        return os.environ["MLFLOW_TRACKING_URI"]
    folder = local_folder(config)
    folder.mkdir(parents=True, exist_ok=True)
    return f"{SQLITE}{folder.resolve()}/mlflow.db"


def registry_uri(config: RunConfig) -> str:
    """Where policies are published: configured, else MLFLOW_TRACKING_URI, else sqlite next to the policies folder.

    Not next to the tables: every output shares the same policies.
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
            _open_sqlite(Path(uri.removeprefix(SQLITE)))
        _quiet_mlflow()
        import mlflow

        return mlflow.MlflowClient(tracking_uri=uri)


def _open_sqlite(file: Path) -> None:
    """Raise at once what keeps a database from being opened: MLflow would retry for 100 s."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA schema_version")


def try_server(uri: str) -> None:
    """Raise ConfigError at once if nothing listens at an http address, where MLflow would retry for four minutes.

    For interactive commands. Behind a proxy the address cannot be tested this way.
    """
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https") and parts.hostname and not getproxies():
        with answering(uri):
            socket.create_connection((parts.hostname, parts.port or parts.scheme), timeout=10).close()


@contextlib.contextmanager
def answering(uri: str) -> Iterator[None]:
    """Turn what MLflow or its store's driver raises into a ConfigError; our own errors pass unchanged."""
    try:
        yield
    except SafeguardError:
        raise
    except Exception as error:  # a wrong URI, no server, no permission
        cause = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise ConfigError(f"MLflow at {without_password(uri)} cannot be used: {without_password(cause)}") from error


def local_folder(config: RunConfig) -> Path:
    """The output folder if it is a local one, else the current directory."""
    output = re.sub(r"^file:/+", "/", config.output or "")
    return Path(output) if "/" in output and "://" not in output else Path.cwd()


def _quiet_mlflow() -> None:
    """Keep MLflow's progress bars, telemetry and database migration notes off the user's screen."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    for name in ("alembic", "mlflow.store.db.utils"):  # the variables come too late if MLflow was imported before
        logging.getLogger(name).setLevel(logging.WARNING)
