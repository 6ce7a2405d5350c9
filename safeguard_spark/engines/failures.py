"""What can go wrong with one request to a server, sorted by whose trouble it is. Pure except for the clock."""

import random
import re
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Any, NamedTuple

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
# How services say that they judged the prompt themselves: Azure's outer and inner code, OpenAI's for reasoning models,
# Alibaba's.
FILTER_CODES = (
    "content_filter", "ResponsibleAIPolicyViolation", "content_policy_violation", "invalid_prompt",
    "data_inspection_failed",
)  # fmt: skip
UNPAID_CODES = ("insufficient_quota", "billing_hard_limit_reached")  # with status 429: waiting does not help
_NAME = re.compile(r"[A-Za-z0-9_.\[\]-]{1,60}")  # of a code or a field; anything else may quote content


class Scope(Enum):
    """Whose trouble a failure is, and so what it costs."""

    row = auto()  # this row's: it becomes an outcome, and costs an attempt
    form = auto()  # the server refuses how the request is written: another form, or the run ends
    engine = auto()  # no request will be answered until the operator acts: the run ends, rows stay pending
    outage = auto()  # it passes: all requests pause together, for up to engine.patience_s; rows stay pending


class FailureKind(Enum):
    """A failed attempt, and whose trouble it is. With two scopes, a control request decides between them.

    A control request has the same policy and a harmless content. If the server answers it, the trouble is the row's.
    """

    # Certain
    unreachable = 1, Scope.outage  # no connection
    busy = 2, Scope.outage  # the server asks us to retry later
    too_long = 3, Scope.row  # the prompt is longer than the model's context
    unsendable = 4, Scope.row  # the prompt cannot be encoded
    unauthorized = 5, Scope.engine  # the server accepts no request with this key
    forbidden = 6, Scope.engine  # likewise, or it does not offer this path: vLLM without --enable-scale-out
    unpaid = 7, Scope.engine  # the account has no credit left
    untrusted = 8, Scope.engine  # its certificate cannot be verified
    refused_form = 9, Scope.engine  # no form of a request gets through, or none that does what the labeler says
    cut_policy = 10, Scope.engine  # the server read less than the policy
    filtered_policy = 11, Scope.engine  # its content filter stops the policy itself
    # A model that was never there is a wrong name; one that is gone may be loaded again.
    not_found = 12, Scope.engine, Scope.outage
    # By a control request
    transient = 13, Scope.row, Scope.outage  # the attempt failed: repeated up to `engine.retries` times
    timeout = 14, Scope.row, Scope.outage  # engine.deadline_s passed
    bad_request = 15, Scope.row, Scope.form  # the server will never accept this request

    def __init__(self, number: int, *scopes: Scope) -> None:
        self.number, self.scopes = number, scopes

    @property
    def may_be_dead(self) -> bool:
        """Whether an own server may have died, so that it should be looked at."""
        return self in (FailureKind.unreachable, FailureKind.busy, FailureKind.transient)


class RequestFailure(NamedTuple):
    """Why an attempt gave no completion. `cause` is short and never quotes the server, which may quote content."""

    kind: FailureKind
    cause: str
    wait_s: float | None = None  # as the server requested
    prompt_limit: int | None = None  # tokens, if a prompt was too long and the server reports its limit
    param: str | None = None  # the request's field that a 400 names
    remedy: str | None = None  # what the operator can do about a refused form


