"""`label --follow` over appends to a Delta table, killed twice: how soon each is labelled, and what waiting costs."""

import random
import signal
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import psutil
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from tests.build import until
from tests.soak.conserved import assert_conserved, read
from tests.soak.job import LabelJob

EVERY_S = 10.0  # between two appends, and between two looks at the source
IDLE_S = 60.0
MAX_START_S = 240.0
MAX_CYCLES = 2


class DeltaJob(LabelJob):
    """A label job over a Delta table."""

    def write(self, rows: Sequence[tuple[str, str | None]]) -> None:
        """Append these contents to the table."""
        table = pa.table({"id": [id for id, _ in rows], "body": [text for _, text in rows]})
        write_deltalake(str(self.posts), table, mode="append")


def soak_follow(folder: Path, appends: int, rows: int, seed: int) -> None:
    """Append `appends` times, kill the command in two of the runs, check all tables, and print the figures."""
    run = {"chunk_rows": 6 * rows, "heartbeat_s": 1.0, "follow_every": EVERY_S}
    job = DeltaJob(folder, chunk_rows=6 * rows, policies=["market"], sections={"run": run})
    rng, kills = random.Random(seed), {appends // 3, 2 * appends // 3}
    waiting, seconds, appended_at = deque[tuple[int, float]](), list[float](), list[float]()
    try:
        job.add(rows)
        job.start("--follow")
        until(lambda: num_labelled(job) == rows, MAX_START_S)
        print(f"after the first run: {memory(job)}", flush=True)
        start = time.monotonic()
        for number in range(appends):
            job.add(rows)
            waiting.append((job.rows(), time.monotonic()))
            appended_at.append(time.time())
            if number in kills:
                kill_during_run(job, rng)
            while waiting and (number + 1 == appends or time.monotonic() < start + (number + 1) * EVERY_S):
                labelled = num_labelled(job)
                while waiting and waiting[0][0] <= labelled:
                    seconds.append(time.monotonic() - waiting.popleft()[1])
                assert job.process is not None and job.process.poll() is None, job.stderr_tail()
                time.sleep(0.2)
            time.sleep(max(0.0, start + (number + 1) * EVERY_S - time.monotonic()))
        total = time.monotonic() - start
        before = processor_s(job)
        time.sleep(IDLE_S)
        idle = (processor_s(job) - before) / IDLE_S
        print(f"idle, after {appends} appends in {total:.0f} s: {memory(job)}, {idle:.1%} of one core", flush=True)
        assert job.process is not None
        job.process.send_signal(signal.SIGTERM)
        assert job.wait() == 0, job.stderr_tail()
        assert_conserved(job, len(kills))
    finally:
        job.end()
    cycles = cycles_of(job, rows, appended_at)
    print(
        f"labelled after {median(seconds):.1f} s in the median and {max(seconds):.1f} s at most, in cycle "
        f"{max(cycles)} at most; {job.calls()} calls for {len(set(job.texts().values()))} distinct contents",
        flush=True,
    )
    assert max(cycles) <= MAX_CYCLES, cycles


def kill_during_run(job: LabelJob, rng: random.Random) -> None:
    """SIGKILL the command while a run is under way, or if that was too fast after it, and start it again."""
    existing = {path.name for path in job.staging.glob("*")}

    def is_due() -> bool:
        return any(path.name not in existing for path in job.staging.glob("*")) or num_labelled(job) == job.rows()

    until(is_due, MAX_START_S)
    time.sleep(rng.uniform(0.0, 2.0))
    assert job.process is not None
    job.process.kill()
    job.wait()
    job.start("--follow")


def cycles_of(job: LabelJob, rows: int, appended_at: Sequence[float]) -> list[int]:
    """For each append, how many runs began after it until the one that labelled all of it."""
    starts = {run["run_id"]: run["started_at"].timestamp() for run in read(job, "runs")}
    labelled = {row["content_id"]: starts[row["run_id"]] for row in read(job, "labels")}
    cycles = []
    for number, appended in enumerate(appended_at, start=1):
        last = max(labelled[f"p{n}"] for n in range(number * rows, (number + 1) * rows))
        cycles.append(sum(appended < start <= last for start in starts.values()))
    return cycles


def num_labelled(job: LabelJob) -> int:
    """Contents that have a label."""
    if not any(job.tables.glob("labels/_delta_log/*.json")):
        return 0
    ids = DeltaTable(str(job.tables / "labels")).to_pyarrow_table(columns=["content_id"])
    return len(ids["content_id"].unique())


def memory(job: LabelJob) -> str:
    """Resident memory of the job's processes, for people."""
    sizes: dict[str, int] = {"JVM": 0, "Python": 0}
    for process in job.processes():
        name = "JVM" if "java" in process.name() else "Python"
        sizes[name] += process.memory_info().rss
    return ", ".join(f"{name} {size / 2**20:.0f} MiB" for name, size in sizes.items())


def processor_s(job: LabelJob) -> float:
    """Processor seconds that the job's processes have used so far."""
    total = 0.0
    for process in job.processes():
        try:
            times = process.cpu_times()
            total += times.user + times.system
        except psutil.Error:
            continue
    return total
