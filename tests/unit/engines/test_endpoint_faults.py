"""Servers that fail in every known way: each request still has exactly one answer."""

import email.utils
import json
import math
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeguard_spark.config.engine import Dialect
from safeguard_spark.engines.endpoint import EndpointEngine
from safeguard_spark.errors import EngineError, PolicyError
from safeguard_spark.labelling import prompt
from safeguard_spark.labelling import rows as labelling
from safeguard_spark.labelling.content import from_text
from safeguard_spark.labelling.rows import LabelSpec
from safeguard_spark.labelling.verdict import Outcome
from tests.build import call_spec, policy
from tests.engine_calls import FAST, ask, config, failures, requests
from tests.faulty_server import (
    ANSWER,
    HANG,
    Behavior,
    Call,
    FaultyServer,
    always,
    closed,
    cut,
    in_turn,
    malformed,
    row_of,
    slow,
    status,
)

pytestmark = pytest.mark.unit


# Failures of one request


@pytest.mark.parametrize(
    "behavior",
    [status(500), status(502), closed(), cut(), malformed(), malformed(b'{"choices": []}'), malformed(b"[1]")],
)
def test_a_transient_failure_is_retried(behavior: Behavior) -> None:
    with FaultyServer(in_turn(behavior, ANSWER, behavior, behavior)) as server:
        assert failures(ask(server)) == {None}
    assert len(server.calls) == 5 + 3


@pytest.mark.parametrize(
    ("behavior", "cause"),
    [(status(500), "HTTP 500"), (closed(), "connection closed"), (malformed(), "malformed reply, an HTML page")],
)
def test_a_row_that_always_fails_is_sent_a_bounded_number_of_times(behavior: Behavior, cause: str) -> None:
    with FaultyServer(lambda call: behavior if row_of(call.text) == 3 else ANSWER) as server:
        answers = ask(server, 10, retries=3)
        assert server.count(3) == 4
    assert {answer.key: answer.failure for answer in answers if answer.failure} == {3: cause}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "an empty body"), (b" \r\n", "an empty body"), (b"\xef\xbb\xbf<!DOCTYPE html><p>canary", "an HTML page"),
        (b"<HTML lang=en>canary", "an HTML page"), (b"<?xml version='1.0'?><canary/>", "XML or HTML"),
        (b'data: {"choices": [{"delta": {"content": "canary"}}]}\n\n', "a stream of events, which was not requested"),
        (b": canary\n\ndata: [DONE]", "a stream of events, which was not requested"),
        (b'{"choices": [{"message": {"content": "canary', "broken JSON"),
        (b"canary: upstream", "text that is not JSON"),
        (b'"canary"', "JSON that is no object"), (b"null", "JSON that is no object"),
        (b'{"error": {"message": "canary"}}', "an error in place of an answer"),
        (b'{"choices": [], "error": "canary"}', "an error in place of an answer"),
        (b'{"choices": [], "usage": {"canary": 1}}', "an empty list of choices"), (b'{"canary": 1}', "no choices"),
    ],
)  # fmt: skip
def test_a_malformed_reply_is_called_by_its_kind_and_never_quoted(body: bytes, kind: str) -> None:
    with FaultyServer(lambda call: malformed(body) if row_of(call.text) == 1 else ANSWER) as server:
        answers = ask(server, 4, retries=0)
    assert {answer.key: answer.failure for answer in answers if answer.failure} == {1: f"malformed reply, {kind}"}


@pytest.mark.parametrize("code", [400, 413, 422])
def test_a_bad_request_is_not_retried(code: int) -> None:
    def script(call: Call) -> Behavior:
        return status(code) if row_of(call.text) == 3 else ANSWER

    with FaultyServer(script) as server:
        answers = ask(server, 10)
        assert server.count(3) == 1
    assert {answer.key: answer.failure for answer in answers if answer.failure} == {3: f"HTTP {code}"}


