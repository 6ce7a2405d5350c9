"""The GPUs of a task's server: those that Spark assigned to the task, or all that the model needs of its executor's."""

import contextlib
import os
from collections.abc import Mapping

import psutil

from safeguard_spark.errors import ConfigError


def devices(num_gpus: int, by_executor: Mapping[str, tuple[str, ...]]) -> list[str]:
    """GPU addresses for the server of the task this runs in; none outside a task or without GPUs.

    `num_gpus` is how many the model is spread over, `by_executor` the addresses that each executor has. Raises
    ConfigError if the executor has too few.
    """
    from pyspark import TaskContext

    context = TaskContext.get()
    gpu = context.resources().get("gpu") if context else None
    return server_devices(list(gpu.addresses), num_gpus, by_executor, executor_id()) if gpu else []


def server_devices(
    assigned: list[str], num_gpus: int, by_executor: Mapping[str, tuple[str, ...]], executor: str | None
) -> list[str]:
    """The addresses that the server gets, whatever share of them Spark assigned to one task. Raises ConfigError."""
    if len(assigned) >= num_gpus:
        return assigned
    known = by_executor.get(executor) if executor else None
    # Executors are alike, so an executor whose id is not known here most likely has what others with its GPU have.
    alike = {addresses for addresses in by_executor.values() if {*assigned} <= {*addresses}}
    present = known or (alike.pop() if len(alike) == 1 else tuple(assigned))
    groups = [list(present[start : start + num_gpus]) for start in range(0, len(present), num_gpus)]
    group = next((group for group in groups if assigned[0] in group), [])
    if len(group) < num_gpus:
        raise ConfigError(
            f"engine.args spread the model over {num_gpus} GPUs, and this executor has {len(present)}. Start Spark "
            f"with spark.executor.resource.gpu.amount={num_gpus}."
        )
    return group


def executor_id() -> str | None:
    """The id of the executor this runs in, from the command line of its JVM; None if that is not known."""
    with contextlib.suppress(psutil.Error, ValueError, IndexError):
        daemon = psutil.Process(os.getppid())
        words = psutil.Process(daemon.ppid()).cmdline()
        return words[words.index("--executor-id") + 1]
    return None
