"""The endpoint engine: requests and replies, addresses and credentials, and the window."""

import asyncio
import logging
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from safeguard_spark.config.engine import Dialect
from safeguard_spark.engines.endpoint import EndpointEngine
from safeguard_spark.engines.protocol import CHAT, COMPLETIONS, ROUTES
from safeguard_spark.engines.transport import Transport
from safeguard_spark.errors import ConfigError, EngineError
from safeguard_spark.labelling import verdict
from safeguard_spark.labelling.engine import Answer, Decided, Request
from safeguard_spark.labelling.verdict import Outcome, Verdict
from safeguard_spark.policy.document import Output
from tests.build import call_spec, until
from tests.engine_calls import FAST, ask, config, failures, requests
from tests.faulty_server import ANSWER, FaultyServer, always, in_turn, row_of, slow, status

pytestmark = pytest.mark.unit


# Requests and replies in both dialects


def test_token_ids_are_sent_and_each_answer_belongs_to_its_row() -> None:
    with FaultyServer() as server:
        answers = ask(server, 40, window=8)
    for answer in answers:
        assert answer.completion is not None
        result = verdict.read(answer.completion, call_spec().contract)
        assert (result.outcome, result.rationale) == (Outcome.labelled, f"row {answer.key}")
        assert answer.completion.cached_tokens == 32
    body = server.calls[0].body
    assert {call.path for call in server.calls} == {"/inference/v1/generate"}
    sampling = body["sampling_params"]
    assert (sampling["max_tokens"], sampling["temperature"], sampling["top_p"]) == (77, 0.5, 0.9)
    assert sampling["stop_token_ids"] == [200002, 200012]
    assert sampling["structured_outputs"] == {"structural_tag": call_spec().contract.structural_tag}


def test_a_server_without_the_token_route_gets_all_later_requests_as_completions() -> None:
    with FaultyServer(lacks=["/inference/v1/generate"]) as server:
        answers = ask(server, 6)
    assert failures(answers) == {None}
    assert {call.path for call in server.calls} == {"/v1/completions"}
    assert all(call.body["return_token_ids"] for call in server.calls)


def test_a_completion_without_token_ids_is_read_from_its_text() -> None:
    text = '<|channel|>final<|message|>{"violation": 1, "policy_category": "counterfeit"}<|return|>'
    reply = {"choices": [{"finish_reason": "stop", "text": text}], "usage": {"completion_tokens": 12}}
    completion = ROUTES[COMPLETIONS].read(reply)
    result = verdict.read(completion, call_spec(output=Output.category).contract)
    assert (result.outcome, result.category, completion.completion_tokens) == (Outcome.labelled, "counterfeit", 12)


