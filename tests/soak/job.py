"""The label job as an operator runs it: in its own process and folder, so that it can be killed."""

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

from tests.build import SCRIPT, policy_text

REPOSITORY = Path(__file__).parents[2]
JOB_VARIABLE = "SOAK_JOB"  # in the environment of every process a job starts
MAX_RUN_S = 240.0  # a job that takes longer counts as hung
CLEANUP_S = 30.0  # how soon after a run its processes must be gone
CONF = {
    "spark.sql.shuffle.partitions": "2",
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.driver.memory": "1g",
    # A process that runs for seconds ends before a better compiler saves time.
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.sql.codegen.wholeStage": "false",
}
POLICIES = ("market", "other")


class LabelJob:
    """A content table in Parquet, its label tables, and the command that labels it.

    The scripted engine answers after `latency_s` and counts every call over all processes.
    """

    max_run_s = MAX_RUN_S

    def __init__(
        self, folder: Path, *, master: str = "local[2]", latency_s: float = 0.005, chunk_rows: int = 60,
        policies: Sequence[str] = POLICIES, sections: dict[str, Any] | None = None, umask: int = -1,
    ) -> None:  # fmt: skip
        self.umask = umask  # of the driver; -1: this process's own
        self.folder, self.chunk_rows, self.policies = folder, chunk_rows, tuple(policies)
        self.posts, self.tables, self.calls_file = folder / "posts", folder / "tables", folder / "calls"
        self.staging = self.tables / "_staging"
        self.posts.mkdir(parents=True, exist_ok=True)
        self.process: subprocess.Popen[str] | None = None
        self.job_id = ""
        args = {**SCRIPT, "calls_file": str(self.calls_file), "latency_s": latency_s}
        values: dict[str, Any] = {
            "engine": {"kind": "scripted", "args": args},
            "tracking": {"enabled": False},
            "labeler": {"second_look": "none"},  # each content is then one call
            "run": {"chunk_rows": chunk_rows, "heartbeat_s": 0.2},
            "spark": {"master": master, "conf": CONF},
            **(sections or {}),
        }
        (folder / "conf.yaml").write_text(yaml.safe_dump(values))
        for name in self.policies:
            (folder / f"{name}.md").write_text(policy_text(name, text=f"No replicas: {name}."))

    def add(self, count: int) -> None:
        """Add contents to the table: one in ten is a text that is already in it, a few need no model."""
        start = self.rows()
        self.write([(f"p{n}", _text(n)) for n in range(start, start + count)])

    def write(self, rows: Sequence[tuple[str, str | None]]) -> None:
        """Add these contents to the table."""
        table = pa.table({"id": [id for id, _ in rows], "body": [text for _, text in rows]})
        file = self.posts / f"{self.rows():08}.parquet"
        pq.write_table(table, draft := file.with_name(f".{file.name}"))
        draft.rename(file)  # a run that looks now sees all of it

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

    def command(self, *options: str) -> list[str]:
        """The command, always the same but for `options`."""
        policies = [word for name in self.policies for word in ("--policy", str(self.folder / f"{name}.md"))]
        return [
            sys.executable, "jobs/label.py", "--config", str(self.folder / "conf.yaml"), "--source", str(self.posts),
            "--text-column", "body", *policies, "--output", str(self.tables), "--json", *options,
        ]  # fmt: skip

    def start(self, *options: str) -> subprocess.Popen[str]:
        """Start a run. Its output goes to `out` and `err` in the folder."""
        self.job_id = str(uuid.uuid4())
        temporary = self.folder / "tmp"  # below the folder, so that tests can search what the job leaves there
        temporary.mkdir(exist_ok=True)
        env = {**os.environ, JOB_VARIABLE: self.job_id, "TMPDIR": str(temporary)}
        with (self.folder / "out").open("w") as out, (self.folder / "err").open("a") as err:
            self.process = subprocess.Popen(
                self.command(*options),
                cwd=REPOSITORY,
                env=env,
                stdout=out,
                stderr=err,
                start_new_session=True,
                umask=self.umask,
                text=True,
            )
        return self.process

    def wait(self) -> int:
        """Wait until the run and all its processes have ended; its exit code. AssertionError if they take too long."""
        assert self.process is not None
        try:
            code = self.process.wait(self.max_run_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the job hangs; its output: {self.stderr_tail()}") from None
        deadline = time.monotonic() + CLEANUP_S
        while orphans := self.processes():
            assert time.monotonic() < deadline, f"orphans: {[str(process) for process in orphans]}"
            time.sleep(0.1)
        return code

    def run_until_done(self, max_runs: int = 6) -> list[int]:
        """Repeat the command until it exits with 0. Returns all exit codes."""
        codes: list[int] = []
        while not codes or codes[-1]:
            assert len(codes) < max_runs, f"exit codes {codes}; its output: {self.stderr_tail()}"
            self.start()
            codes.append(self.wait())
        return codes

    def stderr_tail(self) -> str:
        """The end of what the runs printed to stderr."""
        return (self.folder / "err").read_text(errors="replace")[-2000:]

    def processes(self) -> list[psutil.Process]:
        """Processes of the last run that are still running."""
        processes = []
        for process in psutil.process_iter():
            try:
                is_ours = process.environ().get(JOB_VARIABLE) == self.job_id
                if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                    processes.append(process)
            except (psutil.Error, OSError):
                continue
        return processes

    def end(self) -> None:
        """Kill all processes that are still running."""
        for process in self.processes() if self.job_id else []:
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
