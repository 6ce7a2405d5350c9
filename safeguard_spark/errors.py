"""What can stop a run, separated by who must act, and the exit code of each.

A problem of one row is never an exception: it is an outcome (`verdict.Outcome`). Exit code 6 (partial, issue
the same command again) is not an exception either: it is a result.
"""

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """The exit code of every command. Schedulers read it: a code never changes its meaning.

    The docstring of a member is what it means for the person who must act.
    """

    def __new__(cls, code: int, meaning: str) -> "ExitCode":
        """A member whose value is `code` and whose docstring is `meaning`."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.__doc__ = meaning
        return member

    complete = 0, "Complete, or a dry run: nothing is left to do."
    unexpected = 1, "Unexpected error: run the command again with --debug for the traceback."
    usage = 2, "The operator must correct the command line or the configuration."
    policy = 3, "The policy author must act: a policy cannot be read, is missing, or differs from what was published."
    table = 4, "The operator must act: the source cannot be read, or the label tables cannot be read or written."
    engine = 5, "The operator must act: the engine or MLflow cannot be reached or started; retry when it is back."
    partial = 6, "Partial: issue the same command again to finish."
    gate = 7, "The policy author must act: a case failed, or a gate is not met."


class SafeguardError(Exception):
    """One sentence on what is wrong and what to do; survives pickling because it holds only that sentence."""

    exit_code: ClassVar[ExitCode] = ExitCode.unexpected

    def __init_subclass__(cls, exit_code: ExitCode | None = None) -> None:
        cls.exit_code = exit_code or cls.exit_code


class ConfigError(SafeguardError, exit_code=ExitCode.usage):
    """The command line or the configuration is wrong."""


class PolicyError(SafeguardError, exit_code=ExitCode.policy):
    """A policy cannot be read, is missing, or differs from what was published."""


class SourceError(SafeguardError, exit_code=ExitCode.table):
    """The content table cannot be read as configured."""


class TableError(SafeguardError, exit_code=ExitCode.table):
    """The label tables cannot be read or written."""


class EngineError(SafeguardError, exit_code=ExitCode.engine):
    """The engine cannot be reached or started."""


class TrackingError(SafeguardError, exit_code=ExitCode.engine):
    """MLflow cannot be reached now: an outage, after which the same command succeeds."""


class GateError(SafeguardError, exit_code=ExitCode.gate):
    """A promotion gate is not met."""
