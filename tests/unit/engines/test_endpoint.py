"""The endpoint engine: what it sends and reads, where it goes, and how much it keeps open."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from safeguard_spark.config.model import Dialect
from safeguard_spark.engines import client, endpoint
from safeguard_spark.engines.endpoint import EndpointEngine
from safeguard_spark.errors import ConfigError, EngineError
from safeguard_spark.labelling import verdict
from safeguard_spark.labelling.engine import Request
from safeguard_spark.labelling.verdict import Outcome
from safeguard_spark.policy.document import Output
from tests.faulty_server import (
    ANSWER,
    FaultyServer,
    always,
    ask,
    config,
    failures,
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
    monkeypatch.setattr("safeguard_spark.engines.failures.BACK_OFF_S", 0.01)
    monkeypatch.setattr(client, "REACH_S", 0.5)
    monkeypatch.setattr(client, "GIVEN_UP_S", 0.5)
    monkeypatch.setattr(endpoint, "WARM_UP_S", 0.2)


# Both dialects, what is sent and what is read


def test_token_ids_go_out_and_come_back_each_to_its_own_row() -> None:
    with FaultyServer() as server:
        answers = ask(server, 40, window=8)
    for answer in answers:
        assert answer.completion is not None
        read = verdict.read(answer.completion, task().contract)
        assert (read.outcome, read.rationale) == (Outcome.labelled, f"row {answer.key}")
        assert answer.completion.cached_tokens == 32
    body = server.calls[0].body
    assert {call.path for call in server.calls} == {"/inference/v1/generate"}
    sampling = body["sampling_params"]
    assert (sampling["max_tokens"], sampling["temperature"], sampling["top_p"]) == (77, 0.5, 0.9)
    assert sampling["stop_token_ids"] == [200002, 200012]
    assert sampling["structured_outputs"] == {"structural_tag": task().contract.structural_tag}


def test_a_server_without_the_token_route_is_asked_for_completions_from_then_on() -> None:
    with FaultyServer(lacks=["/inference/v1/generate"]) as server:
        answers = ask(server, 6)
    assert failures(answers) == {None}
    assert {call.path for call in server.calls} == {"/v1/completions"}
    assert all(call.body["return_token_ids"] for call in server.calls)


def test_completions_without_ids_are_read_from_their_text() -> None:
    from safeguard_spark.engines.protocol import routes

    text = '<|channel|>final<|message|>{"violation": 1, "policy_category": "counterfeit"}<|return|>'
    reply = {"choices": [{"finish_reason": "stop", "text": text}], "usage": {"completion_tokens": 12}}
    completion = routes(Dialect.harmony)[1].read(reply)
    read = verdict.read(completion, task(output=Output.category).contract)
    assert (read.outcome, read.category, completion.completion_tokens) == (Outcome.labelled, "counterfeit", 12)


@pytest.mark.parametrize(
    ("output", "said", "bound"),
    [
        (Output.binary, "1", "structured_outputs"),
        (Output.category, '{"violation": 1, "policy_category": "counterfeit"}', "response_format"),
        (
            Output.full,
            '```json\n{"violation": 1, "category": "counterfeit", "rule_ids": ["M1"]}\n```',
            "response_format",
        ),
    ],
)
def test_chat_reads_every_output_form_and_binds_it(output: Output, said: str, bound: str) -> None:
    what = task(Dialect.chat, output)
    with FaultyServer(said=lambda call: said) as server:
        answers = ask(server, 3, what=what, dialect=Dialect.chat)
    for answer in answers:
        assert answer.completion is not None and answer.completion.reasoning == "because"
        assert verdict.read(answer.completion, what.contract).violation is True
    body = server.calls[0].body
    assert bound in body and body["reasoning_effort"] == "low"
    assert [message["role"] for message in body["messages"]] == ["system", "user"]


def test_older_servers_say_reasoning_content_and_a_refusal_is_text() -> None:
    from safeguard_spark.engines.protocol import routes

    message = {"content": None, "refusal": "I cannot help with that.", "reasoning_content": "hm"}
    completion = routes(Dialect.chat)[0].read({"choices": [{"message": message, "finish_reason": "stop"}]})
    assert (completion.text, completion.reasoning) == ("I cannot help with that.", "hm")


@pytest.mark.parametrize(
    "rejects", [("response_format",), ("reasoning_effort",), ("response_format", "reasoning_effort")]
)
def test_a_server_that_rejects_a_field_is_asked_without_it_from_then_on(rejects: tuple[str, ...]) -> None:
    with FaultyServer(rejects=rejects) as server:
        answers = ask(server, 8, dialect=Dialect.chat)
    assert failures(answers) == {None}
    assert len(server.calls) <= 8 + 3
    assert not set(rejects) & set(server.calls[-1].body)
    kept = {"response_format", "reasoning_effort"} - set(rejects)
    assert kept <= set(server.calls[-1].body)


def test_unstructured_sends_no_bounds() -> None:
    with FaultyServer() as server:
        ask(server, 2, what=task(structured=False))
        ask(server, 2, what=task(Dialect.chat, structured=False), dialect=Dialect.chat)
    assert "structured_outputs" not in server.calls[0].body["sampling_params"]
    assert "response_format" not in server.calls[-1].body


# Where it is and who may ask


def test_a_unix_socket_with_spaces_and_unicode_in_its_path(tmp_path: Path) -> None:
    folder = tmp_path / "ein öder Ort"
    folder.mkdir()
    with FaultyServer(unix=str(folder / "s")) as server:
        assert failures(ask(server)) == {None}


def test_an_address_may_end_in_v1() -> None:
    with FaultyServer() as server:
        assert failures(ask(server.url + "/v1/")) == {None}


def test_nobody_there_is_one_sentence_within_seconds(tmp_path: Path) -> None:
    for url in ("http://127.0.0.1:9", f"unix:{tmp_path / 'none'}"):
        begun = time.monotonic()
        with pytest.raises(EngineError, match=r"cannot be reached: .*; check engine.url and that the server runs\.$"):
            ask(url)
        assert time.monotonic() - begun < 5


def test_a_name_that_does_not_resolve_says_so() -> None:
    with pytest.raises(EngineError, match="its name cannot be resolved"):
        ask("http://no-such-host.invalid:1")


def test_a_server_that_comes_up_a_moment_later_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "REACH_S", 5.0)
    with FaultyServer() as server:
        server.stop()
        threading.Timer(0.5, server.again).start()
        assert failures(ask(server)) == {None}


def test_the_key_comes_from_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_KEY", "k-123\n")
    with FaultyServer() as server:
        ask(server, api_key_env="OUR_KEY")
        assert {call.authorization for call in server.calls} == {"Bearer k-123"}
        monkeypatch.delenv("OUR_KEY")
        with pytest.raises(ConfigError, match=r"variable OUR_KEY, named by engine\.api_key_env, is not set"):
            ask(server, api_key_env="OUR_KEY")


def test_a_key_in_the_address_is_refused_without_repeating_it() -> None:
    with pytest.raises(ConfigError) as caught:
        ask("http://user:pass-word@localhost:1")
    assert "pass-word" not in str(caught.value)


@pytest.mark.parametrize("code", [401, 403])
def test_being_refused_at_first_stops_at_once(code: int) -> None:
    with FaultyServer(always(status(code))) as server:
        with pytest.raises(EngineError, match=f"refuses us: HTTP {code}; check the key") as caught:
            ask(server)
        assert "secret" not in str(caught.value)


def test_a_model_the_server_does_not_have_is_one_sentence() -> None:
    for dialect in Dialect:
        with (
            FaultyServer(model="other") as server,
            pytest.raises(EngineError, match="does not serve the model m on /v1/"),
        ):
            ask(server, dialect=dialect)


def test_a_key_revoked_on_the_way_fails_the_rest_at_once() -> None:
    with FaultyServer(in_turn(*[ANSWER] * 5, then=status(401))) as server:
        with EndpointEngine(config(server.url), 2) as engine:
            answers = list(engine.answers(task(), requests(50)))
            assert engine.unavailable and "refuses us" in engine.unavailable
        assert len(answers) == 50
        assert len(server.calls) <= 5 + 3


# Window, laziness, order


def test_the_window_bounds_what_is_open_and_input_is_pulled_as_it_allows() -> None:
    pulled = 0

    def counted() -> Iterator[Request]:
        nonlocal pulled
        for request in requests(10_000):
            pulled += 1
            yield request

    with FaultyServer(always(slow(0.01))) as server, EndpointEngine(config(server.url), 8) as engine:
        answers = engine.answers(task(), counted())
        for done in range(1, 101):
            next(answers)
            assert pulled <= done + 8
            assert engine.in_flight <= 8
        assert 0 < engine.oldest_s < 5
        answers.close()  # type: ignore[attr-defined]
        assert engine.in_flight == 0 and engine.oldest_s == 0.0
        assert server.most_open <= 8


def test_the_first_request_goes_alone_so_that_the_policy_is_cached() -> None:
    with FaultyServer(in_turn(slow(0.15))) as server:
        ask(server, 10, window=8)
    first, second = server.calls[0], server.calls[1]
    assert second.at - first.at >= 0.14


def test_a_slow_first_answer_does_not_hold_the_window_shut() -> None:
    begun = time.monotonic()
    with FaultyServer(in_turn(slow(3.0))) as server:
        answers = ask(server, 10, window=4)
    assert answers[-1].key == 0
    assert server.calls[9].at - begun < 2.5


def test_answers_leave_as_they_finish() -> None:
    with FaultyServer(lambda call: slow(1.0) if row_of(call.text) == 1 else ANSWER) as server:
        keys = [answer.key for answer in ask(server, 20, window=4)]
    assert keys[-1] == 1


def test_no_requests_reach_nobody() -> None:
    with EndpointEngine(config("http://127.0.0.1:9"), 4) as engine:
        assert list(engine.answers(task(), [])) == []


def test_one_engine_answers_one_call_after_the_other() -> None:
    with FaultyServer() as server, EndpointEngine(config(server.url), 4) as engine:
        for _ in range(3):
            assert len(list(engine.answers(task(), requests(7)))) == 7


def test_an_error_of_the_input_passes_through_and_ends_what_is_open() -> None:
    def broken() -> Iterator[Request]:
        yield from requests(3)
        raise RuntimeError("input")

    with FaultyServer(always(slow(0.2))) as server, EndpointEngine(config(server.url), 8) as engine:
        with pytest.raises(RuntimeError, match="input"):
            list(engine.answers(task(), broken()))
        assert engine.in_flight == 0


def test_no_thread_is_left() -> None:
    before = threading.active_count()
    with FaultyServer() as server:
        ask(server)
    assert threading.active_count() == before