@pytest.mark.parametrize(
    ("output", "text", "structured_field"),
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
def test_chat_reads_and_constrains_every_output_form(output: Output, text: str, structured_field: str) -> None:
    spec = call_spec(Dialect.chat, output)
    with FaultyServer(text_of=lambda call: text) as server:
        answers = ask(server, 3, spec=spec, dialect=Dialect.chat)
    for answer in answers:
        assert answer.completion is not None and answer.completion.reasoning == "because"
        assert verdict.read(answer.completion, spec.contract).violation is True
    body = server.calls[0].body
    assert structured_field in body and body["reasoning_effort"] == "low"
    assert [message["role"] for message in body["messages"]] == ["system", "user"]


def test_reasoning_content_of_older_servers_is_read_and_a_refusal_is_the_text() -> None:
    message = {"content": None, "refusal": "I cannot help with that.", "reasoning_content": "hm"}
    completion = ROUTES[CHAT].read({"choices": [{"message": message, "finish_reason": "stop"}]})
    assert (completion.text, completion.reasoning) == ("I cannot help with that.", "hm")


def test_unstructured_requests_have_no_output_constraints() -> None:
    with FaultyServer() as server:
        ask(server, 2, spec=call_spec(structured=False))
        ask(server, 2, spec=call_spec(Dialect.chat, structured=False), dialect=Dialect.chat)
    assert "structured_outputs" not in server.calls[0].body["sampling_params"]
    assert "response_format" not in server.calls[-1].body


# Addresses and credentials


def test_a_unix_socket_with_spaces_and_unicode_in_its_path(tmp_path: Path) -> None:
    folder = tmp_path / "ein öder Ort"
    folder.mkdir()
    with FaultyServer(unix=str(folder / "s")) as server:
        assert failures(ask(server)) == {None}


def test_an_address_may_end_in_v1() -> None:
    with FaultyServer() as server:
        assert failures(ask(server.url + "/v1/")) == {None}


def test_an_address_without_a_server_is_one_sentence_within_seconds(tmp_path: Path) -> None:
    for url in ("http://127.0.0.1:9", f"unix:{tmp_path / 'none'}"):
        started = time.monotonic()
        with pytest.raises(EngineError, match=r"cannot be reached: .*; check engine.url and that the server runs\.$"):
            ask(url)
        assert time.monotonic() - started < 60


def test_a_host_name_that_does_not_resolve_is_reported() -> None:
    with pytest.raises(EngineError, match="its name cannot be resolved"):
        ask("http://no-such-host.invalid:1")


def test_a_server_that_starts_a_moment_later_is_waited_for() -> None:
    with FaultyServer() as server:
        server.stop()
        threading.Timer(0.5, server.start_again).start()
        assert failures(ask(server, timings=replace(FAST, unreachable_s=5.0))) == {None}


def test_the_key_comes_from_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_KEY", "k-123\n")
    with FaultyServer() as server:
        ask(server, api_key_env="OUR_KEY")
        assert {call.authorization for call in server.calls} == {"Bearer k-123"}
        monkeypatch.delenv("OUR_KEY")
        with pytest.raises(ConfigError, match=r"variable that engine\.api_key_env names is not set"):
            ask(server, api_key_env="OUR_KEY")


def test_a_key_that_stands_where_its_variable_should_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultyServer() as server:
        for key in ("gsk_0pensesame", "AKIA0PENSESAME"):
            with pytest.raises(ConfigError, match=r"engine\.api_key_env") as caught:
                ask(server, api_key_env=key)
            assert key not in str(caught.value)
        monkeypatch.setenv("OUR_KEY", "open\u2028sesame")
        with pytest.raises(ConfigError, match="does not contain an API key") as caught:
            ask(server, api_key_env="OUR_KEY")
        assert "sesame" not in str(caught.value) and not server.calls


def test_a_key_in_the_address_is_refused_without_repeating_it() -> None:
    with pytest.raises(ConfigError) as caught:
        ask("http://user:pass-word@localhost:1")
    assert "pass-word" not in str(caught.value)


@pytest.mark.parametrize("code", [401, 403])
def test_rejected_credentials_stop_at_the_first_request(code: int) -> None:
    with FaultyServer(always(status(code))) as server:
        with pytest.raises(EngineError, match=f"denies access: HTTP {code}; check the key") as caught:
            ask(server)
        assert "secret" not in str(caught.value)


def test_a_model_the_server_does_not_have_is_one_sentence() -> None:
    for dialect in Dialect:
        with (
            FaultyServer(model="other") as server,
            pytest.raises(EngineError, match="does not serve the model m: HTTP 404 on /v1/"),
        ):
            ask(server, dialect=dialect)


def test_a_certificate_that_cannot_be_verified_is_not_reported_as_a_wrong_key(tmp_path: Path) -> None:
    message = r"is not trusted: its certificate cannot be verified; check engine\.url"
    with FaultyServer(tls=self_signed(tmp_path)) as server, pytest.raises(EngineError, match=message):
        ask(server)
    assert not server.calls


def self_signed(folder: Path) -> ssl.SSLContext:
    """A server's TLS with a certificate that no client trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(hours=1))
    certificate = builder.sign(key, hashes.SHA256())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "pem").write_bytes(pem + certificate.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "pem")
    return context


def test_an_engine_that_becomes_unavailable_is_logged_once_with_its_run(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "safeguard_spark.engines")
    with (
        FaultyServer(in_turn(*[ANSWER] * 5, then=status(401))) as server,
        EndpointEngine(config(server.url), 4, run_id="r-7", timings=FAST) as engine,
    ):
        list(engine.answers(call_spec(), requests(50)))
        expected = f"Run r-7: engine at {server.url} is unavailable: {engine.unavailable}"
    assert [record.getMessage() for record in caplog.records] == [expected]


def test_a_key_revoked_during_a_run_fails_the_remaining_requests_at_once() -> None:
    with FaultyServer(in_turn(*[ANSWER] * 5, then=status(401))) as server:
        with EndpointEngine(config(server.url), 2, timings=FAST) as engine:
            answers = list(engine.answers(call_spec(), requests(50)))
            assert engine.unavailable and "denies access" in engine.unavailable
        assert len(answers) == 50
        assert len(server.calls) <= 5 + 3


# The window, lazy input, order


def test_the_window_limits_open_requests_and_how_much_input_is_pulled() -> None:
    pulled = 0

    def counted_requests() -> Iterator[Request]:
        nonlocal pulled
        for request in requests(10_000):
            pulled += 1
            yield request

    with FaultyServer(always(slow(0.01))) as server, EndpointEngine(config(server.url), 8, timings=FAST) as engine:
        answers = engine.answers(call_spec(), counted_requests())
        for answered in range(1, 101):
            next(answers)
            assert pulled <= answered + 8
            assert engine.in_flight <= 8
        assert 0 < engine.oldest_s < 60
        answers.close()  # type: ignore[attr-defined]
        assert engine.in_flight == 0 and engine.oldest_s == 0.0
        assert server.max_open <= 8


def test_the_first_request_is_sent_alone_so_that_the_policy_is_cached() -> None:
    with FaultyServer(in_turn(slow(0.15))) as server:
        ask(server, 10, window=8)
    first, second = server.calls[0], server.calls[1]
    assert second.at - first.at >= 0.14


def test_a_slow_first_answer_does_not_block_the_window() -> None:
    started = time.monotonic()
    with FaultyServer(in_turn(slow(1.5))) as server:
        answers = ask(server, 10, window=4)
    assert answers[-1].key == 0
    assert server.calls[9].at - started < 1.2


def test_answers_are_yielded_as_they_finish() -> None:
    with FaultyServer(lambda call: slow(3.0) if row_of(call.text) == 1 else ANSWER) as server:
        keys = [answer.key for answer in ask(server, 20, window=4)]
    assert keys[-1] == 1


def test_without_requests_no_server_is_contacted() -> None:
    with EndpointEngine(config("http://127.0.0.1:9"), 4, timings=FAST) as engine:
        assert list(engine.answers(call_spec(), [])) == []


def test_decided_rows_are_answered_at_once_without_a_server_and_in_a_full_window() -> None:
    decided = [Decided(number, Verdict(Outcome.empty)) for number in range(100, 110)]
    with EndpointEngine(config("http://127.0.0.1:9"), 4, timings=FAST) as engine:
        answers = engine.answers(call_spec(), [*decided, *requests(1)])
        assert [next(answers) for _ in decided] == [Answer(row.key, verdict=row.verdict) for row in decided]
        with pytest.raises(EngineError, match="cannot be reached"):
            next(answers)
    with FaultyServer() as server, EndpointEngine(config(server.url), 1, timings=FAST) as engine:
        mixed = [row for pair in zip(requests(10), decided, strict=True) for row in pair]
        results = {answer.key: answer.verdict for answer in engine.answers(call_spec(), mixed)}
    assert results == {**dict.fromkeys(range(10)), **{row.key: row.verdict for row in decided}}
    assert len(server.calls) == 10


def test_an_engine_answers_several_calls_in_a_row() -> None:
    with FaultyServer() as server, EndpointEngine(config(server.url), 4, timings=FAST) as engine:
        for _ in range(3):
            assert len(list(engine.answers(call_spec(), requests(7)))) == 7


def test_an_error_of_the_input_is_raised_and_cancels_open_requests() -> None:
    def failing_requests() -> Iterator[Request]:
        yield from requests(3)
        raise RuntimeError("input")

    with FaultyServer(always(slow(0.2))) as server, EndpointEngine(config(server.url), 8, timings=FAST) as engine:
        with pytest.raises(RuntimeError, match="input"):
            list(engine.answers(call_spec(), failing_requests()))
        assert engine.in_flight == 0


def test_no_thread_is_left_running() -> None:
    before = threading.active_count()
    with FaultyServer() as server:
        ask(server)
    assert threading.active_count() == before


def test_connections_that_do_not_close_in_time_fail_no_answer_and_leave_no_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    close = Transport.close

    async def slow_close(transport: Transport) -> None:
        try:
            await asyncio.sleep(30)
        finally:
            await close(transport)

    monkeypatch.setattr(Transport, "close", slow_close)
    before = threading.active_count()
    with FaultyServer() as server:
        answers = ask(server, timings=replace(FAST, close_s=0.5))
    assert failures(answers) == {None}
    until(lambda: threading.active_count() == before)
