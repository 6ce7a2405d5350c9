"""Live progress: tasks report their progress to the driver by UDP. Never used for final numbers.

Each datagram contains a task's totals so far, so a lost one does no harm. If the network drops them all, the bar moves
with each finished chunk and says so.
"""

import os
import secrets
import socket
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Self, TextIO, TypeAlias

from pydantic import BaseModel
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from safeguard_spark.labelling.engine import Engine
from safeguard_spark.labelling.rows import Labelled

REPORT_INTERVAL_S = 1.0
LINE_INTERVAL_S = 30.0  # if the output is not a terminal
START_S = 20.0  # a label task reports first when it begins, before it needs the engine
STALL_S = 60.0
RECENT_TASKS = 1024


Address: TypeAlias = tuple[str, int, str]  # host, port and token of a listener


class Report(BaseModel):
    """A datagram: what one task has done so far. `totals` are named as in `Listener.totals`."""

    token: str
    task: str
    totals: Counter[str]
    outcomes: Counter[str]
    oldest_s: float
    has_ended: bool = False


class Reporter:
    """A task's side: counts rows and sends the totals at most once a second."""

    def __init__(self, address: Address | None) -> None:
        self._address = address
        self._totals: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._sent_at = 0.0
        self._id = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
        self._oldest_s = 0.0

    def __enter__(self) -> Self:
        self._send()
        return self

    def __exit__(self, *_: object) -> None:
        self._oldest_s = 0.0
        self._send(has_ended=True)

    def add(self, result: Labelled, engine: Engine) -> None:
        """Count one row."""
        self._totals["rows"] += 1
        self._outcomes[result.verdict.outcome.value] += 1
        for call in result.calls:
            self._totals["called"] += 1
            if call.completion:
                self._totals["prompt"] += call.completion.prompt_tokens
                self._totals["cached"] += call.completion.cached_tokens
                self._totals["completion"] += call.completion.completion_tokens
        if time.monotonic() - self._sent_at >= REPORT_INTERVAL_S:
            self._oldest_s = engine.oldest_s
            self._send()

    def _send(self, *, has_ended: bool = False) -> None:
        if self._address is None:
            return
        self._sent_at = time.monotonic()
        host, port, token = self._address
        report = Report(
            token=token, task=self._id, totals=self._totals, outcomes=self._outcomes, oldest_s=self._oldest_s,
            has_ended=has_ended,
        )  # fmt: skip
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(report.model_dump_json().encode(), (host, port))
        except OSError:
            self._address = None  # the driver cannot be reached: do not slow the task down by trying again


