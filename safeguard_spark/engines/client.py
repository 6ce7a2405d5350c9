"""Client of one endpoint, inside an event loop: sends each request until it is answered or cannot be.

Failures are values here (`failures.RequestFailure`). `Client.ask` decides about each by its scope:

- row: the failure is the answer,
- form: another form is tried on this one request, while the others wait (`form_search`),
- outage: all requests pause together (`gate.Gate`), for up to `engine.patience_s`,
- engine: this and all later requests stay unanswered.

Where a failure may be the row's or the server's, a control request decides: the same policy with a harmless content.
"""

import asyncio
import contextlib
import logging
import math
from dataclasses import dataclass, field
from typing import NamedTuple

from safeguard_spark.config.engine import Dialect, EndpointConfig
from safeguard_spark.engines import protocol
from safeguard_spark.engines.address import Address
from safeguard_spark.engines.failures import PROBLEMS, FailureKind, RequestFailure, Scope, back_off
from safeguard_spark.engines.form_search import FormKey, FormSearch, form_key
from safeguard_spark.engines.gate import Gate
from safeguard_spark.engines.protocol import Form
from safeguard_spark.engines.server import Server
from safeguard_spark.engines.threads import in_thread
from safeguard_spark.engines.timings import DEFAULT_TIMINGS, Timings
from safeguard_spark.engines.transport import CONTENT_FILTER, Transport
from safeguard_spark.errors import EngineError
from safeguard_spark.labelling.engine import Answer, CallSpec, Request
from safeguard_spark.labelling.prompt import Prompt
from safeguard_spark.labelling.verdict import Completion

SUSPICIOUS = 8  # uncertain failures in a row, over all requests: then a control request finds out what they mean
MAX_REJECTIONS = 32  # of one row by a server that answered others meanwhile: "busy" then means this row
REPORTED_PAUSE = 3  # in a row: shorter ones are what a rate limit looks like
log = logging.getLogger(__name__)


@dataclass
class Knowledge:
    """What is known of a run's endpoint in this process. Later tasks of the run need not find it out again."""

    forms: dict[FormKey, Form] = field(default_factory=dict)
    refused: dict[FormKey, str] = field(default_factory=dict)  # second looks that are not sent, and why
    has_answered: bool = False
    unavailable: str | None = None


class _Attempt(NamedTuple):
    """The result of sending a request once. `result` is None if it was not sent."""

    result: Completion | RequestFailure | None
    turn: int
    sent_at: float


@dataclass
class _Progress:
    """What one request has cost so far."""

    server_id: str
    sent: int = 0  # how often it was sent
    attempts: int = 0  # failed ones that are not known to be the server's
    rejections: int = 0  # by a server that answered others since the one before
    rejected_at: float = math.inf
    is_last_try: bool = False  # the server was busy for this one only, as long as the patience lasted
    spent_s: float = 0.0  # of its deadline: sent, or waiting for its own next attempt


