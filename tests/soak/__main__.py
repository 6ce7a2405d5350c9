"""`python -m tests.soak --runs 20 --seed N`: in every run something is killed, and no label is lost or doubled.

Each run adds contents, kills a random process, repeats the command until it exits with 0, and checks all tables. With
`--folder` a later call continues with the same tables. `--cluster` runs on separate executors and also kills those.
`--engine` runs a real vLLM server on the CPU and also kills its processes. `--follow` runs `label --follow` over
`--runs` appends, ten seconds apart, and kills it twice.
"""

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.soak.conserved import assert_conserved, assert_labelled_once
from tests.soak.follow import soak_follow
from tests.soak.job import POLICIES, LabelJob
from tests.soak.kill import VICTIMS, Kill, kill, kill_process

CLUSTER = "local-cluster[2,1,1024]"


def main(argv: Sequence[str]) -> int:
    """Run the soak test. Returns 0 if no run lost or doubled a label."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the job's processes are ended too
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--rows", type=int, default=90, help="contents added per run")
    parser.add_argument("--policies", type=int, default=1, choices=[1, 2])
    parser.add_argument("--folder", type=Path, help="folder of the tables; default: a temporary one")
    parser.add_argument("--cluster", action="store_true")
    parser.add_argument("--engine", action="store_true")
    parser.add_argument("--follow", action="store_true")
    options = parser.parse_args(argv)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="soak-"))
    if options.engine:
        return soak_server(folder, options.runs, options.rows, options.seed)
    if options.follow:
        soak_follow(folder, options.runs, options.rows, options.seed)
        return 0
    master = CLUSTER if options.cluster else "local[2]"
    job = LabelJob(folder, master=master, policies=POLICIES[: options.policies])
    victims = (*VICTIMS, "executor") if options.cluster else VICTIMS
    counter = folder / "interruptions"
    for number in range(options.runs):
        interruptions = int(counter.read_text()) if counter.exists() else 0
        interruptions += soak_once(job, options.rows, f"{options.seed}/{number}", victims, interruptions)
        counter.write_text(str(interruptions))
    totals = f"{options.runs} runs, {job.rows():,} contents, {job.calls():,} calls, seed {options.seed}"
    print(f"No label lost or doubled: {totals}", flush=True)
    if options.folder is None:
        shutil.rmtree(folder)
    return 0


def soak_once(job: LabelJob, rows: int, seed: str, victims: tuple[str, ...], earlier_kills: int) -> int:
    """Add contents, kill once, repeat the command until done, and check. Returns the number of kills, 0 or 1."""
    start = time.monotonic()
    job.add(rows)
    planned = Kill.at_random(random.Random(seed), victims)
    print(f"seed {seed}: {planned}", end=" … ", flush=True)
    try:
        killed = kill(job, planned)
        codes = [job.wait()]
        if codes[-1]:
            codes += job.run_until_done()
        assert_conserved(job, earlier_kills + bool(killed))
    finally:
        job.end()
    print(f"{'killed' if killed else 'too late'}, exit codes {codes}, {time.monotonic() - start:.0f} s", flush=True)
    return int(bool(killed))


def soak_server(folder: Path, runs: int, rows: int, seed: int) -> int:
    """The same with a real server: whatever process is killed while rows are in flight, every row is labelled."""
    from tests.soak.engine import SERVER_PROCESSES, ServedJob, model_folder

    folder.mkdir(parents=True, exist_ok=True)
    job = ServedJob(folder, model_folder(folder))
    for number in range(runs):
        start, rng = time.monotonic(), random.Random(f"{seed}/{number}")
        victim, delay_s = rng.choice((*SERVER_PROCESSES, *VICTIMS)), rng.uniform(0.0, 2.0)
        print(f"seed {seed}/{number}: {victim} {delay_s:.3f} s after rows are in flight", end=" … ", flush=True)
        job.add(rows)
        try:
            job.start()
            server_ids = [job.wait_for_answers()]
            time.sleep(delay_s)
            if job.process and job.process.poll() is None:
                _ = job.kill_server_process(victim) if victim in SERVER_PROCESSES else kill_process(job, victim)
            codes = [job.wait()]
            job.assert_nothing_left(*server_ids, *job.server_ids)
            codes += job.run_until_done() if codes[-1] else []
            job.assert_nothing_left(*job.server_ids)
            assert_labelled_once(job)
        finally:
            job.end()
        print(f"exit codes {codes}, {time.monotonic() - start:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
