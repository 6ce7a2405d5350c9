"""The label job with source, tables and staging on S3."""

import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.s3 import S3, S3Job, reason_to_skip, running
from tests.soak.conserved import assert_labelled_once
from tests.soak.kill import kill_process

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(500)]


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


def test_a_run_is_refused_until_a_log_store_is_named(job: Callable[..., S3Job]) -> None:
    undecided = job("undecided", conf={"spark.delta.logStore.s3a.impl": None})
    undecided.add(10)
    undecided.start()
    assert undecided.wait() == 2
    assert "spark.delta.logStore.s3a.impl=io.delta.storage.S3DynamoDBLogStore" in undecided.stderr_tail()
    assert not undecided.s3.keys("undecided/tables")


def test_a_run_labels_every_content_once_without_hadoops_marker(job: Callable[..., S3Job]) -> None:
    one = job("one", conf={"spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false"}, chunk_rows=60)
    one.add(100)
    one.start()
    assert one.wait() == 0, one.stderr_tail()
    one.fetch()
    assert_labelled_once(one)
    staged = "one/tables/_staging/"
    assert [key for key in one.s3.keys(staged) if key != staged] == []  # the marker of the folder itself


@pytest.mark.timeout(1800)
def test_ten_runs_killed_at_random_moments_label_every_content_once(job: Callable[..., S3Job]) -> None:
    one, rng, killed = job("killed", chunk_rows=100, latency_s=0.05), random.Random(5), list[float]()
    while len(killed) < 10:
        one.add(40)
        manifests, process = set(one.manifests()), one.start()
        while process.poll() is None and not set(one.manifests()) - manifests:
            time.sleep(0.2)
        try:
            code = process.wait(delay_s := rng.uniform(0, 20))
        except subprocess.TimeoutExpired:
            kill_process(one, "machine")
            killed.append(round(delay_s, 1))
        else:
            assert code in (0, 6), one.stderr_tail()
    codes = one.run_until_done()
    one.fetch()
    print(f"killed {killed} s after the plan, then {codes}: {one.rows()} contents, {one.calls()} calls")
    assert_labelled_once(one)
    keys = Counter(key for key in one.s3.keys("killed/tables/_staging/") if not key.endswith("/"))
    assert not keys, keys
