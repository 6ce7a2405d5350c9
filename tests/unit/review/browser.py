"""A console in another process, and a person in front of it: a cookie, pages, forms."""

import os
import re
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Mapping
from http.cookiejar import CookieJar
from pathlib import Path

from tools.rooms import ROOT


class Browser:
    """Sends the forms that it was shown, over a real socket."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self._url, self._page = url, ""
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        self._opener.addheaders += (headers or {}).items()

    def get(self, path: str) -> str:
        """The page at a path."""
        return self._open(self._url + path, None)

    def decide(self, answer: str, reason: str = "") -> str:
        """Answer the item that is shown; returns its id once the console has said that it is recorded.

        An answer that contradicts the label needs a reason.
        """
        item = self._hidden("item_id")
        fields = {"item_id": item, "decision_id": self._hidden("decision_id"), "answer": answer, "action": "decide"}
        fields |= {"reason": reason} if reason else {}
        self._send(fields)
        assert self.is_judged
        return item

    @property
    def has_item(self) -> bool:
        """Whether the page shows an item that can be decided."""
        return 'name="decision_id"' in self._page

    @property
    def is_judged(self) -> bool:
        """Whether the person has decided the item that is shown."""
        return "Next item" in self._page

    def next(self) -> None:
        """Go on to the next item."""
        self._send({"item_id": self._hidden("item_id"), "action": "next"})

    def _send(self, fields: dict[str, str]) -> None:
        form = urllib.parse.urlencode({"token": self._hidden("token"), **fields}).encode()
        self._open(self._url + "queue/market", form)

    def _open(self, url: str, form: bytes | None) -> str:
        with self._opener.open(url, form, timeout=30) as reply:
            self._page = reply.read().decode()
        return self._page

    def _hidden(self, name: str) -> str:
        match = re.search(rf'name="{name}" value="([^"]*)"', self._page)
        assert match, name
        return match[1]


class Process:
    """A console in a process of its own."""

    def __init__(self, config: Path, append_every_s: float) -> None:
        code = (
            "import sys; from pathlib import Path; from safeguard_spark.review import serve, app;"
            f"app.build_app.__defaults__ = ({append_every_s},);"
            "from safeguard_spark.config.load import load_config; serve.serve(load_config(Path(sys.argv[1]), {}, []))"
        )
        command = [sys.executable, "-c", code, str(config)]
        self._process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr
        line = self._process.stderr.readline()
        match = re.search(r"http://\S+/", line)
        assert match, line
        self.url = match[0]

    @property
    def cpu_s(self) -> float:
        """Processor time that it has used, in seconds."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self, sign: int) -> None:
        """Send a signal, and wait for the end."""
        os.kill(self._process.pid, sign)
        self._process.wait(30)
        assert self._process.stderr
        self._process.stderr.close()
