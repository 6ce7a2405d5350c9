"""The command line as a user runs it: what a command did, and the type of the fixture that runs one."""

from collections.abc import Callable
from typing import NamedTuple


class Ran(NamedTuple):
    """What a command did: its exit code, standard output, standard error."""

    code: int
    out: str
    err: str


Safeguard = Callable[..., Ran]
