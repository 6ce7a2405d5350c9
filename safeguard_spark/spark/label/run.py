"""A run under way: what it was asked, what it has spent so far, and the sign of life others see."""

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
from safeguard_spark.spark.staging import Staging, here
from safeguard_spark.spark.tables import Tables


@dataclass(frozen=True)
class Selection:
    """What of the source a run is about, by default all of it, and how much it may spend."""

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
    jobs: Sequence[LabelSpec]
    listener: Listener
    selection: Selection = Selection()
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    run_id: str = ""
    labels_version_in: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    asked: int = 0
    answered: int = 0
    committed: bool = False  # whether any chunk was
    engines: frozenset[str] = frozenset()
    tokens: Counter[str] = field(default_factory=Counter)
    over_budget: bool = False
    message: str | None = None  # why work is left, if the run had to stop early

    def __post_init__(self) -> None:
        self.run_id = self.run_id or f"{self.began:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
        self.labels_version_in = self.tables.version(schema.LABELS)

    @property
    def source_json(self) -> dict[str, Any]:
        """The source as label rows name it."""
        return {"name": self.source.name, "version": self.source.version}

    @property
    def manifest(self) -> dict[str, Any]:
        """What the run is, for whoever has to end it."""
        return {
            "driver": here(),
            "started_at": self.began.isoformat(),
            "source": self.source_json,
            "policies": [{"ref": job.policy.ref, "hash": job.policy.policy_hash} for job in self.jobs],
            "labelers": [job.labeler.labeler_hash for job in self.jobs],
            "config_hash": self.config.config_hash,
            "config": json.dumps(redacted(self.config.model_dump(mode="json"))),
            "labels_version_in": self.labels_version_in,
            "plan_id": self.selection.plan_id,
        }

    @contextlib.contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the wall seconds of a phase."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[phase] = self.seconds.get(phase, 0.0) + time.monotonic() - began

    @contextlib.contextmanager
    def alive(self) -> Iterator[None]:
        """Renew the run's heartbeat until the driver leaves."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(self.config.run.heartbeat_s):
                with contextlib.suppress(Exception):  # the next beat may succeed; 30 lost ones mean dead
                    self.staging.touch(self.run_id, "alive")

        self.staging.touch(self.run_id, "alive")
        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(timeout=5)
