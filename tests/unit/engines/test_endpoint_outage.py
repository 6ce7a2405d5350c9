"""Outages, quotas and keys are the engine's trouble: requests pause together, and no row pays for it."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from safeguard_spark.engines.endpoint import EndpointEngine
from safeguard_spark.errors import EngineError
from safeguard_spark.labelling.engine import Answer
from tests.build import call_spec
from tests.engine_calls import FAST, ask, config, failures, requests
from tests.faulty_server import (
    ANSWER,
    HANG,
    Behavior,
    Call,
    FaultyServer,
    always,
    closed,
    in_turn,
    malformed,
    row_of,
    slow,
    status,
)

pytestmark = pytest.mark.unit
QUOTA = b'{"error": {"code": "insufficient_quota", "message": "secret"}}'
OUTAGES = {
    "503": status(503), "429": status(429), "529": status(529), "500": status(500), "502": status(502),
    "closed": closed(), "malformed": malformed(),
}  # fmt: skip


@pytest.mark.parametrize("behavior", OUTAGES.values(), ids=OUTAGES)
def test_an_engine_that_never_answers_is_asked_little_and_ends_with_its_patience(behavior: Behavior) -> None:
    started = time.monotonic()
    with FaultyServer(always(behavior)) as server:
        with pytest.raises(EngineError, match=r"does not answer: .* s \(engine.patience_s\); check the server") as e:
            ask(server, 3000, window=64, patience_s=1.0, retries=2)
        assert len(server.calls) < 100 and "secret" not in str(e.value)
    assert 1.0 <= time.monotonic() - started < 60


def test_a_hanging_server_ends_with_the_patience_and_not_row_by_row() -> None:
    with FaultyServer(always(HANG)) as server:
        with pytest.raises(EngineError, match="does not answer: no answer within"):
            ask(server, 500, window=8, patience_s=1.0, deadline_s=0.4)
        assert len(server.calls) < 40


@pytest.mark.parametrize("code", [429, 503])
def test_a_wait_longer_than_the_patience_ends_at_once_and_says_so(code: int) -> None:
    started = time.monotonic()
    with FaultyServer(always(status(code, "432"))) as server:
        message = f"HTTP {code}, the server asks to wait 432 s, over what engine.patience_s leaves"
        with pytest.raises(EngineError, match=message):
            ask(server, 2000, window=64)
        assert len(server.calls) == 1
    assert time.monotonic() - started < 60


UNUSABLE = {
    "401": (status(401), "denies access: HTTP 401"),
    "402": (status(402), "refuses to work on this account: HTTP 402"),
    "quota": (status(429, raw=QUOTA), "account: HTTP 429, insufficient_quota; check its credit"),
    "403": (status(403), "denies access: HTTP 403"),
    "404": (status(404), "does not serve the model m: HTTP 404 on /v1/completions"),
}


@pytest.mark.parametrize(("behavior", "message"), UNUSABLE.values(), ids=UNUSABLE)
def test_what_only_the_operator_can_change_ends_at_the_first_request(behavior: Behavior, message: str) -> None:
    with FaultyServer(always(behavior)) as server:
        with pytest.raises(EngineError, match=message):
            ask(server, 2000, window=64)
        assert len(server.calls) <= 2  # one for each path


def label_during(server: FaultyServer, count: int, window: int = 8, **settings: object) -> list[Answer]:
    with EndpointEngine(config(server.url, **settings), window, timings=FAST) as engine:
        answers = list(engine.answers(call_spec(), requests(count)))
    assert sorted(answer.key for answer in answers) == list(range(count))
    return answers


class Outage:
    """A script that answers, but fails between two moments after the first call."""

    def __init__(self, behavior: Behavior, begin_s: float = 0.3, end_s: float = 1.3) -> None:
        self.behavior, self.begin_s, self.end_s = behavior, begin_s, end_s
        self.started: float | None = None
        self.failed = 0

    def __call__(self, call: Call) -> Behavior:
        self.started = self.started or call.at
        if self.begin_s < call.at - self.started < self.end_s:
            self.failed += 1
            return self.behavior
        return slow(0.02)


@pytest.mark.parametrize("behavior", [*OUTAGES.values(), status(404)], ids=[*OUTAGES, "404"])
def test_an_outage_in_the_middle_is_waited_for_and_fails_no_row(behavior: Behavior) -> None:
    script = Outage(behavior)
    with FaultyServer(script) as server:
        answers = label_during(server, 400, retries=1)
        assert failures(answers) == {None}
        # Those in flight, and few more that find out whether it is over.
        assert 400 <= len(server.calls) <= 400 + script.failed + 8 and script.failed < 60


def test_refused_connections_in_the_middle_are_waited_for() -> None:
    with FaultyServer(always(slow(0.02))) as server:
        threading.Timer(0.3, server.stop).start()
        threading.Timer(1.3, server.start_again).start()
        assert failures(label_during(server, 300)) == {None}
        assert len(server.calls) <= 300 + 8


@pytest.mark.parametrize("behavior", [status(503), status(500), status(401), HANG], ids=["503", "500", "401", "hang"])
def test_an_outage_for_good_leaves_the_rest_unanswered_and_blames_no_row(behavior: Behavior) -> None:
    with FaultyServer(Outage(behavior, end_s=999.0)) as server:
        answers = label_during(server, 500, patience_s=0.8, retries=1, deadline_s=0.5)
    unavailable = [answer for answer in answers if answer.unavailable]
    assert len(unavailable) > 300 and len(failures(unavailable)) == 1
    assert all(answer.completion for answer in answers if not answer.unavailable)


def test_a_server_that_freezes_with_requests_in_flight_blames_none_of_them() -> None:
    def script(call: Call) -> Behavior:
        age_s = call.at - server.calls[0].at
        return HANG if age_s > 0.6 or (age_s > 0.3 and call.number % 2) else slow(0.02)

    with FaultyServer(script) as server:
        answers = label_during(server, 500, window=16, patience_s=0.8, deadline_s=0.7)
    assert all(answer.completion or answer.unavailable for answer in answers)


def test_a_rate_limit_fails_no_row_and_is_not_hammered() -> None:
    times: list[float] = []

    def script(call: Call) -> Behavior:
        while times and call.at - times[0] > 0.5:
            times.pop(0)
        if len(times) >= 20:
            return status(429, "1") if call.number % 2 else status(429)
        times.append(call.at)
        return slow(0.05)

    with FaultyServer(script) as server:
        answers = label_during(server, 100, window=32)
        assert failures(answers) == {None}
        assert len(server.calls) < 300


@pytest.mark.parametrize("behavior", [status(403), status(429), status(500), malformed(), closed(), HANG], ids=str)
def test_a_row_that_fails_while_others_are_answered_fails_alone(behavior: Behavior) -> None:
    def script(call: Call) -> Behavior:
        return behavior if row_of(call.text) % 50 == 3 else slow(0.01)

    with FaultyServer(script) as server:
        answers = label_during(server, 200, retries=2, deadline_s=2.0)
    failed = [answer for answer in answers if answer.failure]
    assert {answer.key for answer in failed} == {3, 53, 103, 153}
    assert not any(answer.unavailable for answer in failed)


def test_a_row_that_was_sent_only_during_a_quota_is_sent_again_when_that_is_over() -> None:
    controls: list[Call] = []

    def script(call: Call) -> Behavior:
        if row_of(call.text) < 0:
            controls.append(call)
        return ANSWER if controls else status(429)

    with FaultyServer(script) as server:
        assert failures(ask(server, 6, patience_s=0.5)) == {None}
    assert len(controls) == 1


def test_rows_that_all_fail_are_told_from_an_outage_by_a_control_request() -> None:
    with FaultyServer(lambda call: ANSWER if row_of(call.text) < 0 else status(500)) as server:
        answers = label_during(server, 6, retries=1)
    assert [(answer.failure, answer.unavailable) for answer in answers] == [("HTTP 500", False)] * 6


def test_a_later_task_of_the_run_does_not_wait_again(request: pytest.FixtureRequest) -> None:
    run_id = request.node.nodeid
    with FaultyServer(in_turn(*[ANSWER] * 5, then=status(503))) as server:
        for calls in (None, 0):
            before = len(server.calls)
            with EndpointEngine(config(server.url, patience_s=0.5), 4, run_id=run_id, timings=FAST) as engine:
                answers: Iterator[Answer] = engine.answers(call_spec(), requests(20))
                if calls is None:
                    assert sum(answer.unavailable for answer in answers) == 15
                else:
                    with pytest.raises(EngineError, match="does not answer: HTTP 503"):
                        list(answers)
                    assert len(server.calls) - before == calls


def test_a_slow_first_answer_holds_the_others_only_until_the_form_counts_as_taken() -> None:
    started = time.monotonic()
    with FaultyServer(in_turn(slow(1.5))) as server:
        ask(server, 10, window=4, timings=replace(FAST, accepted_s=0.3))
    assert server.calls[9].at - started < 1.3
