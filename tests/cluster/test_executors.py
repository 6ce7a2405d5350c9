"""The label job on two workers that share nothing but one folder; whatever one of them does, rows get their labels."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from safeguard_spark.spark.jars import LOG_STORES_JAR
from tests.cluster.job import ClusterJob
from tests.soak.conserved import read

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
Jobs = Callable[..., ClusterJob]
SPARKS_OWN = {"spark.sql.shuffle.partitions": None, "spark.databricks.delta.snapshotPartitions": None}


def test_a_staging_folder_of_each_machine_alone_is_refused_before_any_call(job: Jobs) -> None:
    alone = job(run={"staging": "/tmp/staging-of-each-machine"})
    alone.add(50)
    code, result = alone.run()
    assert code == 2 and "does not see what the driver writes there" in result["message"], alone.stderr_tail()
    assert not alone.started() and not read(alone, "labels")


@pytest.mark.slow
def test_a_staging_folder_that_executors_may_not_write_is_refused_before_any_call(job: Jobs) -> None:
    closed = job(conf={"spark.hadoop.fs.permissions.umask-mode": "022"})
    closed.add(50)
    code, result = closed.run()
    assert code == 2 and "cannot write there (Permission denied)" in result["message"], closed.stderr_tail()
    assert not closed.started()


def test_two_workers_label_a_table_with_one_server_each_and_a_second_run_finds_nothing_soon(job: Jobs) -> None:
    # A jar of the configuration, too: executors must have it beside those of packages.
    small = job(env={"DELAY_S": "0.2"}, conf={**SPARKS_OWN, "spark.jars": str(LOG_STORES_JAR)})
    small.add(400)
    code, result = small.run()
    assert (code, result.get("status")) == (0, "complete"), small.stderr_tail()
    labels = read(small, "labels")
    assert len(labels) == len({row["content_id"] for row in labels}) == 400
    starts = sorted(small.started(), key=lambda start: start["uid"])
    assert [(start["uid"], start["gpus"]) for start in starts] == [(20_001, ["GPU-a"]), (20_002, ["GPU-b"])]
    assert result["engine_starts"] == 2
    for start in starts:  # no home, and the environment of a pod next to a Service that is called `vllm`
        assert start["env"]["HOME"] == f"/tmp/engines/safeguard-{start['uid']}/home"
        assert start["env"]["PATH"].split(":")[0] == str(Path(sys.executable).parent)
        assert not {"VLLM_PORT", "VLLM_SERVER_DEV_MODE"} & start["env"].keys()
    code, again = small.run()
    print(f"A run that finds nothing: {again['seconds']}")
    assert (code, again["calls"], again["written"]) == (0, 0, 0)
    assert again["seconds"]["total"] < 60
    assert len(small.started()) == 2


@pytest.mark.slow
def test_a_dead_gpu_wastes_one_start_and_the_other_worker_labels_everything(job: Jobs) -> None:
    large = job(env={"DEAD_GPUS": "GPU-a"}, chunk_rows=7000)
    large.add(20_000)
    code, result = large.run()
    assert (code, result.get("status")) == (0, "complete"), large.stderr_tail()
    labels = read(large, "labels")
    assert len(labels) == len({row["content_id"] for row in labels}) == 20_000
    starts = [start["gpus"] for start in large.started()]
    assert starts.count(["GPU-a"]) == 1 and starts.count(["GPU-b"]) >= 1, starts
    assert "The engine of executor" in result["message"] and "No CUDA GPUs are available" in result["message"]


@pytest.mark.slow
def test_if_no_engine_starts_the_run_ends_with_5_and_names_the_cause(job: Jobs) -> None:
    dead = job(env={"DEAD_GPUS": "GPU-a,GPU-b"})
    dead.add(300)
    code, result = dead.run()
    assert code == 5 and "No CUDA GPUs are available" in result["message"], dead.stderr_tail()
    assert len(dead.started()) == 2 and not read(dead, "labels")