def test_a_rejected_first_row_does_not_change_the_requests_of_the_others() -> None:
    with FaultyServer(lambda call: status(400) if row_of(call.text) == 0 else ANSWER) as server:
        answers = ask(server, 10)
    assert {answer.key for answer in answers if answer.failure} == {0}
    assert "structured_outputs" in server.calls[-1].body["sampling_params"]


CONTEXT = "This model's maximum context length is 4096 tokens. However, your prompt contains 9000 input tokens."
DECODER = "The decoder prompt (length 9000) is longer than the maximum model length of 4096. Make sure that"
FULL = "The decoder prompt (length 4096) plus the number of requested output tokens (at least 1) is longer than the"
TOO_LONG = [
    {"error": {"message": CONTEXT, "type": "BadRequestError", "param": "input_tokens", "code": 400}},
    {"error": {"message": DECODER, "type": "BadRequestError", "param": None, "code": 400}},
    {"error": {"message": f"{FULL} maximum model length of 4096.", "type": "BadRequestError", "code": 400}},
    {"object": "error", "message": CONTEXT, "type": "BadRequestError", "code": 400},
    {"error": {"message": "secret", "type": "invalid_request_error", "code": "context_length_exceeded"}},
    {"error": {"message": "secret", "type": "exceed_context_size_error", "code": 400, "n_ctx": 4096}},
]


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("body", TOO_LONG)
def test_a_prompt_longer_than_the_servers_context_is_too_long_and_sent_once(
    body: dict[str, object], dialect: Dialect
) -> None:
    behavior = status(400, raw=json.dumps(body).encode())
    spec = LabelSpec(policy(), call_spec(dialect).labeler)
    rows = [labelling.Row(number, from_text(f"row {number} is here")) for number in range(6)]
    with FaultyServer(lambda call: behavior if row_of(call.text) in (0, 3) else ANSWER) as server:
        with EndpointEngine(config(server.url, dialect=dialect), 2, timings=FAST) as engine:
            labelled = {row.key: row for row in labelling.label_rows(spec, engine, rows)}
        assert server.count(0) == server.count(3) == 1 and len(server.calls) == 6
    outcomes = {key: row.verdict.outcome for key, row in labelled.items()}
    assert outcomes == {key: Outcome.too_long if key in (0, 3) else Outcome.labelled for key in range(6)}
    assert labelled[3].verdict.error == "longer than the server's context" and labelled[3].called


@pytest.mark.parametrize(
    "raw",
    [
        json.dumps({"error": {"message": f"Invalid value: '{CONTEXT}'", "code": 400}}).encode(),
        json.dumps({"error": {"message": "max_tokens=9000 cannot be greater than max_model_len=4096."}}).encode(),
        json.dumps({"error": {"message": ["x"], "code": ["context_length_exceeded"], "type": {}}}).encode(),
        json.dumps({"error": CONTEXT}).encode(),
        json.dumps([CONTEXT]).encode(),
        CONTEXT.encode(),
        b"[" * 100_000,
        b"",
    ],
)
def test_other_rejections_are_not_mistaken_for_a_prompt_that_is_too_long(raw: bytes) -> None:
    with FaultyServer(lambda call: status(400, raw=raw) if row_of(call.text) == 1 else ANSWER) as server:
        answers = ask(server)
    assert {(a.failure, a.too_long) for a in answers if a.failure} == {("HTTP 400", False)}


def test_prompts_that_are_too_long_do_not_make_an_engine_unavailable() -> None:
    behavior = status(400, raw=json.dumps(TOO_LONG[0]).encode())
    with FaultyServer(always(behavior)) as server, EndpointEngine(config(server.url), 4, timings=FAST) as engine:
        answers = list(engine.answers(call_spec(), requests(40)))
        assert engine.unavailable is None and all(answer.too_long for answer in answers)
        assert len(server.calls) == len(answers) == 40