_NO_ANSWER = "does not answer: {cause}; check the server and engine.url."
_DENIED = "denies access: {cause}; check the key that engine.api_key_env names."
# How a run ends that a failure of the engine or an outage stops.
PROBLEMS: dict[FailureKind, str] = {
    FailureKind.unreachable: "cannot be reached: {cause}; check engine.url and that the server runs.",
    FailureKind.busy: _NO_ANSWER,
    FailureKind.transient: _NO_ANSWER,
    FailureKind.timeout: _NO_ANSWER,
    FailureKind.bad_request: _NO_ANSWER,
    FailureKind.unauthorized: _DENIED,
    FailureKind.forbidden: _DENIED,
    FailureKind.unpaid: "refuses to work on this account: {cause}; check its credit and its quota.",
    FailureKind.untrusted: (
        "is not trusted: {cause}; check engine.url, or add the authority that signed it to the "
        "certificates of this machine (SSL_CERT_FILE), on the driver and on every executor."
    ),
    FailureKind.not_found: (
        "does not serve the model {model}: {cause}; check engine.url, engine.model and engine.dialect."
    ),
    FailureKind.refused_form: "refuses the form of the requests: {cause}; {remedy}.",
    FailureKind.cut_policy: (
        "cut off the policy: it read {cause}; serve the model with a longer context, or shorten the policy."
    ),
    FailureKind.filtered_policy: (
        "refuses this policy by its content filter: {cause}; change the filter's settings there, or the policy."
    ),
}


class Refusal(NamedTuple):
    """What the body of an error says, in names only."""

    codes: tuple[str, ...] = ()
    param: str | None = None


def of_status(status: int, headers: Mapping[str, str], body: bytes = b"") -> RequestFailure:
    """What an HTTP status other than 200 means. `body` is read for the codes it may have."""
    refusal = read_refusal(body)
    cause = f"HTTP {status}" + "".join(f", {code}" for code in refusal.codes[:1])
    if status == 402 or (status == 429 and set(refusal.codes) & set(UNPAID_CODES)):
        return RequestFailure(FailureKind.unpaid, cause)
    if status in (429, 503, 529):
        return RequestFailure(FailureKind.busy, cause, retry_after(headers.get("Retry-After")))
    if status in (401, 407):
        return RequestFailure(FailureKind.unauthorized, cause)
    if status == 403:
        return RequestFailure(FailureKind.forbidden, cause)
    if status in (404, 405, 501) or status < 400:  # a redirect means that engine.url is wrong
        return RequestFailure(FailureKind.not_found, cause)
    if status in (408, 409, 425) or status >= 500:
        return RequestFailure(FailureKind.transient, cause, retry_after(headers.get("Retry-After")))
    param = f" for {refusal.param}" if refusal.param else ""
    return RequestFailure(FailureKind.bad_request, cause + param, param=refusal.param)


def is_filtered(body: bytes) -> bool:
    """Whether an error's body says that the service's content filter stopped the prompt."""
    return bool(set(read_refusal(body).codes) & set(FILTER_CODES))


def read_refusal(body: bytes) -> Refusal:
    """The codes and the field that an error's body names; its message is not read, because it may quote content."""
    try:
        reply = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Refusal()
    error = reply.get("error", reply) if isinstance(reply, dict) else None
    if not isinstance(error, dict):
        return Refusal()
    param = _name(error.get("param"))
    details = error.get("detail")  # FastAPI: [{"loc": ["body", "max_tokens"], …}]
    if param is None and isinstance(details, list) and details and isinstance(details[0], dict):
        path = details[0].get("loc")
        names = [name for name in path if isinstance(name, str) and name != "body"] if isinstance(path, list) else []
        param = _name(names[0]) if names else None
    return Refusal(tuple(dict.fromkeys(_codes(error))), param)


def _codes(error: dict[str, Any]) -> Iterator[str]:
    """The names under `code` and `type`, outer first; Azure has the cause in an `innererror`."""
    for key in ("code", "type"):
        name = _name(error.get(key))
        if name is not None:
            yield name
    for key in ("innererror", "inner_error"):
        if isinstance(inner := error.get(key), dict):
            yield from _codes({name: value for name, value in inner.items() if name in ("code", "innererror")})


def _name(value: Any) -> str | None:
    return value if isinstance(value, str) and _NAME.fullmatch(value) and not value.isdigit() else None


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
