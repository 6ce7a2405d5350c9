"""The cause of a failed start, out of a vLLM server's log. Pure except for `tail`."""

import os
import re
from pathlib import Path

TAIL_BYTES = 64 << 10
CAUSE_CHARACTERS = 400

_PREFIX = re.compile(
    r"^(?:\([A-Za-z]\w*(?: pid=\d+)?\) ?)*(?:(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) [\d-]+ [\d:.]+ \[[^\]]*\] ?)?"
)
_RAISED = re.compile(r"^(?:[A-Za-z_]\w*\.)*([A-Za-z_]\w*(?:Error|Exception|Interrupt|Exit)): ?(.*)$")
_USAGE = re.compile(r"^\S+\.py: error: (.*)$")
# What the outer process logs when an inner one failed: true, but not the cause.
_ECHO = re.compile(r"root cause|initialization failed|Engine core|WorkerProc|EngineDeadError", re.IGNORECASE)
# What an ended process still holds is free soon, and a compile cache that another server is writing is complete soon.
_PASSING = re.compile(r'Free memory on device|File "[^"]*(?:/vllm_compile_cache|/ast)\.py"')
# What the next start meets again: no usable card or driver, a package that is missing.
_LASTING = re.compile(
    r"^(?:RuntimeError: )?(?:No CUDA GPUs are available|CUDA (?:error|driver)|NVML|Found no NVIDIA driver)"
    r"|no kernel image|^(?:ModuleNotFoundError|ImportError)"
)
_DETAIL = re.compile(r"^\s+(?:Value error, |Assertion failed, )?(.*?)(?: \[type=.*)?$")


def tail(path: Path) -> str:
    """The last part of a log; empty if there is no log."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def cause(log: str) -> str | None:
    """The server's own error message in one line; None if there is none."""
    lines = [_PREFIX.sub("", line) for line in log.splitlines()]
    messages = [message for number, line in enumerate(lines) if (message := _message(line, lines[number + 1 :]))]
    causes = [message for message in messages if not _ECHO.search(message)] or messages
    return _one_line(causes[-1]) if causes else None


def is_wrong_setting(log: str) -> bool:
    """Whether the server refused its arguments or its configuration, as it would at the next start too."""
    lines = [_PREFIX.sub("", line) for line in log.splitlines()]
    raised = (_RAISED.match(line) for line in lines)
    return any(map(_USAGE.match, lines)) or any(match[1] == "ValidationError" for match in raised if match)


def is_passing(log: str) -> bool:
    """Whether a start failed for a reason that ends by itself."""
    return _PASSING.search(log) is not None


def is_lasting(log: str) -> bool:
    """Whether a start failed for a reason that the next start would meet as well."""
    return is_wrong_setting(log) or _LASTING.search(cause(log) or "") is not None


def _message(line: str, following: list[str]) -> str | None:
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
    return text if len(text) <= CAUSE_CHARACTERS else text[: CAUSE_CHARACTERS - 1] + "…"
