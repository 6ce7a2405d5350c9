"""The label job with source, tables and staging on S3."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.s3 import S3, S3Job, reason_to_skip, running
from tests.soak.conserved import assert_labelled_once

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
