"""A model over two GPUs, on executors with two GPUs each; only the label stage asks for GPUs."""

from collections.abc import Callable

import pytest

from tests.cluster.job import ClusterJob
from tests.soak.conserved import read

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(300)]
GPUS = [("GPU-a", "GPU-b"), ("GPU-c", "GPU-d")]


def test_an_executor_has_one_server_over_all_its_gpus(job: Callable[..., ClusterJob]) -> None:
    conf = {"spark.executor.resource.gpu.amount": "2", "spark.task.resource.gpu.amount": None}
    large = job(env={"DELAY_S": "0.2"}, engine={"args": {"tensor_parallel_size": 2}}, conf=conf)
    large.add(400)
    code, result = large.run()
    assert (code, result.get("status")) == (0, "complete"), large.stderr_tail()
    assert sorted(start["gpus"] for start in large.started()) == [["GPU-a", "GPU-b"], ["GPU-c", "GPU-d"]]
    assert len(read(large, "labels")) == 400