class Client:
    """Sends requests to one endpoint. Made and used inside the event loop; only the properties are read outside."""

    def __init__(
        self,
        config: EndpointConfig,
        address: Address,
        key: str | None,
        server: Server | None,
        run_id: str = "",
        knowledge: Knowledge | None = None,
        timings: Timings = DEFAULT_TIMINGS,
    ) -> None:
        self._config, self._address, self._server = config, address, server
        self._run_id, self._timings = run_id, timings
        self._known = knowledge or Knowledge()
        self._gate = Gate(config.patience_s, timings)
        self._checking, self._restarting, self._over = asyncio.Lock(), asyncio.Lock(), asyncio.Event()
        self._is_searching = False
        self._suspicious = 0  # uncertain failures since the last answer
        is_reached = server is not None or self._known.has_answered
        self._transport = Transport(address, config.model, key, timings, is_reached=is_reached)
        self._search = FormSearch(
            self._transport, self._known.forms, run_id, address.display, timings, self._note_answer_now
        )
        self.has_answered = False  # whether a request of this client was answered, or refused for its own sake

    async def close(self) -> None:
        """Close every connection."""
        await self._transport.close()

    @property
    def unavailable(self) -> str | None:
        """Why no more requests are sent; None while they are."""
        return self._known.unavailable

    @property
    def forms(self) -> list[Form]:
        """The forms in which requests are sent."""
        return sorted(set(self._known.forms.values()))

    def mark_unavailable(self, reason: str) -> None:
        """Leave all open and future requests unanswered."""
        if self._known.unavailable is None:
            self._known.unavailable = reason
            server = f", server {self._server_id()}," if self._server else ""
            level = logging.WARNING if self._known.has_answered else logging.INFO  # before an answer it is raised
            where = f"{self._address.display}{server}"
            log.log(level, "Run %s: engine at %s is unavailable: %s", self._run_id, where, reason)
        self._over.set()
        self._search.ended.set()
        self._gate.end()

    async def require_reply(self) -> None:
        """Raise EngineError if the server replies to nothing. A request for an answer may take minutes to tell."""
        if failure := await self._transport.silence():
            self._mark_unavailable_by(failure)
            raise EngineError(self.unavailable)

    async def ask(self, spec: CallSpec, request: Request) -> Answer:
        """Return the one answer to a request; an unavailable one if the engine cannot give it."""
        progress = _Progress(self._server_id())
        while not self._unavailable_for(spec):
            if progress.server_id != self._server_id():  # a restart took its time from every request in flight
                progress.server_id, progress.spent_s = self._server_id(), 0.0
            attempt = await self._send(spec, request, progress)
            progress.sent += attempt.result is not None
            if isinstance(attempt.result, Completion):
                if await self._is_usable(attempt.result, spec, request):
                    return Answer(request.key, attempt.result, retries=progress.sent - 1)
            elif attempt.result and await self._is_final(attempt, attempt.result, spec, request, progress):
                failure = attempt.result
                is_too_long = failure.kind is FailureKind.too_long
                return Answer(
                    request.key,
                    failure=failure.cause,
                    too_long=is_too_long,
                    prompt_limit=failure.prompt_limit,
                    retries=progress.sent - 1,
                )
        return Answer(request.key, failure=self._unavailable_for(spec), unavailable=True)

    def _unavailable_for(self, spec: CallSpec) -> str | None:
        return self.unavailable or self._known.refused.get(form_key(spec))

    def _server_id(self) -> str:
        return self._server.server_id if self._server else ""

    # Sending

    async def _send(self, spec: CallSpec, request: Request, progress: _Progress) -> _Attempt:
        """Send a request once, as soon as it may be sent. While no form is known, one request finds it."""
        if self._server and spec.labeler.dialect is Dialect.harmony:  # our own server takes what we start it for
            self._known.forms.setdefault(form_key(spec), protocol.forms(spec)[0])
        while form_key(spec) not in self._known.forms and not self._unavailable_for(spec):
            if not self._is_searching:
                self._is_searching = True
                try:
                    return await self._send_now(spec, request, progress)
                finally:
                    self._is_searching = False
                    self._search.ended.set()
            self._search.ended.clear()
            await self._search.ended.wait()
        return await self._send_now(spec, request, progress)

    async def _send_now(self, spec: CallSpec, request: Request, progress: _Progress) -> _Attempt:
        clock = asyncio.get_running_loop().time
        turn = await self._gate.enter()
        sent_at = clock()
        try:
            if self._unavailable_for(spec):
                return _Attempt(None, turn, sent_at)
            result = await self._post_in_time(self._config.deadline_s - progress.spent_s, spec, request.prompt)
            if isinstance(result, Completion) or result.kind.scopes == (Scope.row,):
                self._note_answer(turn, sent_at, result)
            return _Attempt(result, turn, sent_at)
        finally:
            progress.spent_s += clock() - sent_at
            self._gate.leave()

    def _note_answer(self, turn: int, sent_at: float, result: Completion | RequestFailure) -> None:
        self._suspicious = 0
        if not _is_filtered(result):  # a filter may stop every content, because of the policy
            self.has_answered = self._known.has_answered = True
        self._gate.answered(turn, sent_at)

    def _note_answer_now(self, result: Completion | RequestFailure) -> None:
        self._note_answer(self._gate.turn, asyncio.get_running_loop().time(), result)

    async def _post_in_time(self, limit_s: float, spec: CallSpec, prompt: Prompt) -> Completion | RequestFailure:
        try:
            async with asyncio.timeout(max(0.0, limit_s)):
                form = self._known.forms.get(form_key(spec))
                return await (self._transport.post(form, spec, prompt) if form else self._search.send(spec, prompt))
        except TimeoutError:
            return RequestFailure(
                FailureKind.timeout, f"no answer within {self._config.deadline_s:g} s (engine.deadline_s)"
            )

    async def _control(self, spec: CallSpec, request: Request) -> Completion | RequestFailure:
        """The result of a request with the same policy and a harmless content."""
        turn, prompt = self._gate.turn, protocol.control_prompt(spec, request.prompt)
        sent_at = asyncio.get_running_loop().time()
        result = await self._post_in_time(self._config.deadline_s, spec, prompt)
        if isinstance(result, Completion) or result.kind.scopes == (Scope.row,):
            self._note_answer(turn, sent_at, result)
        return result

    # Deciding

    async def _is_usable(self, completion: Completion, spec: CallSpec, request: Request) -> bool:
        """Whether a completion is about the row. A content filter may stop the policy, and so every row."""
        if not _is_filtered(completion):
            return True
        async with self._checking:
            if not self._known.has_answered and _is_filtered(await self._control(spec, request)):
                self._mark_unavailable_by(
                    RequestFailure(FailureKind.filtered_policy, "it stops the policy with a harmless content too")
                )
        return not self.unavailable

    async def _is_final(
        self, attempt: _Attempt, failure: RequestFailure, spec: CallSpec, request: Request, progress: _Progress
    ) -> bool:
        """Whether a failure is the row's answer. If not, it may be sent again, or the engine is unavailable."""
        if failure.kind.may_be_dead:
            await self._restart(progress.server_id)
        elif failure.kind is FailureKind.timeout:
            await self._wait_while_stalled(progress.server_id)
        if self.unavailable or progress.server_id != self._server_id():
            return False
        scopes = self._scopes(failure)
        if scopes == (Scope.row,):
            return True
        if scopes == (Scope.engine,):
            # A firewall in front of a server may forbid a content, and call it what a wrong key is called.
            if failure.kind is FailureKind.forbidden and self._known.has_answered:
                async with self._checking:
                    if not self.unavailable and await self._answers_control(spec, request):
                        return True
            self._mark_unavailable_by(failure, spec)
            return False
        if scopes == (Scope.outage,):
            progress.rejections += self._gate.answered_at > progress.rejected_at
            progress.rejected_at = asyncio.get_running_loop().time()
            if progress.rejections > MAX_REJECTIONS:
                return True
            progress.spent_s = 0.0
            if progress.is_last_try and failure.kind is FailureKind.busy:
                return True
            if self._pause(attempt.turn, failure):
                return False
            # Some services call a request busy that is larger than their limit will ever be.
            may_be_the_rows = failure.kind is FailureKind.busy and (failure.wait_s or 0.0) <= self._config.patience_s
            if may_be_the_rows and await self._answers_control(spec, request):
                progress.is_last_try = True
                return False
            self._give_up(failure)
            return False
        return await self._is_the_rows(attempt, failure, spec, request, progress)

    async def _is_the_rows(
        self, attempt: _Attempt, failure: RequestFailure, spec: CallSpec, request: Request, progress: _Progress
    ) -> bool:
        """Whether an uncertain failure is the row's, and the last one it may have."""
        progress.attempts += 1
        self._suspicious += 1
        wait_s = back_off(progress.attempts - 1, failure.wait_s, self._timings)
        is_last = (
            failure.kind is not FailureKind.transient
            or progress.attempts > self._config.retries
            or progress.spent_s + wait_s >= self._config.deadline_s
        )
        if (is_last or self._suspicious >= SUSPICIOUS) and not await self._answers_others(attempt, spec, request):
            progress.attempts, progress.spent_s = 0, 0.0
            if not self._pause(attempt.turn, failure):
                self._give_up(failure)
            return False
        if not is_last:
            await self._sleep(wait_s)
            progress.spent_s += wait_s
        return is_last

    async def _answers_others(self, attempt: _Attempt, spec: CallSpec, request: Request) -> bool:
        """Whether the server has answered a request that was sent about when this one failed, or answers a control."""
        since = max(attempt.sent_at, asyncio.get_running_loop().time() - self._timings.evidence_s)
        async with self._checking:
            if self._gate.served_at > since:
                return True
            if self.unavailable or self._gate.paused_at > since:
                return False
            return await self._answers_control(spec, request)

    async def _answers_control(self, spec: CallSpec, request: Request) -> bool:
        """Whether the server answers a control request; one that it refuses may show that no other is answered."""
        result = await self._control(spec, request)
        if isinstance(result, Completion) or result.kind.scopes == (Scope.row,):
            return True
        if Scope.form in self._scopes(result):  # it took this form before
            remedy = "check what the server says to one request sent with curl"
            result = result._replace(kind=FailureKind.refused_form, remedy=remedy)
        if self._scopes(result) == (Scope.engine,):
            self._mark_unavailable_by(result, spec)
        return False

    def _scopes(self, failure: RequestFailure) -> tuple[Scope, ...]:
        if failure.kind is FailureKind.not_found:
            return (Scope.outage,) if self._known.has_answered else (Scope.engine,)
        return failure.kind.scopes

    def _pause(self, turn: int, failure: RequestFailure) -> bool:
        """Pause all requests. False if there is no patience left."""
        patience_s = self._patience_s(failure)
        if not self._gate.pause(turn, failure.wait_s, patience_s):
            return False
        if self._gate.pauses == REPORTED_PAUSE and turn == self._gate.turn - 1:
            log.warning(
                "Run %s: engine at %s does not answer (%s); requests wait up to %g s for it%s.",
                self._run_id, self._address.display, failure.cause, patience_s, self._setting(patience_s),
            )  # fmt: skip
        return True

    def _patience_s(self, failure: RequestFailure) -> float:
        """How long a failure is waited out. Before the first answer the address may be wrong."""
        longest = math.inf
        if failure.kind is FailureKind.unreachable and not self._transport.is_reached:
            longest = self._timings.unreachable_s
        elif failure.kind is not FailureKind.busy and not self._known.has_answered:
            longest = self._timings.first_answer_s
        return min(self._config.patience_s, longest)

    def _setting(self, patience_s: float) -> str:
        return " (engine.patience_s)" if patience_s == self._config.patience_s else ""

    def _give_up(self, failure: RequestFailure) -> None:
        how_long = ""
        if failure.wait_s is not None:
            how_long = f", the server asks to wait {failure.wait_s:.0f} s, over what engine.patience_s leaves"
        elif self._transport.is_reached:
            how_long = f", for {self._gate.outage_s:.0f} s{self._setting(self._patience_s(failure))}"
        self._mark_unavailable_by(failure._replace(cause=failure.cause + how_long))

    def _mark_unavailable_by(self, failure: RequestFailure, spec: CallSpec | None = None) -> None:
        problem = PROBLEMS[failure.kind].format(cause=failure.cause, model=self._config.model, remedy=failure.remedy)
        message = f"Engine at {self._address.display} {problem}"
        if spec and spec.is_second_look and failure.kind is FailureKind.refused_form:  # it has answered the first
            self._known.refused[form_key(spec)] = message
            log.warning("Run %s: no second looks at effort %s: %s", self._run_id, spec.labeler.effort.value, message)
        else:
            self.mark_unavailable(message)

    # The own server

    async def _restart(self, server_id: str) -> None:
        """Restart our own server if it is dead, once for all requests that failed together."""
        async with self._restarting:
            server = self._server
            if server is None or server_id != server.server_id or self.unavailable:
                return
            try:
                await in_thread(lambda: server.restart(server_id))
            except EngineError as error:
                self.mark_unavailable(str(error))

    async def _wait_while_stalled(self, server_id: str) -> None:
        """Wait until it is decided whether our own server hangs: until then the row is not to blame."""
        server, stalled_s = self._server, self._timings.stalled_s
        while server and server_id == server.server_id and server.stalled_s > stalled_s and not self.unavailable:
            await self._sleep(0.5)

    async def _sleep(self, seconds: float) -> None:
        """Wait; return early if the engine becomes unavailable."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), seconds)


def _is_filtered(result: Completion | RequestFailure) -> bool:
    return isinstance(result, Completion) and result.finish_reason == CONTENT_FILTER
