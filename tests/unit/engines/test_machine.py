"""What a machine has for an engine is one line each, and what it lacks says what to do."""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from safeguard_spark import __version__
from safeguard_spark.config.engine import EndpointConfig, VllmConfig
from safeguard_spark.engines.machine import Check, engine_checks

pytestmark = pytest.mark.unit


def of(name: str, config: EndpointConfig | VllmConfig | None) -> Check:
    (found,) = [check for check in engine_checks(config, [], __version__) if check.name == name]
    return found


def endpoint(url: str, **settings: str) -> Check:
    return of("endpoint", EndpointConfig(url=url, model="guard-7", **settings))


@contextlib.contextmanager
def models_server(code: int, body: bytes) -> Iterator[str]:
    """The address of a server that answers every GET of its list of models with this."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code if self.path == "/v1/models" else 418)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


@pytest.mark.parametrize(
    ("code", "body", "is_ok", "text"),
    [
        (200, b'{"data": [{"id": "other"}, {"id": "guard-7"}]}', True, "answers, and serves guard-7"),
        (200, b'{"data": [{"id": "gpt-9"}]}', False, "lists gpt-9, and not guard-7. Correct engine.model."),
        (200, b"<html>", True, "answers; it lists no models"),
        (200, b'{"object": "list"}', True, "answers; it lists no models"),
        (200, b'["guard-7"]', True, "answers; it lists no models"),
        (404, b"", True, "answers; it lists no models"),
        (302, b"", False, "HTTP 302; check engine.url"),
        (403, b"{}", False, "denies access: HTTP 403; check the key that engine.api_key_env names."),
        (502, b"secret", False, "does not answer: HTTP 502; check the server and engine.url."),
    ],
)
def test_an_endpoint_is_asked_for_its_models(code: int, body: bytes, is_ok: bool, text: str) -> None:
    with models_server(code, body) as url:
        found = endpoint(url)
    assert (found.is_ok, text in found.text, "secret" in found.text) == (is_ok, True, False), found


def test_an_endpoint_that_is_not_there_and_a_key_that_is_not_set_are_named() -> None:
    gone = endpoint("http://127.0.0.1:9")
    assert not gone.is_ok and "http://127.0.0.1:9 cannot be reached: connection refused; check engine.url" in gone.text
    keyless = endpoint("http://127.0.0.1:9", api_key_env="A_KEY_THAT_IS_NOT_SET")
    assert not keyless.is_ok and "engine.api_key_env names is not set here" in keyless.text


def test_what_a_vllm_server_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    assert of("vllm", VllmConfig(model=str(tmp_path / "model"))).is_ok
    assert "is not a folder on this executor" in of("vllm", VllmConfig(model="./nowhere")).text
    absent = of("vllm", VllmConfig(model="m", python=str(tmp_path / "python")))
    assert not absent.is_ok and "Correct engine.python" in absent.text
    monkeypatch.setenv("HOME", "/proc/nowhere")
    assert of("home", VllmConfig(model="m")) == Check(
        "home", True, "/proc/nowhere is not writable: what vLLM compiles is kept below the temporary folder"
    )


def test_another_release_and_a_folder_without_access_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert of("temporary folder", VllmConfig(model="m", work_dir=str(tmp_path / "new" / "folder"))).is_ok
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/work")):
        unusable = of("temporary folder", VllmConfig(model="m", work_dir=str(folder)))
        assert not unusable.is_ok and f"{folder} cannot be written" in unusable.text
    python, folder_check = engine_checks(None, [], "0.0.1")
    assert folder_check.is_ok and not python.is_ok and "Install 0.0.1 on every executor." in python.text
