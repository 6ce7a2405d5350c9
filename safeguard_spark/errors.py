"""What can stop a run, separated by who must act.

    SafeguardError            1  unexpected
    ├── ConfigError           2  operator: command line or configuration
    ├── PolicyError           3  policy author: a policy cannot be read, found or trusted
    ├── SourceError           4  operator: the content table cannot be read as asked
    ├── TableError            4  operator: the label tables cannot be read or written
    ├── EngineError           5  operator: the engine cannot be reached or started
    └── GateError             7  policy author: a promotion gate said no

A problem of one row is never an exception: it is an outcome (`verdict.Outcome`). Exit code 6 (partial, issue
the same command again) is not an exception either: it is a result.
"""

from typing import ClassVar


class SafeguardError(Exception):
    """One sentence on what is wrong and what to do; survives pickling because it holds only that sentence."""

    exit_code: ClassVar[int] = 1


class ConfigError(SafeguardError):
    """The command line or the configuration asks for something that cannot be."""

    exit_code = 2


class PolicyError(SafeguardError):
    """A policy cannot be read, found, or is not what was published."""

    exit_code = 3


class SourceError(SafeguardError):
    """The content table cannot be read as asked."""

    exit_code = 4


class TableError(SafeguardError):
    """The label tables cannot be read or written."""

    exit_code = 4


class EngineError(SafeguardError):
    """The engine cannot be reached or started."""

    exit_code = 5


class GateError(SafeguardError):
    """A promotion gate refused."""

    exit_code = 7
