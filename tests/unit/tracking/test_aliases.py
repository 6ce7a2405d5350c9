"""The aliases of published policies are read without MLflow's client, and are what the client says."""

import http.server
import json
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from safeguard_spark.tracking.aliases import read_aliases
from safeguard_spark.tracking.registry import Registry
from tests.unit.samples import POLICY, edited

pytestmark = pytest.mark.unit


@pytest.fixture
def registry(empty_store: Path, tmp_path: Path) -> Registry:
    """Two published policies; market has two aliases, gifts none."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    registry = Registry(f"sqlite:///{tmp_path}/mlflow.db")
    for text in (POLICY, edited(POLICY, ("1.0.0", "2.0.0")), edited(POLICY, ("name: market", "name: gifts"))):
        registry.publish(text, "unchecked", "")
    registry.set_alias("market", "active", "1.0.0")
    registry.set_alias("market", "draft", "2.0.0")
    return registry


def test_a_database_is_read_with_one_query(registry: Registry) -> None:
    aliases = read_aliases(registry.uri, ["market", "gifts", "unpublished"])
    assert aliases == {"market": {"active": "1.0.0", "draft": "2.0.0"}, "gifts": {}, "unpublished": {}}
    assert aliases["market"] == registry.aliases("market")
    assert aliases == registry.all_aliases(["market", "gifts", "unpublished"])


@pytest.mark.parametrize("file", ["missing.db", "no-database.db", "other-tables.db"])
def test_a_database_of_another_form_is_left_to_the_client(tmp_path: Path, file: str) -> None:
    (tmp_path / "no-database.db").write_text("no database")
    sqlite3.connect(tmp_path / "other-tables.db").execute("CREATE TABLE registered_models (name TEXT)")
    assert read_aliases(f"sqlite:///{tmp_path / file}", ["market"]) is None
    assert not (tmp_path / "missing.db").exists()


@pytest.fixture
def server() -> Iterator[tuple[str, list[Any]]]:
    """A server that answers as MLflow's does, and the authorization of every request to it."""
    logins: list[Any] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            logins.append(self.headers.get("Authorization"))
            address = urlsplit(self.path)
            parameters = parse_qs(address.query)
            assert address.path == "/base/api/2.0/mlflow/registered-models/alias"
            status, body = 404, {"error_code": "RESOURCE_DOES_NOT_EXIST"}
            if parameters["name"] == ["locked"]:
                status, body = 403, {"error_code": "PERMISSION_DENIED"}
            elif parameters["alias"] == ["active"]:
                tags = [{"key": "owner", "value": "a"}, {"key": "version", "value": "3.1.4"}]
                status, body = 200, {"model_version": {"name": "market", "version": "7", "tags": tags}}
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *arguments: Any) -> None:
            pass

    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{served.server_port}/base", logins
    served.shutdown()
    served.server_close()


def test_a_server_is_asked_with_the_login_of_its_address_or_of_mlflows_variables(server: tuple[str, list[Any]]) -> None:
    address, logins = server
    assert read_aliases(f"http://{address}", ["market"], {}) == {"market": {"active": "3.1.4"}}
    assert set(logins) == {None}
    logins.clear()
    user = {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "b"}
    assert read_aliases(f"http://{address}/", ["market"], user) is not None
    assert read_aliases(f"http://ada:b@{address}", ["market"], {}) is not None
    assert set(logins) == {"Basic YWRhOmI="}
    logins.clear()
    assert read_aliases(f"http://{address}", ["market"], {"MLFLOW_TRACKING_TOKEN": "t"}) is not None
    assert set(logins) == {"Bearer t"}


def test_a_server_that_refuses_or_needs_another_login_is_left_to_the_client(server: tuple[str, list[Any]]) -> None:
    address, logins = server
    assert read_aliases(f"http://{address}", ["market", "locked"], {}) is None
    logins.clear()
    assert read_aliases(f"http://{address}", ["market"], {"MLFLOW_TRACKING_AUTH": "plugin"}) is None
    assert logins == []
    assert read_aliases("http://127.0.0.1:9", ["market"], {}) is None
    assert read_aliases("postgresql://host/db", ["market"], {}) is None


def test_a_list_with_a_registry_imports_no_mlflow(registry: Registry, tmp_path: Path) -> None:
    from tests.unit.cli.test_policy import assert_none_imported

    (tmp_path / "policies" / "market" / "1.0.0").mkdir(parents=True)
    (tmp_path / "policies" / "market" / "1.0.0" / "policy.md").write_text(POLICY)
    assert_none_imported(tmp_path, ["list"], {"mlflow", "pyspark", "pandas", "sqlalchemy"})
