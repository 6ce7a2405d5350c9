"""What can go wrong with one request to a server, sorted by what to do about it. Pure except for the clock."""

import random
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import NamedTuple

import orjson

from safeguard_spark.engines.timings import DEFAULT_TIMINGS, Timings

# How servers say that a prompt does not fit their context: OpenAI by its code, llama.cpp by its type and `n_ctx`, vLLM
# only by the start of its message (renderers/params.py, v1/engine/input_processor.py). What follows may quote content,
# so it is not read.
CONTEXT_CODES = ("context_length_exceeded", "exceed_context_size_error")
CONTEXT_MESSAGE = re.compile(
    r"This model's maximum context length is (?P<with_answer>\d{1,9}) tokens"
    r"|The \w+ prompt \(length \d+\)[a-z0-9() ]{0,80} is longer than the maximum model length of (?P<alone>\d{1,9})"
)


class FailureKind(Enum):
    """What to do about a failed attempt."""

    unreachable = auto()  # no connection: retry until the deadline, it cost the model nothing
    busy = auto()  # the server asks us to retry later: likewise
    transient = auto()  # the attempt failed: retry up to `engine.retries` times
    bad_request = auto()  # the server will never accept this request
    too_long = auto()  # nor this one: its prompt is longer than the model's context
    unauthorized = auto()  # the server accepts no request of ours
    untrusted = auto()  # nor do we send it one: its certificate cannot be verified
    not_found = auto()  # nothing is served at this path or by this model name
    timeout = auto()  # the deadline passed

    @property
    def is_retryable(self) -> bool:
        """Whether the same request may succeed later. Until then the server may be dead."""
        return self in (FailureKind.unreachable, FailureKind.busy, FailureKind.transient)

    @property
    def counts_as_attempt(self) -> bool:
        """Whether it may have cost the model something, and so counts towards `engine.retries`."""
        return self not in (FailureKind.unreachable, FailureKind.busy)

    @property
    def blames_request(self) -> bool:
        """Whether the fault is in this one request, and says nothing about the server."""
        return self in (FailureKind.bad_request, FailureKind.too_long)


class RequestFailure(NamedTuple):
    """Why an attempt gave no completion. `cause` is short and never quotes the server, which may quote content."""

    kind: FailureKind
    cause: str
    wait_s: float | None = None  # as the server requested
    prompt_limit: int | None = None  # tokens, if a prompt was too long and the server reports its limit


def of_status(status: int, headers: Mapping[str, str]) -> RequestFailure:
    """What an HTTP status other than 200 means."""
    cause = f"HTTP {status}"
    if status in (429, 503):
        return RequestFailure(FailureKind.busy, cause, retry_after(headers.get("Retry-After")))
    if status in (401, 403, 407):
        return RequestFailure(FailureKind.unauthorized, cause)
    if status in (404, 405, 501) or status < 400:  # a redirect means that engine.url is wrong
        return RequestFailure(FailureKind.not_found, cause)
    if status in (408, 409, 425) or status >= 500:
        return RequestFailure(FailureKind.transient, cause, retry_after(headers.get("Retry-After")))
    return RequestFailure(FailureKind.bad_request, cause)


def too_long(body: bytes, max_tokens: int) -> RequestFailure | None:
    """The failure if a 400's body reports that the prompt is longer than the model's context, else None.

    `max_tokens`: requested for the answer; vLLM subtracts it from the context beforehand.
    """
    try:
        reply = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    error = reply.get("error", reply) if isinstance(reply, dict) else None  # older vLLM has no envelope
    if not isinstance(error, dict):
        return None
    message, limit = error.get("message"), None
    if isinstance(message, str) and (match := CONTEXT_MESSAGE.match(message)):
        limit = int(match["alone"]) if match["alone"] else int(match["with_answer"]) - max_tokens
    elif error.get("code") not in CONTEXT_CODES and error.get("type") not in CONTEXT_CODES:
        return None
    elif type(error.get("n_ctx")) is int:
        limit = error["n_ctx"]
    return RequestFailure(FailureKind.too_long, "longer than the server's context", prompt_limit=limit)


def retry_after(value: str | None) -> float | None:
    """A Retry-After header in seconds from now: a number or an HTTP date (RFC 9110, 10.2.3); None if unreadable."""
    if value is None:
        return None
    try:
        seconds = float(value) if value.strip().isascii() and value.strip().isdigit() else None
        if seconds is None:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return max(0.0, seconds)


def back_off(retries: int, requested_s: float | None, timings: Timings = DEFAULT_TIMINGS) -> float:
    """Seconds to wait before the next attempt: as the server requested, or twice as long each time, with jitter."""
    if requested_s is not None:
        return requested_s + random.uniform(0.0, 0.25)
    longest = min(timings.back_off_max_s, timings.back_off_s * 2.0 ** min(retries, 16))
    return longest * random.uniform(0.5, 1.0)
