"""The window of one of several tasks follows the load of the server that they share."""

import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.engines.health import Load, read_load
from safeguard_spark.engines.vllm_host import fitted_window

pytestmark = pytest.mark.unit

METRICS = b"""# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 96.0
vllm:num_requests_waiting{engine="0",model_name="m"} 32.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 32.0
vllm:prompt_tokens_total{engine="0",model_name="m"} 1000.0
vllm:generation_tokens_total{engine="0",model_name="m"} 24.0
"""
counts = st.integers(1, 4096)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, list[bytes]]]:
    """A socket that answers any request with the metrics in the list."""
    metrics = [METRICS]

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n" + metrics[0])

    path = tmp_path / "s"
    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        yield path, metrics
        listener.shutdown()


def test_open_requests_and_tokens_are_read_from_the_servers_metrics(server: tuple[Path, list[bytes]]) -> None:
    assert read_load(server[0]) == Load(1024.0, 128)


def test_a_server_without_counts_is_not_mistaken_for_an_idle_one(server: tuple[Path, list[bytes]]) -> None:
    server[1][0] = b"# nothing here\n"
    assert read_load(server[0]) == Load(None, None)


def test_no_server_has_no_read_load(tmp_path: Path) -> None:
    assert read_load(tmp_path / "none") == Load(None, None)


@given(counts, counts, counts, counts)
def test_a_window_is_between_the_tasks_share_and_the_total(a: int, b: int, window: int, at: int) -> None:
    share, total = sorted((a, b))
    assert share <= fitted_window(window, share, total, at) <= total


@given(st.integers(1, 8), st.integers(8, 512))
def test_the_last_task_takes_the_requests_that_the_others_leave(tasks: int, total: int) -> None:
    share = total // tasks
    window = share
    for _ in range(60):
        window = fitted_window(window, share, total, at_server=window)
    assert window >= total - tasks


@given(st.integers(1, 8), st.integers(8, 512))
def test_tasks_that_all_have_work_return_to_the_total(tasks: int, total: int) -> None:
    share = total // tasks
    windows = [total] * tasks
    for _ in range(40):
        windows = [fitted_window(window, share, total, at_server=sum(windows)) for window in windows]
    assert sum(windows) <= total + tasks
