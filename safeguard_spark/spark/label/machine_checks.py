"""What an executor's machine has for the engine, as a function that runs there. It needs neither Delta nor MLflow."""

import time
from collections.abc import Callable, Iterable, Iterator

from safeguard_spark.config.engine import HttpConfig, VllmConfig
from safeguard_spark.engines.machine import Check, check, engine_checks
from safeguard_spark.spark.executors import DRIVER
from safeguard_spark.spark.label.devices import devices, executor_id

UNKNOWN = "?"  # the id of an executor whose JVM does not say it
TASK_S = 0.5  # so that the tasks are spread over all executors


def machine_checks(
    engine: HttpConfig | None, gpus: dict[str, tuple[str, ...]], release: str
) -> Callable[[Iterable[int]], Iterator[tuple[str, str, list[Check]]]]:
    """The function for the executors: the executor's id, its host and the checks there.

    `gpus` are by executor, `release` is the driver's release of this package.
    """

    def run(_rows: Iterable[int]) -> Iterator[tuple[str, str, list[Check]]]:
        import socket

        time.sleep(TASK_S)
        assigned = check("gpus", _assigned, engine, gpus)
        checks = [*engine_checks(engine, assigned.text.split(), release)] if assigned.is_ok else [assigned]
        id = executor_id() or (DRIVER if set(gpus) == {DRIVER} else UNKNOWN)
        yield id, socket.gethostname(), checks

    return run


def _assigned(engine: HttpConfig | None, gpus: dict[str, tuple[str, ...]]) -> str:
    return " ".join(devices(engine.num_gpus, gpus)) if isinstance(engine, VllmConfig) else ""
