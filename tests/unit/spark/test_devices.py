"""Which GPUs a task's server gets, and how many tasks Spark gives an executor."""

import pyarrow as pa
import pytest
from pyspark import TaskContext
from pyspark.resource import ResourceInformation

from safeguard_spark.errors import ConfigError, ExitCode
from safeguard_spark.spark.executors import _tasks_on
from safeguard_spark.spark.label.devices import server_devices
from safeguard_spark.spark.label.executor import Recipe, label_batches
from tests.build import label_spec, policy, run_config

pytestmark = pytest.mark.unit
HOSTS = {"0": ("a", "b", "c", "d"), "1": ("a", "b", "c", "d"), "2": ("e", "f", "g", "h")}


@pytest.mark.parametrize(
    ("assigned", "num_gpus", "executor", "expected"),
    [
        (["b"], 1, "0", ["b"]),
        (["a", "b"], 1, "0", ["a", "b"]),
        (["b"], 4, "0", ["a", "b", "c", "d"]),
        (["d"], 4, "1", ["a", "b", "c", "d"]),
        (["c"], 2, "0", ["c", "d"]),
        (["d"], 2, "0", ["c", "d"]),
        (["f"], 4, None, ["e", "f", "g", "h"]),  # the only executor with this address
        (["b"], 4, "9", ["a", "b", "c", "d"]),  # all executors with it have the same
    ],
)
def test_a_server_gets_the_gpus_that_its_model_needs_whatever_a_task_was_assigned(
    assigned: list[str], num_gpus: int, executor: str | None, expected: list[str]
) -> None:
    assert server_devices(assigned, num_gpus, HOSTS, executor) == expected


@pytest.mark.parametrize(("num_gpus", "executor"), [(8, "0"), (3, "3")])
def test_an_executor_with_too_few_gpus_is_the_operators_error(num_gpus: int, executor: str) -> None:
    with pytest.raises(ConfigError, match=f"over {num_gpus} GPUs, and this executor has"):
        server_devices(["d"], num_gpus, HOSTS, executor)


@pytest.mark.parametrize(
    ("gpus", "amount", "tasks"), [(1, 0.25, 4), (2, 0.5, 4), (2, 0.4, 4), (4, 1.0, 4), (4, 2.0, 2), (1, 0.1, 10)]
)
def test_tasks_share_gpus_as_spark_assigns_them(gpus: int, amount: float, tasks: int) -> None:
    assert _tasks_on(gpus, amount) == tasks


def test_on_an_executor_with_too_few_gpus_each_row_has_the_operators_error_and_no_task_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(TaskContext, "_taskContext", None)
    task = TaskContext()
    task._attemptNumber, task._resources = 0, {"gpu": ResourceInformation("gpu", ["0"])}
    config = run_config(engine={"kind": "vllm", "model": "m", "args": {"tensor_parallel_size": 2}})
    inputs = pa.RecordBatch.from_pydict({"work_key": ["k0", "k1"], "text": ["a table", ""]})
    batches = label_batches(Recipe(config, label_spec(policy()), "run", 4, attempts=4))(iter([inputs]))
    rows = [row for batch in batches for row in batch.to_pylist()]
    assert [(row["work_key"], row["engine_unavailable"]) for row in rows] == [("k0", True), ("k1", True)]
    assert "over 2 GPUs, and this executor has 1" in rows[0]["error"]
    assert rows[0]["exit_code"] == ExitCode.usage
