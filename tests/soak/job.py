"""The label job as an operator runs it: a process of its own over a folder of its own, so that it can be killed."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from tests.spark.lake import POLICY, SCRIPT

REPOSITORY = Path(__file__).parents[2]
MARKER = "SOAK_JOB"  # in the environment of every process a job starts
GONE_S = 30.0
ENDS_S = 240.0  # the longest a job may take before it counts as hung
CONF = {
    "spark.sql.shuffle.partitions": "2",
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.driver.memory": "1g",
    # A process that lives for seconds is done before a better compiler pays.
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.sql.codegen.wholeStage": "false",
}
POLICIES = ("market", "other")


class LabelJob:
    """A content table in Parquet, label tables, and the command that labels the one into the others.

    The scripted engine answers after `latency_s` and counts every call over all processes.
    """

    def __init__(
        self, folder: Path, *, master: str = "local[2]", latency_s: float = 0.005, chunk_rows: int = 60,
        policies: Sequence[str] = POLICIES, sections: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.folder, self.chunk_rows, self.policies = folder, chunk_rows, tuple(policies)
        self.posts, self.tables, self.calls_file = folder / "posts", folder / "tables", folder / "calls"
        self.staging = self.tables / "_staging"
        self.posts.mkdir(parents=True, exist_ok=True)
        self.process: subprocess.Popen[str] | None = None
        self.mark = ""
        args = {**SCRIPT, "calls_file": str(self.calls_file), "latency_s": latency_s}
        values: dict[str, Any] = {
            "engine": {"kind": "scripted", "args": args},
            "tracking": {"enabled": False},
            "run": {"chunk_rows": chunk_rows, "heartbeat_s": 0.2},
            "spark": {"master": master, "conf": CONF},
            **(sections or {}),
        }
        (folder / "conf.yaml").write_text(yaml.safe_dump(values))
        for name in self.policies:
            (folder / f"{name}.md").write_text(POLICY.format(name=name, version="1.0.0", text=f"No replicas: {name}."))

    def add(self, count: int) -> None:
        """Add contents to the table: one in ten a text that is there already, a few that need no model."""
        start = self.rows()
        self.write([(f"p{n}", _text(n)) for n in range(start, start + count)])

    def write(self, rows: Sequence[tuple[str, str | None]]) -> None:
        """Add these contents to the table."""
        table = pa.table({"id": [id for id, _ in rows], "body": [text for _, text in rows]})
        pq.write_table(table, self.posts / f"{self.rows():08}.parquet")

    def rows(self) -> int:
        """Contents in the table."""
        return sum(pq.read_metadata(file).num_rows for file in self.posts.glob("*.parquet"))

    def texts(self) -> dict[str, str | None]:
        """Contents by id."""
        rows = pq.read_table(self.posts).to_pylist()
        return {row["id"]: row["body"] for row in rows}

    def calls(self) -> int:
        """Model calls so far, of every process."""
        return self.calls_file.stat().st_size if self.calls_file.exists() else 0

    def command(self, *more: str) -> list[str]:
        """The command, the same each time."""
        named = [word for name in self.policies for word in ("--policy", str(self.folder / f"{name}.md"))]
        return [
            sys.executable, "jobs/label.py", "--config", str(self.folder / "conf.yaml"), "--source", str(self.posts),
            "--text-column", "body", *named, "--output", str(self.tables), "--json", *more,
        ]  # fmt: skip

    def start(self, *more: str) -> subprocess.Popen[str]:
        """Begin a run. What it prints goes to `out` and `err` in the folder."""
        self.mark = str(uuid.uuid4())
        temporary = self.folder / "tmp"  # what the job itself leaves there is looked at as well
        temporary.mkdir(exist_ok=True)
        env = {**os.environ, MARKER: self.mark, "TMPDIR": str(temporary)}
        with (self.folder / "out").open("w") as out, (self.folder / "err").open("a") as err:
            self.process = subprocess.Popen(
                self.command(*more), cwd=REPOSITORY, env=env, stdout=out, stderr=err, start_new_session=True, text=True
            )
        return self.process

    def wait(self) -> int:
        """The exit code, when it and everything it started are gone. AssertionError if they are not in time."""
        assert self.process is not None
        try:
            code = self.process.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the job hangs; what it said: {self.said()}") from None
        ends = time.monotonic() + GONE_S
        while left := self.processes():
            assert time.monotonic() < ends, f"orphans: {[' '.join(found.cmdline())[:200] for found in left]}"
            time.sleep(0.1)
        return code

    def until_done(self, most: int = 6) -> list[int]:
        """Issue the command again and again until it exits with 0; every exit code."""
        codes: list[int] = []
        while not codes or codes[-1]:
            assert len(codes) < most, f"exit codes {codes}; what it said: {self.said()}"
            self.start()
            codes.append(self.wait())
        return codes

    def said(self) -> str:
        """The end of what it printed for people."""
        return (self.folder / "err").read_text(errors="replace")[-2000:]

    def processes(self) -> list[psutil.Process]:
        """Living processes of the last run."""
        found = []
        for process in psutil.process_iter():
            try:
                ours = process.environ().get(MARKER) == self.mark
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def end(self) -> None:
        """End whatever is left, whatever happened."""
        for process in self.processes() if self.mark else []:
            try:
                os.kill(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if self.process is not None:
            self.process.wait(30)


def _text(n: int) -> str | None:
    special = {11: None, 12: "", 13: f"zzrefuse {n}", 14: f"zzgarbage {n}", 15: f"zzcut {n}"}
    if n % 50 in special:
        return special[n % 50]
    if n % 10 == 9:
        return f"a table, number {n % 100}"
    return f"a replica, number {n}" if n % 4 == 0 else f"a table, number {n}"
