"""The label job with source, tables and staging on S3."""

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.s3 import S3, S3Job, reason_to_skip, running
from tests.soak.conserved import assert_labelled_once
from tests.soak.kill import kill_process

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    if reason := reason_to_skip():
        pytest.skip(reason)
    with running(tmp_path_factory.mktemp("s3") / "log") as server:
        yield server


@pytest.fixture
def job(s3: S3, tmp_path: Path) -> Iterator[Callable[..., S3Job]]:
    jobs: list[S3Job] = []

    def make(name: str, **settings: Any) -> S3Job:
        jobs.append(S3Job(s3, tmp_path, name, **settings))
        return jobs[-1]

    yield make
    for made in jobs:
        made.end()


def twin_of(job: S3Job) -> S3Job:
    """The same job as another driver runs it, over the same tables."""
    twin = object.__new__(S3Job)
    twin.__dict__.update(job.__dict__, process=None, job_id="")
    return twin


@pytest.mark.slow
def test_two_drivers_at_once_label_every_content_once_without_spark_s_marker(job: Callable[..., S3Job]) -> None:
    no_marker = {"spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false"}
    first = job("both", conf=no_marker, chunk_rows=60)
    first.add(150)
    second = twin_of(first)
    processes = [first.start(), second.start()]
    codes = [process.wait(300) for process in processes]
    assert codes == [0, 0], first.stderr_tail()
    assert_each_once(first)


def assert_each_once(job: S3Job) -> None:
    """Every content has one label, and nothing is staged but the marker of the folder itself."""
    job.fetch()
    assert_labelled_once(job)
    staged = f"{job.prefix}/tables/_staging/"
    assert [key for key in job.s3.keys(staged) if key != staged] == []


def test_without_conditional_writes_a_run_is_refused_unless_there_is_a_log_store(job: Callable[..., S3Job]) -> None:
    off = job("off", conf={"spark.hadoop.fs.s3a.create.conditional.enabled": "false"})
    off.add(10)
    off.start()
    assert off.wait() == 2
    assert "Two runs at once could overwrite each other's labels" in off.stderr_tail()
    assert not off.s3.keys("off/tables")


@pytest.mark.slow
def test_two_drivers_killed_ten_times_at_random_label_every_content_once(job: Callable[..., S3Job]) -> None:
    rng, kills = random.Random(4), 0
    first = job("soak", chunk_rows=60)
    drivers = [first, twin_of(first)]
    while kills < 10:
        for driver in drivers:
            if driver.process is None or driver.process.poll() is not None:
                first.add(40)
                driver.start()
        time.sleep(rng.uniform(2.0, 25.0))
        victim = rng.choice(drivers)
        assert victim.process is not None
        if victim.process.poll() is None and kill_process(victim, "machine"):
            victim.process.wait(30)
            kills += 1
    for driver in drivers:
        if driver.process is not None:
            driver.process.wait(240)
    codes = first.run_until_done()
    print(f"{kills} kills, {first.rows()} contents, exit codes {codes}")
    assert_each_once(first)