@pytest.mark.parametrize("reply", [body for body in TOO_LONG if "4096" in str(body)])
def test_a_context_too_small_for_the_policy_itself_is_an_error_and_no_outcome(reply: dict[str, object]) -> None:
    spec = LabelSpec(policy(), call_spec().labeler)
    policy_tokens = prompt.prefix_tokens(spec.policy.body, spec.labeler.effort)
    answer_tokens = spec.labeler.max_tokens if CONTEXT in str(reply) else 0  # this server's limit is for both

    def label(context: int) -> list[labelling.Labelled]:
        body = json.dumps(reply).replace("4096", str(context)).encode()
        rows = [labelling.Row(number, from_text("what is here")) for number in range(6)]
        with (
            FaultyServer(always(status(400, raw=body))) as server,
            EndpointEngine(config(server.url), 2, timings=FAST) as engine,
        ):
            return list(labelling.label_rows(spec, engine, rows))

    with pytest.raises(
        PolicyError, match=rf"^Policy market@1.0.0 alone takes {policy_tokens} tokens.* leaves {policy_tokens}: every"
    ):
        label(policy_tokens + answer_tokens)
    assert [row.verdict.outcome for row in label(policy_tokens + answer_tokens + 1)] == [Outcome.too_long] * 6


def test_retry_after_is_honored_in_seconds_and_as_a_date() -> None:
    for as_date in (False, True):

        def script(call: Call, as_date: bool = as_date) -> Behavior:
            date = email.utils.formatdate(math.ceil(time.time() + 0.4), usegmt=True)  # dates have whole seconds
            return ANSWER if call.number else status(429, date if as_date else "1")

        with FaultyServer(script) as server:
            assert failures(ask(server, 1)) == {None}
            assert server.calls[1].at - server.calls[0].at >= (0.3 if as_date else 0.9)


def test_waiting_for_a_busy_server_costs_no_retry() -> None:
    with FaultyServer(in_turn(*[status(429)] * 6)) as server:
        assert failures(ask(server, 1, retries=0)) == {None}


def test_a_hanging_answer_ends_at_the_deadline_and_delays_no_other_row() -> None:
    started = time.monotonic()
    with FaultyServer(lambda call: HANG if row_of(call.text) == 2 else ANSWER) as server:
        answers = ask(server, 12, window=2, deadline_s=0.8)
    failed = {answer.key: answer.failure for answer in answers if answer.failure}
    assert failed == {2: "no answer within 0.8 s (engine.deadline_s)"}
    assert [answer.key for answer in answers][-1] == 2
    assert time.monotonic() - started < 60


def test_an_outage_shorter_than_the_deadline_fails_no_row() -> None:
    with FaultyServer(always(slow(0.02))) as server:
        threading.Timer(0.3, server.stop).start()
        threading.Timer(0.9, server.start_again).start()
        answers = ask(server, 120, window=4, deadline_s=60.0)
    assert failures(answers) == {None}


BEHAVIORS = st.sampled_from(
    [ANSWER, slow(0.01), status(500), status(429), status(429, "0"), status(503, "9999"), status(400), status(404),
     closed(), cut(), malformed(), malformed(b'{"choices":[{"token_ids":["x"]}]}'), HANG, status(401), status(403)]
)  # fmt: skip


@settings(max_examples=25)
@given(
    behaviors=st.lists(BEHAVIORS, max_size=12),
    count=st.integers(0, 12),
    window=st.integers(1, 6),
    retries=st.integers(0, 2),
)
def test_every_request_has_exactly_one_answer_whatever_the_server_does(
    behaviors: list[Behavior], count: int, window: int, retries: int
) -> None:
    with FaultyServer(in_turn(*behaviors)) as server:
        keys = []
        with EndpointEngine(
            config(server.url, deadline_s=0.4, retries=retries, patience_s=0.5), window, timings=FAST
        ) as engine:
            try:
                for answer in engine.answers(call_spec(), requests(count)):
                    keys.append(answer.key)
                    assert (answer.completion is None) != (answer.failure is None)
            except EngineError:
                assert not keys, "after the first answer nothing may be raised"
                return
        assert sorted(keys) == list(range(count))
