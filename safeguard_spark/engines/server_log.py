"""What a vLLM server's log says about why it could not start. Pure but for `tail`."""

import os
import re
from pathlib import Path

TAIL_BYTES = 64 << 10
SAID_CHARACTERS = 400

_PREFIX = re.compile(
    r"^(?:\([A-Za-z]\w*(?: pid=\d+)?\) ?)*(?:(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) [\d-]+ [\d:.]+ \[[^\]]*\] ?)?"
)
_RAISED = re.compile(r"^(?:[A-Za-z_]\w*\.)*([A-Za-z_]\w*(?:Error|Exception|Interrupt|Exit)): ?(.*)$")
_USAGE = re.compile(r"^\S+\.py: error: (.*)$")
# What the outer process says when an inner one failed: true, and no help.
_ECHO = re.compile(r"root cause|initialization failed|Engine core|WorkerProc|EngineDeadError", re.IGNORECASE)
_DETAIL = re.compile(r"^\s+(?:Value error, |Assertion failed, )?(.*?)(?: \[type=.*)?$")


def tail(path: Path) -> str:
    """The last part of a log; empty if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def cause(log: str) -> str | None:
    """The engine's own message in one line; None if it left none."""
    lines = [_PREFIX.sub("", line) for line in log.splitlines()]
    found = [said for number, line in enumerate(lines) if (said := _said(line, lines[number + 1 :]))]
    plain = [said for said in found if not _ECHO.search(said)]
    chosen = plain or found
    return _one_line(chosen[-1]) if chosen else None


def _said(line: str, following: list[str]) -> str | None:
    if usage := _USAGE.match(line):
        return usage[1]
    raised = _RAISED.match(line)
    if raised is None:
        return None
    if raised[1] == "ValidationError":
        details = [match[1] for text in following[:6] if (match := _DETAIL.match(text)) and match[1]]
        return details[0] if details else raised[2]
    return f"{raised[1]}: {raised[2]}"


def _one_line(text: str) -> str:
    text = " ".join(text.split()).rstrip(".")
    return text if len(text) <= SAID_CHARACTERS else text[: SAID_CHARACTERS - 1] + "…"
