"""Lines on standard error: as text, or each as a JSON object for a log collector."""

import copy
import io
import json
import logging
import sys
import threading
import time
from datetime import UTC, datetime
from typing import TextIO

from safeguard_spark import run_context

LOGGER = "safeguard"  # of what is no log record: messages for people and progress


class JsonLines(io.TextIOBase):
    """A standard error whose every line is a JSON object: `time`, `level`, `logger`, `run_id`, `chunk`, `message`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._open_line, self._lock = stream, "", threading.Lock()

    def write(self, text: str) -> int:
        """Write what other code prints: an object for each line that is complete."""
        with self._lock:
            *lines, self._open_line = (self._open_line + text).replace("\r", "\n").split("\n")
        for line in lines:
            self.write_object("INFO", LOGGER, line)
        return len(text)

    def write_object(self, level: str, logger: str, message: str) -> None:
        """Write one object, unless its message is empty."""
        if message.strip():
            work = run_context.current()
            now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            value = {"time": now, "level": level, "logger": logger, **work._asdict(), "message": message.rstrip()}
            self._stream.write(json.dumps(value, ensure_ascii=False) + "\n")
            self._stream.flush()

    def close(self) -> None:
        """Write what is left of a line. The stream itself stays open."""
        if not self.closed and self._open_line:
            self.write("\n")
        super().close()

    def isatty(self) -> bool:
        """A terminal would get bars and colors."""
        return False

    def writable(self) -> bool:
        """Yes."""
        return True


class StandardError(logging.Handler):
    """Writes to what `sys.stderr` is at the moment of the message: a progress bar replaces it while it is shown.

    Without `tracebacks`, which may quote content, a message is one line. Py4J logs one of each interrupt that it sees.
    """

    def __init__(self, *, tracebacks: bool) -> None:
        super().__init__()
        self._tracebacks = tracebacks
        form = logging.Formatter("%(asctime)sZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
        form.converter = time.gmtime  # UTC, as in the tables
        self.setFormatter(form)

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message."""
        if record.exc_info and not self._tracebacks:
            if isinstance(record.exc_info[1], KeyboardInterrupt):
                return  # `run_command` says it
            record = copy.copy(record)
            record.exc_info = record.exc_text = None
        if isinstance(sys.stderr, JsonLines):
            sys.stderr.write_object(record.levelname, record.name, logging.Formatter().format(record))
        else:
            print(self.format(record), file=sys.stderr, flush=True)
