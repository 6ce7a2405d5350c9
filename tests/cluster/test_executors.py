"""The label job on two workers that share nothing but one folder; whatever one of them does, rows get their labels."""

from collections.abc import Callable

import pytest

from tests.cluster.job import ClusterJob
from tests.soak.conserved import read

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
Jobs = Callable[..., ClusterJob]


def test_two_workers_label_a_table_with_one_server_each(job: Jobs) -> None:
    small = job(env={"DELAY_S": "0.2"})
    small.add(400)
    code, result = small.run()
    assert (code, result.get("status")) == (0, "complete"), small.stderr_tail()
    labels = read(small, "labels")
    assert len(labels) == len({row["content_id"] for row in labels}) == 400
    assert sorted(start["gpus"] for start in small.started()) == [["GPU-a"], ["GPU-b"]]
    assert result["engine_starts"] == 2


def test_a_dead_gpu_wastes_one_start_and_the_other_worker_labels_everything(job: Jobs) -> None:
    large = job(env={"DEAD_GPUS": "GPU-a"}, chunk_rows=7000)
    large.add(20_000)
    code, result = large.run()
    assert (code, result.get("status")) == (0, "complete"), large.stderr_tail()
    labels = read(large, "labels")
    assert len(labels) == len({row["content_id"] for row in labels}) == 20_000
    assert sorted(start["gpus"] for start in large.started()) == [["GPU-a"], ["GPU-b"]]
    assert "The engine of executor" in result["message"] and "No CUDA GPUs are available" in result["message"]


def test_if_no_engine_starts_the_run_ends_with_5_and_names_the_cause(job: Jobs) -> None:
    dead = job(env={"DEAD_GPUS": "GPU-a,GPU-b"})
    dead.add(300)
    code, result = dead.run()
    assert code == 5 and "No CUDA GPUs are available" in result["message"], dead.stderr_tail()
    assert len(dead.started()) == 2 and not read(dead, "labels")
