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
from safeguard_spark.errors import ConfigError, SafeguardError, TrackingError
from safeguard_spark.redact import without_password

SQLITE = "sqlite:///"


def tracking_uri(config: RunConfig) -> str:
    """Where runs are logged: configured, else MLFLOW_TRACKING_URI, else sqlite next to the tables or in this folder."""
    if configured := _configured_uri(config):
        return configured
    folder = local_folder(config)
    folder.mkdir(parents=True, exist_ok=True)
    return f"{SQLITE}{folder.resolve()}/mlflow.db"


def registry_uri(config: RunConfig) -> str:
    """Where policies are published: configured, else MLFLOW_TRACKING_URI, else sqlite next to the policies folder.

    Not next to the tables: every output shares the same policies.
    """
    return _configured_uri(config) or f"{SQLITE}{config.policies.absolute().parent}/mlflow.db"


def _configured_uri(config: RunConfig) -> str | None:
    return config.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI")


def registry_exists(uri: str) -> bool:
    """Whether a registry may be there; for a sqlite file this is known without importing MLflow."""
    return not uri.startswith(SQLITE) or Path(uri.removeprefix(SQLITE)).is_file()


def mlflow_client(uri: str) -> Any:
    """An MLflow client (seconds: it imports MLflow). Raises ConfigError, TrackingError."""
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
    """Raise TrackingError at once if nothing listens at an http address, where MLflow would retry for four minutes.

    For interactive commands. Behind a proxy the address cannot be tested this way.
    """
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https") and parts.hostname and not getproxies():
        with answering(uri):
            socket.create_connection((parts.hostname, parts.port or parts.scheme), timeout=10).close()


@contextlib.contextmanager
def answering(uri: str) -> Iterator[None]:
    """Turn what MLflow or its store's driver raises into a sentence; our own errors pass unchanged.

    Raises TrackingError for an outage, which passes, and else ConfigError: a wrong address, no permission.
    """
    try:
        yield
    except SafeguardError:
        raise
    except Exception as error:
        cause = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        where, cause = f"MLflow at {without_password(uri)}", without_password(cause).removesuffix(".")
        if _is_outage(error):
            message = f"{where} cannot be reached: {cause}. Issue the same command again when it is back."
            raise TrackingError(message) from error
        raise ConfigError(f"{where} cannot be used: {cause}. Check tracking.uri and the access to it.") from error


def _is_outage(error: BaseException | None) -> bool:
    """Whether an error, or what it was raised for, is a lost connection or a server that cannot answer now."""
    while error is not None:
        status = getattr(error, "get_http_status_code", lambda: None)()
        if isinstance(error, sqlite3.Error):
            return getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        if isinstance(error, ConnectionError | TimeoutError | socket.gaierror) or status in (408, 429, 502, 503, 504):
            return True
        # By name, because it depends on the store which of their packages is installed: repeated HTTP errors such as
        # 503, and the error of a database's driver that lost its connection.
        if type(error).__name__ == "RetryError" or (type(error).__name__ == "OperationalError" and not error.__cause__):
            return True
        error = error.__cause__ or error.__context__
    return False


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
