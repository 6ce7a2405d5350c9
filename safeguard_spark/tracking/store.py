"""Store: MLflow's address for runs and for policies, whether it answers, and a client for it."""

import contextlib
import logging
import os
import re
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from textwrap import shorten
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError, SafeguardError, TrackingError
from safeguard_spark.extras import require
from safeguard_spark.redact import without_password

SQLITE = "sqlite:///"
DATABASES = ("postgresql", "mysql", "mssql")
# By their words, because the drivers of databases give no code for a connection or a change that a server refuses.
REFUSED = re.compile(
    r"authentication failed|no password supplied|pg_hba\.conf|does not exist|Access denied|Unknown database"
    r"|readonly database|read-only transaction"
)
# What one of two processes meets that create the tables of a database at the same time; the next try finds them.
RACE = re.compile(
    r"Online migration expected to match one row|(?:table|index) \S+ already exists|duplicate column name"
)
# By MLflow's own limits a caller waits four minutes for a server that is down and 20 for one that is silent, and an
# interrupt waits with it. With these it is about 10 s and 90 s. Variables that are set take precedence.
HTTP_LIMITS = {"MAX_RETRIES": "3", "BACKOFF_FACTOR": "1", "TIMEOUT": "20"}


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
    require("mlflow", *(["sqlalchemy"] if uri.startswith((SQLITE, *DATABASES)) else []))
    with answering(uri):
        if uri.startswith(SQLITE):
            _open_sqlite(Path(uri.removeprefix(SQLITE)))
        _set_up_mlflow()
        import mlflow

        if uri.startswith(DATABASES):
            from mlflow.store.db.utils import create_sqlalchemy_engine

            create_sqlalchemy_engine(uri).connect().close()  # raises at once, as below
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


def try_tracking(config: RunConfig) -> str | None:
    """Ask where runs are logged for an experiment; its address, or None if that is a file which the first run makes.

    Raises ConfigError if it refuses, TrackingError if it is down.
    """
    uri = _configured_uri(config)
    if uri is None or not registry_exists(uri):
        return None
    try_server(uri)
    client = mlflow_client(uri)
    with answering(uri):
        client.search_experiments(max_results=1)
    return without_password(uri)


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
        # SQLAlchemy's text may begin with what it was doing, and the database's own is in it somewhere.
        stated = next((e for e in _chain(error) if isinstance(e, sqlite3.Error)), error)
        stated_line = str(stated).splitlines()[0] if str(stated) else type(stated).__name__
        # A password is looked for before the text is cut, which may cut off the @ that it ends with.
        cause = shorten(without_password(stated_line), 200, placeholder=" …").removesuffix(".")
        where = f"MLflow at {without_password(uri)}"
        if _is_outage(error):
            message = f"{where} cannot be reached: {cause}. Issue the same command again when it is back."
            raise TrackingError(message) from error
        raise ConfigError(f"{where} cannot be used: {cause}. Check tracking.uri and the access to it.") from error


def _is_outage(error: BaseException) -> bool:
    """Whether an error, or what it was raised for, is a lost connection or a server that cannot answer now."""
    errors = list(_chain(error))
    if any(RACE.search(str(error)) for error in errors):
        return True
    if any(REFUSED.search(str(error)) for error in errors if type(error).__name__ == "OperationalError"):
        return False
    for error in errors:
        status = getattr(error, "get_http_status_code", lambda: None)()
        if isinstance(error, sqlite3.Error):
            return getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        if isinstance(error, ConnectionError | TimeoutError | socket.gaierror) or status in (408, 429, 502, 503, 504):
            return True
        # By name, because it depends on the store which of their packages is installed: repeated HTTP errors such as
        # 503, and the error of a database's driver that lost its connection.
        if type(error).__name__ == "RetryError" or (type(error).__name__ == "OperationalError" and not error.__cause__):
            return True
    return False


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it was raised for, the outermost first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def local_folder(config: RunConfig) -> Path:
    """The output folder if it is a local one, else the current directory."""
    output = re.sub(r"^file:/+", "/", config.output or "")
    return Path(output) if "/" in output and "://" not in output else Path.cwd()


def _set_up_mlflow() -> None:
    """Limit MLflow's retries, and keep its progress bars, telemetry and migration notes off the user's screen."""
    for name, value in HTTP_LIMITS.items():
        os.environ.setdefault(f"MLFLOW_HTTP_REQUEST_{name}", value)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    logging.getLogger("alembic").setLevel(logging.WARNING)  # the variables come too late if MLflow was imported before
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it prints the traceback of what it raises
