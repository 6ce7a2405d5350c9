"""A run in progress: its inputs, what it has spent so far, and the heartbeat that other drivers see."""

import contextlib
import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import SparkSession

from safeguard_spark import schema
from safeguard_spark.config.model import RunConfig
from safeguard_spark.labelling.rows import LabelSpec
from safeguard_spark.redact import redacted
from safeguard_spark.relabel.budget import Budget
from safeguard_spark.spark.label.progress import Listener
from safeguard_spark.spark.source import Source
from safeguard_spark.spark.staging import Staging, this_process
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
    selection: Selection = Selection()
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    run_id: str = ""
    labels_version_in: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    called: int = 0  # rows the model was called for
    answered: int = 0
    has_committed: bool = False  # whether any chunk was committed
    server_ids: frozenset[str] = frozenset()
    tokens: Counter[str] = field(default_factory=Counter)
    over_budget: bool = False
    message: str | None = None  # why the run stopped early, if it did

    def __post_init__(self) -> None:
        self.run_id = self.run_id or f"{self.started_at:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
        self.labels_version_in = self.tables.version(schema.LABELS)

    @property
    def source_json(self) -> dict[str, Any]:
        """The source's name and version, as the label rows have them."""
        return {"name": self.source.name, "version": self.source.version}

    @property
    def manifest(self) -> dict[str, Any]:
        """What another driver needs to finish this run if its driver dies."""
        return {
            "driver": this_process(),
            "started_at": self.started_at.isoformat(),
            "source": self.source_json,
            "policies": [{"ref": spec.policy.ref, "hash": spec.policy.policy_hash} for spec in self.specs],
            "labelers": [spec.labeler.labeler_hash for spec in self.specs],
            "config_hash": self.config.config_hash,
            "config": json.dumps(redacted(self.config.model_dump(mode="json"))),
            "labels_version_in": self.labels_version_in,
            "plan_id": self.selection.plan_id,
        }

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
