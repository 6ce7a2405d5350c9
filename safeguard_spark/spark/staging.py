"""Staging: what a run has planned and the model's results, until they are committed.

<staging>/<run id>/manifest.json      what the run is; written before anything else
                   alive              touched as long as the driver runs
                   <policy number>/plan.json     written when the plan is complete
                                   pending/bucket=<n>/    content ids and contents to label, by chunk
                                   reused/bucket=<n>/     verdicts that other ids of the same content have
                                   cleared/bucket=<n>/    work keys of the contents that a screen cleared, or nearly did
                                   results/<n>/           the model's results (with _COMPLETE when complete)
"""

import contextlib
import json
import os
import secrets
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pyspark.sql import SparkSession

from safeguard_spark.config.model import RunConfig
from safeguard_spark.engines.processes import ProcessId, machine_id
from safeguard_spark.errors import TableError
from safeguard_spark.policy.document import Policy
from safeguard_spark.redact import redacted
from safeguard_spark.spark.files import Files

FORMAT = 5  # of the JSON files and of the results' columns; a change of either is a new number
# Formats that this release can commit. The results of 1 lack `engine_forms` and `exit_code`, those of 1 and 2 have no
# second looks, the sources of 1 to 3 have no `collection`; those of 1 to 4 no `selection`, and the plans no screen.
READABLE_FORMATS = (1, 2, 3, 4, 5)
DEAD_BEATS = 30  # heartbeats a driver may miss before it counts as dead


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")  # an unknown field may change what is committed


class StagedFile(_Frozen):
    """A JSON file in a run's folder that a driver leaves for the driver of another run."""

    file_name: ClassVar[str]
    format: int = FORMAT


class SourceVersion(_Frozen):
    """The source's name, version and collection, as the label rows have them. The collection may be its name.

    `selection` is the hash of how all of it is read, None for a part of it; `read_at` its version, or when its files
    were listed.
    """

    name: str
    version: int | None
    collection: str | None = None
    selection: str | None = None
    read_at: int | None = None


class PolicyVersion(_Frozen):
    """A policy's reference (`name@version`) and hash."""

    ref: str
    hash: str


class Driver(_Frozen):
    """A driver's process. `started` is its start time, because its pid may be used again."""

    machine: str
    pid: int
    started: str

    @classmethod
    def this_process(cls) -> "Driver":
        """This process, so that another driver on the same machine can see whether it still runs."""
        pid, started = ProcessId.of(os.getpid())
        return cls(machine=machine_id(), pid=pid, started=started)


class Manifest(StagedFile):
    """What a run is: what another driver needs to finish it if its driver dies."""

    file_name: ClassVar[str] = "manifest.json"

    driver: Driver = Field(default_factory=Driver.this_process)
    started_at: datetime
    source: SourceVersion
    policies: tuple[PolicyVersion, ...]
    labelers: tuple[str, ...]  # hashes
    config_hash: str
    config: str  # JSON without secrets
    labels_version_in: int
    plan_id: str | None = None
    failed: bool = False  # the run is over, though its process may go on, for example in a notebook

    @classmethod
    def of(
        cls,
        config: RunConfig,
        source: SourceVersion,
        policies: Sequence[Policy],
        labeler_hashes: Sequence[str],
        *,
        started_at: datetime,
        labels_version: int,
        plan_id: str | None = None,
    ) -> "Manifest":
        """The manifest of a run of this process."""
        return cls(
            started_at=started_at,
            source=source,
            policies=tuple(PolicyVersion(ref=policy.ref, hash=policy.policy_hash) for policy in policies),
            labelers=tuple(labeler_hashes),
            config_hash=config.config_hash,
            config=json.dumps(redacted(config.model_dump(mode="json"))),
            labels_version_in=labels_version,
            plan_id=plan_id,
        )


F = TypeVar("F", bound=StagedFile)


