"""`python -m tests.soak --runs 20 --seed N`: run after run something is killed, and nothing is lost or doubled.

Each run adds contents, kills by chance, issues the same command until it exits with 0, and checks all tables. With
`--folder` a later call goes on with the same tables; `--cluster` runs on separate executors and kills those as well;
`--engine` runs a real vLLM server on the CPU and kills its processes too.
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
from tests.soak.job import POLICIES, LabelJob
from tests.soak.kill import VICTIMS, Kill, kill, strike

CLUSTER = "local-cluster[2,1,1024]"


def main(argv: Sequence[str]) -> int:
    """Soak; returns 0 if every run was conserved."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what runs is ended as well
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--rows", type=int, default=90, help="contents added per run")
    parser.add_argument("--policies", type=int, default=1, choices=[1, 2])
    parser.add_argument("--folder", type=Path, help="where the tables are; default: a temporary one")
    parser.add_argument("--cluster", action="store_true")
    parser.add_argument("--engine", action="store_true")
    asked = parser.parse_args(argv)
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="soak-"))
    if asked.engine:
        return served(folder, asked.runs, asked.rows, asked.seed)
    master = CLUSTER if asked.cluster else "local[2]"
    job = LabelJob(folder, master=master, policies=POLICIES[: asked.policies])
    victims = (*VICTIMS, "executor") if asked.cluster else VICTIMS
    hits = folder / "interruptions"
    for number in range(asked.runs):
        interruptions = int(hits.read_text()) if hits.exists() else 0
        interruptions += one(job, asked.rows, f"{asked.seed}/{number}", victims, interruptions)
        hits.write_text(str(interruptions))
    print(f"{asked.runs} runs conserved, {job.rows():,} contents, {job.calls():,} calls, seed {asked.seed}", flush=True)
    if asked.folder is None:
        shutil.rmtree(folder)
    return 0


def one(job: LabelJob, rows: int, seed: str, victims: tuple[str, ...], before: int) -> int:
    """Add contents, kill once, go on until done, check; returns how many kills there were."""
    began = time.monotonic()
    job.add(rows)
    what = Kill.drawn(random.Random(seed), victims)
    print(f"seed {seed}: {what}", end=" … ", flush=True)
    try:
        killed = kill(job, what)
        codes = [job.wait()]
        if codes[-1]:
            codes += job.until_done()
        assert_conserved(job, before + bool(killed))
    finally:
        job.end()
    print(f"{'killed' if killed else 'too late'}, exit codes {codes}, {time.monotonic() - began:.0f} s", flush=True)
    return int(bool(killed))


def served(folder: Path, runs: int, rows: int, seed: int) -> int:
    """The same with a real server: whichever process dies while rows are in flight, every row ends labelled."""
    from tests.soak.engine import VICTIMS as SERVERS
    from tests.soak.engine import ServedJob, model_folder

    folder.mkdir(parents=True, exist_ok=True)
    job = ServedJob(folder, model_folder(folder))
    for number in range(runs):
        began, chance = time.monotonic(), random.Random(f"{seed}/{number}")
        victim, delay_s = chance.choice((*SERVERS, *VICTIMS)), chance.uniform(0.0, 2.0)
        print(f"seed {seed}/{number}: {victim} {delay_s:.3f} s after rows are in flight", end=" … ", flush=True)
        job.add(rows)
        try:
            job.start()
            engines = [job.await_in_flight()]
            time.sleep(delay_s)
            if job.process and job.process.poll() is None:
                _ = job.strike(victim) if victim in SERVERS else strike(job, victim)
            codes = [job.wait()]
            job.assert_nothing_left(*engines, str(job.state["server_id"]))
            codes += job.until_done() if codes[-1] else []
            job.assert_nothing_left(str(job.state["server_id"]))
            assert_labelled_once(job)
        finally:
            job.end()
        print(f"exit codes {codes}, {time.monotonic() - began:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
