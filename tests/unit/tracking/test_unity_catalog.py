"""Policies in the Prompt Registry of Unity Catalog: a server with its requests, as MLflow's client writes them."""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from safeguard_spark.errors import ConfigError, PolicyError
from safeguard_spark.tracking.registry import Registry, resolve
from tests.build import policy_text, run_config

pytestmark = pytest.mark.unit
ROOT = "/api/2.0/mlflow/unity-catalog/prompts"
PAGE = 1  # versions of a search's page


class Catalog(ThreadingHTTPServer):
    """Prompts by full name: their versions, and their aliases."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.versions: dict[str, list[dict[str, Any]]] = {}
        self.aliases: dict[str, dict[str, int]] = {}

    def answer(self, method: str, path: str, body: dict[str, Any]) -> Any:
        """The reply to a request; None for what does not exist."""
        if (method, path) == ("POST", ""):
            self.versions.setdefault(body["name"], [])
            return {"name": body["name"]}
        if (method, path) == ("POST", "/search"):
            schema = body["catalog_schema"]
            prefix = f"{schema['catalog_name']}.{schema['schema_name']}."
            return {"prompts": [{"name": name} for name in self.versions if name.startswith(prefix)]}
        name, _, rest = path.removeprefix("/").partition("/")
        if name not in self.versions:
            return None
        versions, aliases = self.versions[name], self.aliases.setdefault(name, {})
        if (method, rest) == ("POST", "versions"):
            versions.append({**body["prompt_version"], "version": str(len(versions) + 1)})
            return versions[-1]
        if (method, rest) == ("POST", "versions/search"):
            start = int(body.get("page_token") or 0)
            page = {"prompt_versions": versions[start : start + PAGE]}
            return page if start + PAGE >= len(versions) else {**page, "next_page_token": str(start + PAGE)}
        if match := re.fullmatch(r"versions/by-alias/(\w+)", rest):
            return versions[aliases[match[1]] - 1] if match[1] in aliases else None
        if match := re.fullmatch(r"aliases/(\w+)", rest):
            aliases[match[1]] = int(body["version"])
            return {}
        if match := re.fullmatch(r"versions/(\d+)", rest):
            return versions[int(match[1]) - 1]
        return {"name": name} if not rest else None


class Handler(BaseHTTPRequestHandler):
    """Replies as Unity Catalog does."""

    server: Catalog

    def _reply(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(size) or "{}")
        path = self.path.partition("?")[0]
        answer = self.server.answer(self.command, path.removeprefix(ROOT), body) if path.startswith(ROOT) else None
        missing = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": f"{path} does not exist"}
        text = json.dumps(missing if answer is None else answer).encode()
        self.send_response(404 if answer is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = _reply

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def catalog(monkeypatch: pytest.MonkeyPatch) -> Iterator[Catalog]:
    with Catalog() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("DATABRICKS_HOST", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("DATABRICKS_TOKEN", "token")
        yield server
        server.shutdown()


def config(folder: Path, schema: str | None = "main.policies") -> Any:
    return run_config(policies=str(folder), tracking={"uri": "databricks", "prompt_schema": schema})


def test_policies_are_prompts_of_a_schema(catalog: Catalog, tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    registry = Registry.of(config(tmp_path))
    texts = [policy_text("market", version, text=f"No replicas: {version}.") for version in ("1.0.0", "1.1.0")]
    assert registry.entries("market") == []
    assert [registry.publish(text, "ok", "").is_new for text in [*texts, texts[0]]] == [True, True, False]
    assert registry.set_alias("market", "active", "1.0.0") and not registry.set_alias("market", "active", "1.0.0")

    assert list(catalog.versions) == ["main.policies.market"]
    assert registry.names() == ["market"]
    assert [entry.version for entry in registry.entries("market")] == ["1.1.0", "1.0.0"]
    assert registry.aliases("market") == {"active": "1.0.0"}
    assert resolve("market@active", config(tmp_path)).ref == "market@1.0.0"
    with pytest.raises(PolicyError, match="spam"):
        resolve("spam@1.0.0", config(tmp_path))


def test_without_a_schema_nothing_can_be_published_and_files_alone_are_read(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    lacking = config(tmp_path, schema=None)
    file = tmp_path / "market" / "1.0.0" / "policy.md"
    file.parent.mkdir(parents=True)
    file.write_text(policy_text("market", "1.0.0"))
    assert resolve("market@1.0.0", lacking).ref == "market@1.0.0"
    for use in (
        lambda: resolve("market@active", lacking),
        lambda: Registry.of(lacking).publish(file.read_text(), "ok", ""),
    ):
        with pytest.raises(ConfigError, match=r"Set tracking\.prompt_schema=CATALOG\.SCHEMA"):
            use()


@pytest.mark.parametrize("schema", ["policies", "a.b.c", "main.it's", ".b"])
def test_a_schema_has_two_parts(tmp_path: Path, schema: str) -> None:
    with pytest.raises(ConfigError, match=r"tracking\.prompt_schema"):
        config(tmp_path, schema)
