"""The label job killed at random moments and run again until it is done: no label is lost, doubled or left staged.

`python -m tests.soak` does the same for any number of runs. The seed is fixed here; SOAK_SEED sets another.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.soak.conserved import assert_conserved
from tests.soak.job import LabelJob
from tests.soak.kill import Kill, kill

pytestmark = [pytest.mark.spark, pytest.mark.slow]
SEED = int(os.environ.get("SOAK_SEED", "1"))
MOMENTS = ("plan", "label", "stage", "commit")


@pytest.fixture
def job(tmp_path: Path) -> Iterator[LabelJob]:
    job = LabelJob(tmp_path, policies=["market"])
    yield job
    job.end()


def test_kills_while_planning_labelling_staging_and_committing_lose_and_double_no_label(job: LabelJob) -> None:
    rng = random.Random(SEED)
    victims = ["driver", "machine", "jvm", "worker"]
    rng.shuffle(victims)
    kills = [Kill(*target, round(rng.uniform(0.0, 0.5), 3)) for target in zip(victims, MOMENTS, strict=True)]
    killed = 0
    for number, planned in enumerate(kills):
        job.add(90)
        victim = kill(job, planned)
        code = job.wait()
        killed += bool(victim)
        print(f"seed {SEED}/{number}: {planned}: {victim or 'too late'}, exit code {code}")
    job.run_until_done()
    assert killed >= 3
    assert_conserved(job, killed)


def test_killing_an_executor_repeats_its_tasks_and_loses_no_row(tmp_path: Path) -> None:
    job = LabelJob(tmp_path, master="local-cluster[2,1,1024]", policies=["market"])
    try:
        job.add(120)
        killed = kill(job, Kill("executor", "label", 0.3))
        assert (killed, job.wait()) == ("executor", 0), job.stderr_tail()
        assert_conserved(job, 1)
    finally:
        job.end()
