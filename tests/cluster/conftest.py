"""A cluster for all tests of a file, and label jobs on it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster.job import ClusterJob
from tests.cluster.standalone import Cluster, reason_to_skip, running

GPUS = [("GPU-a",), ("GPU-b",)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Two workers with a GPU each, or with those of the module's `GPUS`."""
    if reason := reason_to_skip():
        pytest.skip(reason)
    with running(tmp_path_factory.mktemp("cluster"), getattr(request.module, "GPUS", GPUS)) as cluster:
        yield cluster


@pytest.fixture
def job(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Callable[..., ClusterJob]]:
    """Makes a label job on the cluster, with the stand-in as its engine."""
    jobs: list[ClusterJob] = []

    def make(**settings: Any) -> ClusterJob:
        jobs.append(ClusterJob(cluster, f"{request.node.name[:40]}-{len(jobs)}", **settings))
        return jobs[-1]

    yield make
    for made in jobs:
        made.end()
