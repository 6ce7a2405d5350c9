"""The report pages in a real browser: Debian's chromium, headless. Nothing is requested, and the figures are drawn."""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from safeguard_spark.evaluation.page import evaluation_page
from tests.evaluations import two_sides

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")]
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--window-size=1000,2400",
)  # fmt: skip


@contextmanager
def recording_proxy() -> Iterator[tuple[int, list[str]]]:
    """A proxy on a free port that answers nothing and remembers the hosts it was asked for."""
    hosts: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def _record(self) -> None:
            hosts.append(self.headers.get("Host", self.path))
            self.send_error(502)

        do_GET = do_CONNECT = do_POST = _record

        def log_message(self, *_: object) -> None:
            return None

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port, hosts
        server.shutdown()


def opened(page: str, folder: Path, name: str) -> tuple[str, set[str]]:
    """The page's document after it was loaded and drawn, and the hosts that were asked for meanwhile."""
    file, picture = folder / f"{name}.html", folder / f"{name}.png"
    file.write_text(page, encoding="utf-8")
    with recording_proxy() as (port, hosts):
        shared = (str(CHROMIUM), *FLAGS, f"--proxy-server=127.0.0.1:{port}", f"--user-data-dir={folder}/{name}-profile")
        for option in (f"--screenshot={picture}", "--dump-dom"):
            ran = subprocess.run((*shared, option, file.as_uri()), capture_output=True, text=True, timeout=120)
        assert picture.stat().st_size > 5_000
        return ran.stdout, set(hosts)


def test_the_page_is_drawn_and_asks_nobody(tmp_path: Path) -> None:
    _, browsers_own = opened("<p>nothing</p>" * 500, tmp_path, "blank")
    _, control = opened("<p>text</p>" * 500 + '<img src="http://probe.example/x">', tmp_path, "control")
    assert control - browsers_own == {"probe.example"}
    page = evaluation_page(two_sides())
    document, hosts = opened(page, tmp_path, "evaluation")
    assert hosts <= browsers_own
    assert document.count("<circle") == page.count("<circle") > 8
    assert "precision against recall" in document and "quality against cost" in document
    # A page that was changed so that it asks is stopped by its own rule.
    _, hosts = opened(page.replace("</body>", '<img src="http://probe.example/x"></body>'), tmp_path, "changed")
    assert "probe.example" not in hosts
