"""What a run came to, as a value; its exit code derives from it."""

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict


class Status(StrEnum):
    """How a run ended. `failed` and `died` appear only in the runs table."""

    planned = "planned"  # a dry run
    complete = "complete"
    partial = "partial"
    failed = "failed"
    died = "died"


class RunResult(BaseModel):
    """What was asked, what was pending, what was written. `seconds` are wall seconds by phase."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    status: Status
    rows: int
    pending: int
    calls: int
    written: int
    outcomes: dict[str, int]
    engine_starts: int
    tokens: dict[str, int]
    seconds: dict[str, float]
    tables: dict[str, str]
    message: str | None = None
    mlflow_run_id: str | None = None
    by_policy: dict[str, dict[str, int]] = {}  # outcomes and `violations` per name@version
    shadow: dict[str, Any] | None = None  # what the run of the shadow versions came to, in the same words

    @property
    def exit_code(self) -> int:
        """0 complete or planned; 6 if the same command has work left; 1 for a run that did not end well."""
        return {Status.planned: 0, Status.complete: 0, Status.partial: 6}.get(self.status, 1)

    def to_json(self) -> dict[str, Any]:
        """The object `--json` prints."""
        return self.model_dump(mode="json")
