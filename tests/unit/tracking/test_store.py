"""Where MLflow is, and what its errors become."""

import contextlib
import re
import socket
import sqlite3
import time
from pathlib import Path

import pytest

from safeguard_spark.errors import ConfigError, PolicyError, TrackingError
from safeguard_spark.tracking import runs, store
from tests.build import run_config

pytestmark = pytest.mark.unit


def test_runs_are_logged_as_configured_else_by_the_environment_else_next_to_the_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = str(tmp_path / "new" / "tables")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://other")
    assert store.tracking_uri(run_config(output=output, tracking={"uri": "http://here"})) == "http://here"
    assert store.tracking_uri(run_config(output=output)) == "http://other"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert store.tracking_uri(run_config(output=output)) == f"sqlite:///{output}/mlflow.db"
    monkeypatch.chdir(tmp_path)
    for elsewhere in ("main.trust", "s3://bucket/tables", None):
        assert store.tracking_uri(run_config(output=elsewhere)) == f"sqlite:///{tmp_path}/mlflow.db"


def test_policies_are_published_next_to_their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    uri = store.registry_uri(run_config(policies=str(tmp_path / "policies"), output="elsewhere/tables"))
    assert uri == f"sqlite:///{tmp_path}/mlflow.db" and not store.registry_exists(uri)
    (tmp_path / "mlflow.db").touch()
    assert store.registry_exists(uri) and store.registry_exists("http://anywhere")


def test_an_error_of_the_store_is_one_sentence_without_a_password_and_our_own_errors_pass() -> None:
    uri = "postgresql://me:sesame@host/db"
    with pytest.raises(ConfigError) as caught, store.answering(uri):
        raise RuntimeError(f"cannot open {uri}\nsecond line")
    message = "MLflow at postgresql://host/db cannot be used: cannot open postgresql://host/db."
    assert str(caught.value).startswith(message)
    with pytest.raises(PolicyError, match="mine"), store.answering(uri):
        raise PolicyError("mine")


def test_a_long_cause_is_cut_after_a_word_and_its_password_is_removed_first() -> None:
    uri = f"postgresql://me:{'sesame' * 30}@db/runs"
    with pytest.raises(ConfigError) as caught, store.answering(uri):
        raise RuntimeError(f"cannot open {uri} {'because of words ' * 30}")
    assert "sesame" not in str(caught.value)
    assert re.search(r"cannot open postgresql://db/runs because .* (because|of|words) …\. Check", str(caught.value))


def test_where_runs_are_logged_is_tried_without_making_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    file = tmp_path / "new.db"
    for tracking in ({}, {"uri": f"sqlite:///{file}"}):
        assert store.try_tracking(run_config(tracking=tracking)) is None and not file.exists()
    file.write_text("no database")
    with pytest.raises(ConfigError, match="not a database"):
        store.try_tracking(run_config(tracking={"uri": f"sqlite:///{file}"}))


class OperationalError(Exception):
    """As the drivers of databases name it."""


def test_a_lost_connection_is_an_outage_at_any_depth_and_says_to_try_again() -> None:
    for outage in (ConnectionRefusedError(111, "refused"), TimeoutError(), OperationalError("server closed")):
        with pytest.raises(TrackingError, match=r"cannot be reached: .* again") as caught, store.answering("http://a"):
            try:
                raise outage
            except Exception as error:
                raise RuntimeError("the API request failed") from error
        assert caught.value.exit_code == 5


@pytest.mark.parametrize(
    "words",
    [
        'connection to server at "db", port 5432 failed: FATAL:  password authentication failed for user "me"',
        'connection to server at "db", port 5432 failed: fe_sendauth: no password supplied',
        'connection to server at "db", port 5432 failed: FATAL:  database "runs" does not exist',
        "(sqlite3.OperationalError) attempt to write a readonly database",
        "(1045, \"Access denied for user 'me'@'db' (using password: YES)\")",
    ],
)
def test_a_database_that_refuses_the_user_is_no_outage_though_mlflow_calls_it_one(words: str) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE
    from sqlalchemy import exc

    refused = pytest.raises(ConfigError, match=r"cannot be used: .* Check tracking.uri and the access")
    with refused, store.answering("postgresql://me:sesame@db/runs"):
        try:
            raise exc.OperationalError("SELECT 1", None, OperationalError(words)) from OperationalError(words)
        except exc.OperationalError as error:
            raise MlflowException(str(error), TEMPORARILY_UNAVAILABLE) from error


def test_a_server_that_is_down_is_given_up_within_half_a_minute() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{free.getsockname()[1]}"
    store.mlflow_client(uri)  # imports MLflow, which takes seconds
    start = time.monotonic()
    with pytest.raises(TrackingError, match="cannot be reached"):
        runs.Tracker.begin(run_config(tracking={"uri": uri}), "r")
    assert time.monotonic() - start < 30  # so long an interrupt may wait


@pytest.mark.parametrize("sql", ["BEGIN IMMEDIATE", "SELECT * FROM none"])
def test_a_locked_database_is_an_outage_and_one_without_the_tables_is_not(tmp_path: Path, sql: str) -> None:
    file = tmp_path / "mlflow.db"
    with contextlib.closing(sqlite3.connect(file)) as other, contextlib.closing(sqlite3.connect(file, 0.01)) as ours:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TrackingError if "BEGIN" in sql else ConfigError), store.answering(f"sqlite:///{file}"):
            ours.execute(sql)


def test_two_processes_that_create_the_database_at_once_are_told_to_try_again() -> None:
    class CommandError(Exception):
        """As alembic's."""

    first = "Online migration expected to match one row when updating 'a1' to 'b2' in 'alembic_version'; 0 found"
    for error in (CommandError(first), sqlite3.OperationalError("table metrics already exists")):
        with pytest.raises(TrackingError, match="Issue the same command again"), store.answering("sqlite:////tmp/x.db"):
            try:
                raise error
            except Exception as cause:
                raise RuntimeError("setup failed") from cause
