"""The label job killed at random moments and issued again until it is done: nothing lost, doubled or left behind.

`python -m tests.soak` does the same for as long as one likes. Seeds are fixed here; SOAK_SEED chooses others.
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
    made = LabelJob(tmp_path, policies=["market"])
    yield made
    made.end()


def test_kills_at_random_moments_of_plan_label_stage_and_commit_lose_and_double_nothing(job: LabelJob) -> None:
    chance = random.Random(SEED)
    victims = ["driver", "machine", "jvm", "worker"]
    chance.shuffle(victims)
    kills = [Kill(*who, round(chance.uniform(0.0, 0.5), 3)) for who in zip(victims, MOMENTS, strict=True)]
    killed = 0
    for number, what in enumerate(kills):
        job.add(90)
        done = kill(job, what)
        code = job.wait()
        killed += bool(done)
        print(f"seed {SEED}/{number}: {what}: {done or 'too late'}, exit code {code}")
    job.until_done()
    assert killed >= 3
    assert_conserved(job, killed)


def test_an_executor_that_is_killed_costs_its_tasks_and_no_row(tmp_path: Path) -> None:
    job = LabelJob(tmp_path, master="local-cluster[2,1,1024]", policies=["market"])
    try:
        job.add(120)
        what = Kill("executor", "label", 0.3)
        killed = kill(job, what)
        assert (killed, job.wait()) == ("executor", 0), job.said()
        assert_conserved(job, 1)
    finally:
        job.end()
