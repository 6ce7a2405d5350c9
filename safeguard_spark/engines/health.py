"""The health of a server on a Unix socket: whether it answers, and how much work it has done."""

import re
import socket
import time
from enum import Enum, auto
from pathlib import Path
from typing import NamedTuple

from safeguard_spark.engines.timings import DEFAULT_TIMINGS, Timings

REPLY_BYTES = 4 << 20
# Tokens read and written since the server started; they stand still only if the engine does.
_TOKENS = re.compile(rb"^vllm:(?:generation|prompt)_tokens_total(?:\{[^}]*\})? ([0-9.e+]+)", re.MULTILINE)
_OPEN = re.compile(rb"^vllm:num_requests_(?:running|waiting)(?:\{[^}]*\})? ([0-9.e+]+)", re.MULTILINE)


class Health(Enum):
    """The result of a health request."""

    healthy = auto()
    unhealthy = auto()
    timeout = auto()  # it accepts a connection and does not reply
    unreachable = auto()


def check_health(path: Path, timeout_s: float = DEFAULT_TIMINGS.probe_s) -> Health:
    """Ask `GET /health` of the server on the socket `path`."""
    try:
        status, _ = get(path, "/health", timeout_s)
    except TimeoutError:
        return Health.timeout
    except (OSError, ValueError):
        return Health.unreachable
    return Health.healthy if status == 200 else Health.unhealthy


def is_healthy(path: Path, timings: Timings = DEFAULT_TIMINGS) -> bool:
    """Whether a server is healthy; one that does not reply is asked again for `healthy_s`."""
    deadline = time.monotonic() + timings.healthy_s
    while True:
        health = check_health(path, timings.probe_s)
        if health is not Health.timeout or time.monotonic() > deadline:
            return health is Health.healthy
        time.sleep(timings.start_poll_s)


class Load(NamedTuple):
    """A server's work: tokens read and written so far, and requests open now from all clients. None if not reported."""

    tokens: float | None = None
    requests: int | None = None


def read_load(path: Path, timeout_s: float = DEFAULT_TIMINGS.probe_s) -> Load:
    """The work that `GET /metrics` reports; an empty `Load` if there is no reply."""
    try:
        status, reply = get(path, "/metrics", timeout_s)
    except (OSError, ValueError):
        return Load()
    if status != 200:
        return Load()
    tokens, requests = ([float(count) for count in pattern.findall(reply)] for pattern in (_TOKENS, _OPEN))
    return Load(sum(tokens) if tokens else None, int(sum(requests)) if requests else None)


def get(path: Path, route: str, timeout_s: float) -> tuple[int, bytes]:
    """Status and whole reply of a GET. Raises OSError (TimeoutError if there is no reply), or ValueError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        connection.connect(str(path))
        connection.sendall(f"GET {route} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        reply = bytearray()
        while len(reply) < REPLY_BYTES and (part := connection.recv(1 << 16)):
            reply += part
    words = bytes(reply[:64]).split(maxsplit=2)
    if len(words) < 2:
        raise ValueError("no HTTP reply")
    return int(words[1]), bytes(reply)
