"""What this process works on: the run and the chunk, for lines of its log, and whether it ends with one command."""

import contextlib
import threading
from collections.abc import Iterator
from typing import NamedTuple


class Work(NamedTuple):
    """A run and one of its chunks."""

    run_id: str | None = None
    chunk: int | None = None


ends_with_command = False  # this process is one command of `safeguard`: nothing else uses its Spark session
_run_id: str | None = None  # of the process: threads that report progress belong to no chunk
_thread = threading.local()


def current() -> Work:
    """The process's run, and the chunk that this thread works on."""
    return Work(_run_id, getattr(_thread, "chunk", None))


@contextlib.contextmanager
def working_on_run(run_id: str) -> Iterator[None]:
    """Lines that this process logs within the block are about a run."""
    global _run_id
    before, _run_id = _run_id, run_id
    try:
        yield
    finally:
        _run_id = before


@contextlib.contextmanager
def working_on_chunk(chunk: int) -> Iterator[None]:
    """Lines that this thread logs within the block are about a chunk."""
    _thread.chunk = chunk
    try:
        yield
    finally:
        _thread.chunk = None
