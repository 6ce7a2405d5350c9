"""The result of a run, as a value; its exit code derives from it."""

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from safeguard_spark.errors import ExitCode

AGAIN = "issue the same command again"  # the remedy of every partial result: who prints one says it, no message does


class Status(StrEnum):
    """How a run ended. `failed` and `died` appear only in the runs table."""

    planned = "planned"  # a dry run
    complete = "complete"
    partial = "partial"
    failed = "failed"
    died = "died"

    @property
    def exit_code(self) -> ExitCode:
        """Complete for a dry run too; partial if the same command has work left; unexpected if the run failed."""
        if self in (Status.planned, Status.complete):
            return ExitCode.complete
        return ExitCode.partial if self is Status.partial else ExitCode.unexpected


class RunResult(BaseModel):
    """Rows in scope, rows pending, rows written. `seconds` are wall seconds by phase."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    status: Status
    rows: int
    pending: int
    calls: int
    written: int
    outcomes: dict[str, int]
    judged: int = 0  # of the rows written, those with a verdict
    engine_starts: int = 0
    tokens: dict[str, int]
    seconds: dict[str, float] = {}
    tables: dict[str, str] = {}
    message: str | None = None
    candidates: str = ""  # which rows of the source were read, and why
    mlflow_run_id: str | None = None
    screen_id: str | None = None
    spared: int = 0  # calls that the screen spared
    screen_recall_low: float | None = None  # of the screen, by the audits of all its runs
    by_policy: dict[str, dict[str, int]] = {}  # outcomes and `violations` per name@version
    shadow: "RunResult | None" = None  # the result of the run of the shadow versions

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of its status."""
        return self.status.exit_code

    def to_json(self) -> dict[str, Any]:
        """The object `--json` prints."""
        return self.model_dump(mode="json")
