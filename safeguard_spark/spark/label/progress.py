"""Live progress: tasks tell the driver by UDP how far they are. Never used for final numbers.

Each datagram carries a task's totals so far, so that a lost one costs nothing. Where the network drops them all, the
bar moves with each finished chunk.
"""

import json
import os
import secrets
import socket
import sys
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Any, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.text import Text

from safeguard_spark.labelling.engine import Engine
from safeguard_spark.labelling.rows import Labelled

EVERY_S = 1.0
LINE_EVERY_S = 30.0  # on a pipe
STALL_S = 60.0


class Reporter:
    """A task's side: counts, and sends at most once a second."""

    def __init__(self, address: tuple[str, int, str] | None) -> None:
        self._address = address
        self._totals: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._sent = 0.0
        self._id = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
        self._oldest = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._oldest = 0.0
        self._send()

    def add(self, done: Labelled, engine: Engine) -> None:
        """Count one row."""
        self._totals["rows"] += 1
        self._totals["asked"] += done.called
        self._outcomes[done.verdict.outcome.value] += 1
        if done.completion:
            self._totals["prompt"] += done.completion.prompt_tokens
            self._totals["cached"] += done.completion.cached_tokens
            self._totals["completion"] += done.completion.completion_tokens
        if time.monotonic() - self._sent >= EVERY_S:
            self._oldest = engine.oldest_s
            self._send()

    def _send(self) -> None:
        if self._address is None:
            return
        self._sent = time.monotonic()
        host, port, token = self._address
        said = {"token": token, "task": self._id, "totals": self._totals, "outcomes": self._outcomes}
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(json.dumps({**said, "oldest": self._oldest}).encode(), (host, port))
        except OSError:
            self._address = None  # no way to the driver: stay quiet rather than slow


class Listener:
    """The driver's side: adds up what tasks say."""

    def __init__(self, host: str) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind((host, 0))
        except OSError:  # the driver's name is not an address of this machine (a service in front of it)
            self._socket.bind(("", 0))
        self._socket.settimeout(0.5)
        self._token = secrets.token_hex(16)
        self._tasks: dict[str, dict[str, Any]] = {}
        self._open = True
        self.first: float | None = None  # when the first row was done: rates count from there, not from the start
        self.heard = time.monotonic()
        self.address = (host, int(self._socket.getsockname()[1]), self._token)
        threading.Thread(target=self._listen, name="progress", daemon=True).start()

    def _listen(self) -> None:
        while self._open:
            try:
                said = json.loads(self._socket.recv(65_536))
            except (TimeoutError, ValueError):
                continue
            except OSError:
                return
            if isinstance(said, dict) and said.get("token") == self._token:
                before = self._tasks.get(said["task"], {}).get("totals")
                if before != said["totals"]:
                    self.heard = time.monotonic()
                    self.first = self.first or self.heard
                self._tasks[said["task"]] = said

    def totals(self) -> Counter[str]:
        """Rows, asked, and tokens over all tasks so far."""
        return sum((Counter(said["totals"]) for said in list(self._tasks.values())), Counter())

    def outcomes(self) -> Counter[str]:
        """Outcomes over all tasks so far."""
        return sum((Counter(said["outcomes"]) for said in list(self._tasks.values())), Counter())

    def oldest_s(self) -> float:
        """Age of the oldest request anywhere, seconds."""
        return max((float(said["oldest"]) for said in list(self._tasks.values())), default=0.0)

    def close(self) -> None:
        """Stop listening."""
        self._open = False
        self._socket.close()


class Bar:
    """A bar on a terminal; on a pipe, a line every half minute."""

    def __init__(self, listener: Listener, total: int, file: TextIO | None = None) -> None:
        self._listener, self._total = listener, total
        self._console = Console(file=file or sys.stderr)
        self._began = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._show, name="bar", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _show(self) -> None:
        if not self._console.is_terminal:
            while not self._stop.wait(LINE_EVERY_S):
                self._console.print(self.line(), highlight=False, soft_wrap=True)
            return
        columns: tuple[ProgressColumn, ...] = (
            SpinnerColumn(),
            TextColumn("labelling"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            _Words(self),
        )
        with Progress(*columns, console=self._console, refresh_per_second=2) as progress:
            bar = progress.add_task("label", total=self._total)
            while not self._stop.wait(0.5):
                progress.update(bar, completed=min(self._total, self._listener.totals()["rows"]))
            progress.update(bar, completed=min(self._total, self._listener.totals()["rows"]))

    def line(self) -> str:
        """The state in one line."""
        totals = self._listener.totals()
        return f"{totals['rows']}/{self._total} rows  {self.words()}"

    def words(self) -> str:
        """Rates, hit rate, outcomes, time left, and a stall if there is one."""
        totals, first = self._listener.totals(), self._listener.first
        seconds = max(1.0, time.monotonic() - (first or self._began))
        rows, prompt = totals["rows"], totals["prompt"]
        said = [f"{rows / seconds:.0f} rows/s", f"{(prompt + totals['completion']) / seconds:.0f} tok/s"]
        if prompt:
            said.append(f"cache {totals['cached'] / prompt:.0%}")
        if rows:
            left = (self._total - rows) * seconds / rows
            said.append(f"ETA {int(left // 60)}:{int(left % 60):02d}")
        said.extend(f"{name} {count}" for name, count in self._listener.outcomes().most_common(4))
        oldest = self._listener.oldest_s()
        if oldest > 5:
            said.append(f"oldest request {oldest:.0f} s")
        silent = time.monotonic() - max(self._listener.heard, self._began)
        if not rows:
            waits = f"waiting for the engine, {silent:.0f} s (a start takes about a minute)"
            said.append(waits if silent > 3 else "starting")
        elif silent > STALL_S:
            said.append(f"STALLED: nothing finished for {silent:.0f} s")
        return "  ".join(said)


class _Words(ProgressColumn):
    def __init__(self, bar: Bar) -> None:
        super().__init__()
        self._bar = bar

    def render(self, task: Task) -> Text:  # noqa: ARG002  # the signature is rich's
        return Text(self._bar.words())