class Staging(Files):
    """The staging folder of one output, on any file system Spark knows."""

    def __init__(self, spark: SparkSession, root: str) -> None:
        super().__init__(spark, root)
        self._heartbeats = dict[str, tuple[threading.Event, threading.Thread]]()

    @contextlib.contextmanager
    def heartbeat(self, run_id: str, every_s: float) -> Iterator[None]:
        """Renew a run's heartbeat until the block ends, or `clear` deletes the run's folder."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(every_s):
                with contextlib.suppress(Exception):  # the next beat may succeed; only DEAD_BEATS lost ones mean dead
                    self.touch(run_id, "alive")

        self.touch(run_id, "alive")
        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        self._heartbeats[run_id] = ended, thread
        try:
            yield
        finally:
            self._end_heartbeat(run_id)

    def _end_heartbeat(self, run_id: str) -> None:
        if beating := self._heartbeats.pop(run_id, None):
            ended, thread = beating
            ended.set()
            thread.join(timeout=5)

    def write(self, value: StagedFile, *folder: str | int) -> None:
        """Write a file so that a reader sees all of it or nothing."""
        self.write_text(value.model_dump_json(), *folder, value.file_name)

    def read(self, model: type[F], run_id: str, *folder: str | int) -> F | None:
        """A file that `write` wrote, or None if there is none. Raises TableError unless all of it is understood."""
        text = self.read_text(run_id, *folder, model.file_name)
        return None if text is None else parse_staged(model, text, run_id, self.path(run_id))

    def clear(self, run_id: str) -> None:
        """Delete a run's folder, its manifest last: the next run then completes an interrupted deletion."""
        self._end_heartbeat(run_id)  # a beat would create the folder anew
        for name in self.names(run_id):
            if name != Manifest.file_name:
                self.delete(run_id, name)
        self.delete(run_id, Manifest.file_name)
        self.delete(run_id)

    def clear_abandoned(self, run_id: str, heartbeat_s: float) -> None:
        """Delete a folder without a manifest if its last write is so old that its driver counts as dead."""
        if not self.names(run_id):
            self.delete_empty(run_id)
            return
        newest = self.newest_file(run_id)  # of files: an object store gives a folder the time now
        if self.now(run_id) - newest > DEAD_BEATS * heartbeat_s:
            self.delete(run_id)

    def now(self, run_id: str) -> float:
        """The time on the file system's own clock, in seconds."""
        probe = f"{run_id}/probe-{secrets.token_hex(4)}"  # of this call alone: another driver may look at the run, too
        self.touch(probe)
        now = self.modified(probe)
        self.delete(probe)
        return now or 0.0


def parse_staged(model: type[F], text: str, run_id: str, folder: str) -> F:
    """A staged file from its text. Raises TableError for one of another release, and for one that is damaged."""
    instead = f"or delete {folder}: its contents are then labelled again."
    try:
        value = json.loads(text)
        staged_format = value.get("format", "none")
        if staged_format in READABLE_FORMATS:
            return model.model_validate(value)
    except (ValueError, AttributeError) as error:
        raise TableError(f"{model.file_name} of the staged run {run_id} is damaged. Restore it, {instead}") from error
    readable = ", ".join(map(str, READABLE_FORMATS))
    raise TableError(
        f"Another release staged run {run_id} (format {staged_format}; this release reads {readable}). "
        f"Issue the command once more with that release to commit it, {instead}"
    )


def is_alive(staging: Staging, run_id: str, manifest: Manifest, heartbeat_s: float) -> bool:
    """Whether the driver of a staged run still works on it.

    A driver on this machine is checked by its process, any other by its heartbeat. Neither depends on the wall clock: a
    process's start time is in ticks of the kernel, and a heartbeat is compared with a file written now.
    """
    if manifest.failed:
        return False
    if manifest.driver.machine == machine_id():
        return ProcessId(manifest.driver.pid, manifest.driver.started).is_alive()
    last = staging.modified(run_id, "alive")
    return last is not None and staging.now(run_id) - last < DEAD_BEATS * heartbeat_s
