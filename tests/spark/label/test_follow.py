"""`safeguard label --follow`: what arrives is labelled, through kills, until SIGTERM."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.build import until
from tests.soak.conserved import assert_conserved
from tests.soak.follow import num_labelled
from tests.soak.job import LabelJob

pytestmark = [pytest.mark.spark, pytest.mark.slow]

MAX_WAIT_S = 240.0


@pytest.fixture
def job(tmp_path: Path) -> Iterator[LabelJob]:
    run = {"chunk_rows": 60, "heartbeat_s": 0.2, "follow_every": 1.0}
    job = LabelJob(tmp_path, policies=["market"], sections={"run": run})
    yield job
    job.end()


def test_what_arrives_is_labelled_through_kills_until_it_is_told_to_end(job: LabelJob) -> None:
    job.add(30)
    for killed in (True, True, False):
        job.start("--follow")
        for _ in range(2):
            until(lambda: num_labelled(job) == job.rows(), MAX_WAIT_S)
            job.add(20)
        if killed:
            time.sleep(1.5)  # while the last rows are seen, planned or labelled
            assert job.process is not None
            job.process.kill()
            job.wait()
    until(lambda: f"complete: {job.rows()} rows" in job.stderr_tail(), MAX_WAIT_S)  # the run has ended
    assert job.process is not None
    job.process.send_signal(signal.SIGTERM)
    assert job.wait() == 0, job.stderr_tail()
    assert_conserved(job, 2)
