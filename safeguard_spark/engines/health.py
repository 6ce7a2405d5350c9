"""How a server on a Unix socket is: whether it answers, and how much work it has done."""

import re
import socket
import time
from enum import Enum, auto
from pathlib import Path
from typing import NamedTuple

PROBE_S = 5.0
PATIENCE_S = 30.0  # a busy server may leave a probe or two unanswered
REPLY_BYTES = 4 << 20
# Tokens read and written since the server began; they stand still only if the engine does.
_TOKENS = re.compile(rb"^vllm:(?:generation|prompt)_tokens_total(?:\{[^}]*\})? ([0-9.e+]+)", re.MULTILINE)
_OPEN = re.compile(rb"^vllm:num_requests_(?:running|waiting)(?:\{[^}]*\})? ([0-9.e+]+)", re.MULTILINE)


class Health(Enum):
    """What a server says of itself."""

    well = auto()
    ill = auto()
    silent = auto()  # it is there and does not answer
    absent = auto()


def health(path: Path) -> Health:
    """What `GET /health` says."""
    try:
        status, _ = get(path, "/health")
    except TimeoutError:
        return Health.silent
    except (OSError, ValueError):
        return Health.absent
    return Health.well if status == 200 else Health.ill


def is_well(path: Path, patience_s: float = PATIENCE_S) -> bool:
    """Whether a server is well; a silent one is asked again for a while."""
    ends = time.monotonic() + patience_s
    while True:
        said = health(path)
        if said is not Health.silent or time.monotonic() > ends:
            return said is Health.well
        time.sleep(0.5)


class Load(NamedTuple):
    """A server's work: tokens read and written so far, and requests open now, whoever asked. None if not said."""

    tokens: float | None = None
    requests: int | None = None


def load(path: Path) -> Load:
    """What `GET /metrics` says of a server's work."""
    try:
        status, reply = get(path, "/metrics")
    except (OSError, ValueError):
        return Load()
    if status != 200:
        return Load()
    tokens, requests = ([float(found) for found in counts.findall(reply)] for counts in (_TOKENS, _OPEN))
    return Load(sum(tokens) if tokens else None, int(sum(requests)) if requests else None)


def get(path: Path, route: str) -> tuple[int, bytes]:
    """Status and whole reply of a GET. Raises OSError, TimeoutError of them if it does not answer, or ValueError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(PROBE_S)
        line.connect(str(path))
        line.sendall(f"GET {route} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        reply = bytearray()
        while len(reply) < REPLY_BYTES and (part := line.recv(1 << 16)):
            reply += part
    words = bytes(reply[:64]).split(maxsplit=2)
    if len(words) < 2:
        raise ValueError("no HTTP reply")
    return int(words[1]), bytes(reply)