class Listener:
    """The driver's side: adds up the tasks' totals, and those of finished chunks in case no datagram arrives."""

    def __init__(self, host: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind((host, 0))
        except OSError:  # the driver's name is not an address of this machine (on Kubernetes: of a service)
            self._socket.bind(("", 0))
        self._socket.settimeout(0.5)
        self._token = secrets.token_hex(16)
        self._reports: dict[str, Report] = {}  # the last of each task that runs, and of one whose end was lost
        # Of the tasks that ended: with thousands of chunks, adding up every task's report would take a core.
        self._ended_totals, self._ended_outcomes = Counter[str](), Counter[str]()
        self._ended: deque[str] = deque(maxlen=RECENT_TASKS)  # a datagram may come after the task's last
        self.has_reports = False
        self._chunks: Counter[str] = Counter()  # totals of the finished chunks
        self._is_open = True
        self.first_row_at: float | None = None  # rates are computed from here, not from the start
        self.last_change_at = clock()
        self.address: Address = (host, int(self._socket.getsockname()[1]), self._token)
        threading.Thread(target=self._listen, name="progress", daemon=True).start()

    def _listen(self) -> None:
        while self._is_open:
            try:
                report = Report.model_validate_json(self._socket.recv(65_536))
            except (TimeoutError, ValueError):
                continue
            except OSError:
                return
            if report.token == self._token and report.task not in self._ended:
                self.has_reports = True
                before = self._reports.get(report.task)
                if report.totals and (before is None or before.totals != report.totals):
                    self.last_change_at = self.clock()
                    self.first_row_at = self.first_row_at or self.last_change_at
                if report.has_ended:
                    self._fold(report)
                else:
                    self._reports[report.task] = report

    def _fold(self, report: Report) -> None:
        """Add the totals of a task that ended to those of the others."""
        # Not in place: the bar's thread reads them. For a moment it may count this task twice, or not at all.
        self._ended_totals = self._ended_totals + report.totals
        self._ended_outcomes = self._ended_outcomes + report.outcomes
        self._reports.pop(report.task, None)
        self._ended.append(report.task)

    def add_chunk(self, totals: Counter[str]) -> None:
        """Count a finished chunk, by the names of `totals`."""
        self._chunks = self._chunks + totals  # not in place: the bar's thread reads it
        self.last_change_at = self.clock()

    def totals(self) -> Counter[str]:
        """`rows`, `called` (model calls), and tokens (`prompt`, `cached`, `completion`) so far."""
        reported = sum((report.totals for report in list(self._reports.values())), self._ended_totals)
        return reported | self._chunks  # the larger of each

    def outcomes(self) -> Counter[str]:
        """Outcomes over all tasks so far."""
        return sum((report.outcomes for report in list(self._reports.values())), self._ended_outcomes)

    def oldest_s(self) -> float:
        """Age of the oldest request of any task, in seconds."""
        return max((report.oldest_s for report in list(self._reports.values())), default=0.0)

    def close(self) -> None:
        """Stop listening."""
        self._is_open = False
        self._socket.close()


class Bar:
    """A progress bar on a terminal; elsewhere a line every half minute."""

    def __init__(
        self, listener: Listener, total: int, file: TextIO | None = None, line_interval_s: float = LINE_INTERVAL_S
    ) -> None:
        self._listener, self._total, self._line_interval_s = listener, total, line_interval_s
        self._console = Console(file=file or sys.stderr)
        self._started_at = listener.clock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._show, name="bar", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _show(self) -> None:
        if not self._console.is_terminal:
            while not self._stop.wait(self._line_interval_s):
                self._console.print(self.line(), highlight=False, soft_wrap=True)
            return
        status = TextColumn("{task.fields[status]}", markup=False)
        columns = SpinnerColumn(), "labelling", BarColumn(bar_width=24), MofNCompleteColumn(), status
        with Progress(*columns, console=self._console, auto_refresh=False) as progress:
            bar, has_ended = progress.add_task("label", total=self._total, status=""), False
            while not has_ended:
                has_ended = self._stop.wait(0.5)
                rows = min(self._total, self._listener.totals()["rows"])
                progress.update(bar, completed=rows, status=self.status(), refresh=True)

    def line(self) -> str:
        """The state in one line."""
        totals = self._listener.totals()
        return f"{totals['rows']}/{self._total} rows  {self.status()}"

    def status(self) -> str:
        """Rates, cache hit rate, time left, outcomes, and what the run waits for."""
        totals, first_row_at, now = self._listener.totals(), self._listener.first_row_at, self._listener.clock()
        seconds = max(1.0, now - (first_row_at or self._started_at))
        rows, prompt = totals["rows"], totals["prompt"]
        parts = [f"{rows / seconds:.0f} rows/s", f"{(prompt + totals['completion']) / seconds:.0f} tok/s"]
        if prompt:
            parts.append(f"cache {totals['cached'] / prompt:.0%}")
        if rows:
            remaining_s = (self._total - rows) * seconds / rows
            parts.append(f"ETA {int(remaining_s // 60)}:{int(remaining_s % 60):02d}")
        parts.extend(f"{name} {count}" for name, count in self._listener.outcomes().most_common(4))
        oldest_s = self._listener.oldest_s()
        if oldest_s > 5:
            parts.append(f"oldest request {oldest_s:.0f} s")
        parts += self._waiting(now - max(self._listener.last_change_at, self._started_at), has_rows=rows > 0)
        return "  ".join(parts)

    def _waiting(self, idle_s: float, *, has_rows: bool) -> list[str]:
        """What the run waits for, as far as it is known here."""
        if not self._listener.has_reports:  # what the engine does is not known
            if idle_s <= START_S and not has_rows:
                return ["starting"]
            last = f", the last {idle_s:.0f} s ago" if has_rows else f", none in {idle_s:.0f} s"
            return [f"no progress reports arrive: the bar moves with each finished chunk{last}"]
        if not has_rows:
            return [f"waiting for the engine, {idle_s:.0f} s (a start takes about a minute)"]
        return [f"STALLED: no row finished for {idle_s:.0f} s"] if idle_s > STALL_S else []
