"""A server that fails in every way it can: one answer per request all the same."""

import email.utils
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeguard_spark.engines import client, endpoint
from safeguard_spark.engines.endpoint import EndpointEngine
from safeguard_spark.errors import EngineError
from tests.misbehaving import (
    ANSWER,
    HANG,
    Call,
    Deed,
    Misbehaving,
    always,
    ask,
    closed,
    config,
    cut,
    failures,
    garbage,
    in_turn,
    requests,
    row_of,
    slow,
    status,
    task,
)

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same waits, shorter."""
    monkeypatch.setattr("safeguard_spark.engines.trouble.BACK_OFF_S", 0.01)
    monkeypatch.setattr(client, "REACH_S", 0.5)
    monkeypatch.setattr(client, "GIVEN_UP_S", 0.5)
    monkeypatch.setattr(endpoint, "WARM_UP_S", 0.2)


# What goes wrong with one request


@pytest.mark.parametrize(
    "deed", [status(500), status(502), closed(), cut(), garbage(), garbage(b'{"choices": []}'), garbage(b"[1]")]
)
def test_a_lost_attempt_is_made_again(deed: Deed) -> None:
    with Misbehaving(in_turn(deed, ANSWER, deed, deed)) as server:
        assert failures(ask(server)) == {None}
    assert len(server.calls) == 5 + 3


@pytest.mark.parametrize(
    ("deed", "cause"),
    [(status(500), "HTTP 500"), (closed(), "connection closed"), (garbage(), "the reply was garbage")],
)
def test_a_row_that_always_fails_is_asked_a_bounded_number_of_times(deed: Deed, cause: str) -> None:
    with Misbehaving(lambda call: deed if row_of(call.text) == 3 else ANSWER) as server:
        answers = ask(server, 10, retries=3)
        assert server.count(3) == 4
    assert {answer.key: answer.failure for answer in answers if answer.failure} == {3: cause}


@pytest.mark.parametrize("code", [400, 413, 422])
def test_a_request_the_server_will_never_take_is_not_asked_again(code: int) -> None:
    def script(call: Call) -> Deed:
        return status(code) if row_of(call.text) == 3 else ANSWER

    with Misbehaving(script) as server:
        answers = ask(server, 10)
        assert server.count(3) == 1
    assert {answer.key: answer.failure for answer in answers if answer.failure} == {3: f"HTTP {code}"}


def test_a_first_row_the_server_rejects_takes_nothing_from_the_others() -> None:
    with Misbehaving(lambda call: status(400) if row_of(call.text) == 0 else ANSWER) as server:
        answers = ask(server, 10)
    assert {answer.key for answer in answers if answer.failure} == {0}
    assert "structured_outputs" in server.calls[-1].body["sampling_params"]


def test_retry_after_is_waited_for_in_seconds_and_as_a_date() -> None:
    for as_date in (False, True):
        said = email.utils.formatdate(time.time() + 2, usegmt=True) if as_date else "1"
        with Misbehaving(in_turn(status(429, said))) as server:
            assert failures(ask(server, 1)) == {None}
            assert server.calls[1].at - server.calls[0].at >= 0.7


def test_being_told_to_wait_costs_no_retry() -> None:
    with Misbehaving(in_turn(*[status(429)] * 6)) as server:
        assert failures(ask(server, 1, retries=0)) == {None}


def test_a_wait_past_the_deadline_is_not_begun() -> None:
    begun = time.monotonic()
    with Misbehaving(always(status(503, "3600"))) as server:
        assert failures(ask(server, 3, deadline_s=5.0)) == {"HTTP 503"}
    assert time.monotonic() - begun < 4


def test_a_hanging_answer_ends_at_the_deadline_and_holds_nobody_up() -> None:
    begun = time.monotonic()
    with Misbehaving(lambda call: HANG if row_of(call.text) == 2 else ANSWER) as server:
        answers = ask(server, 12, window=2, deadline_s=1.5)
    assert {answer.key: answer.failure for answer in answers if answer.failure} == {2: "no answer within 1.5 s"}
    assert [answer.key for answer in answers][-1] == 2
    assert time.monotonic() - begun < 6


def test_an_outage_shorter_than_the_deadline_loses_nothing() -> None:
    with Misbehaving(always(slow(0.02))) as server:
        threading.Timer(0.5, server.stop).start()
        threading.Timer(1.5, server.again).start()
        answers = ask(server, 150, window=4)
    assert failures(answers) == {None}


def test_a_server_that_never_answers_anything_is_given_up() -> None:
    begun = time.monotonic()
    with Misbehaving(always(status(500))) as server:
        with EndpointEngine(config(server.url, retries=2), 4) as engine:
            answers = list(engine.answers(task(), requests(3000)))
            assert engine.lost and "was given up: HTTP 500" in engine.lost
        assert len(answers) == 3000
        assert len(server.calls) < 1000
    assert time.monotonic() - begun < 20


DEEDS = st.sampled_from(
    [ANSWER, slow(0.01), status(500), status(429), status(429, "0"), status(503, "9999"), status(400), status(404),
     closed(), cut(), garbage(), garbage(b'{"choices":[{"token_ids":["x"]}]}'), HANG, status(401)]
)  # fmt: skip


@settings(max_examples=25)
@given(
    deeds=st.lists(DEEDS, max_size=12), count=st.integers(0, 12), window=st.integers(1, 6), retries=st.integers(0, 2)
)
def test_every_request_has_exactly_one_answer_whatever_the_server_does(
    deeds: list[Deed], count: int, window: int, retries: int
) -> None:
    with Misbehaving(in_turn(*deeds)) as server:
        keys = []
        with EndpointEngine(config(server.url, deadline_s=0.4, retries=retries), window) as engine:
            try:
                for answer in engine.answers(task(), requests(count)):
                    keys.append(answer.key)
                    assert (answer.completion is None) != (answer.failure is None)
            except EngineError:
                assert not keys, "after the first answer nothing may be raised"
                return
        assert sorted(keys) == list(range(count))
