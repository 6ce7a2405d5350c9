"""A run in progress: its inputs, what it has spent so far, and the heartbeat that other drivers see."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pyspark.sql import SparkSession

from safeguard_spark.config.model import RunConfig
from safeguard_spark.labelling.rows import LabelSpec
from safeguard_spark.relabel.budget import Budget
from safeguard_spark.spark.label.progress import Listener
from safeguard_spark.spark.source import Source
from safeguard_spark.spark.staging import Manifest, Staging
from safeguard_spark.spark.tables import Tables


@dataclass(frozen=True)
class Selection:
    """The part of the source that a run labels, by default all of it, and how much it may spend."""

    source: Source | None = None
    budget: Budget = Budget()  # noqa: RUF009  frozen
    plan_id: str | None = None


@dataclass
class Run:
    """One execution of the label job."""

    spark: SparkSession
    config: RunConfig
    tables: Tables
    staging: Staging
    source: Source
    specs: Sequence[LabelSpec]
    listener: Listener
    selection: Selection
    manifest: Manifest
    run_id: str
    seconds: dict[str, float] = field(default_factory=dict)
    called: int = 0  # rows the model was called for
    answered: int = 0
    has_committed: bool = False  # whether any chunk was committed
    server_ids: frozenset[str] = frozenset()
    tokens: Counter[str] = field(default_factory=Counter)
    over_budget: bool = False
    message: str | None = None  # why the run stopped early, if it did

    @contextlib.contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the wall-clock seconds of a phase to `seconds`."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[phase] = self.seconds.get(phase, 0.0) + time.monotonic() - start

    @contextlib.contextmanager
    def heartbeat(self) -> Iterator[None]:
        """Renew the run's heartbeat until the block ends."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(self.config.run.heartbeat_s):
                with contextlib.suppress(Exception):  # the next beat may succeed; only DEAD_BEATS lost ones mean dead
                    self.staging.touch(self.run_id, "alive")

        self.staging.touch(self.run_id, "alive")
        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(timeout=5)
