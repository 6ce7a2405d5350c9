"""The command line as a user runs it: the result of a command, and the type of the fixture that runs one."""

from collections.abc import Callable
from typing import NamedTuple


class CommandResult(NamedTuple):
    """The result of a command: its exit code, standard output, standard error."""

    code: int
    out: str
    err: str


Safeguard = Callable[..., CommandResult]
