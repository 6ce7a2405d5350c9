"""How a request must be written: found on one request, kept for the run, and never less than the labeler says."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from safeguard_spark.config.engine import Dialect
from safeguard_spark.engines.endpoint import EndpointEngine
from safeguard_spark.engines.protocol import forms
from safeguard_spark.engines.timings import Timings
from safeguard_spark.errors import EngineError
from safeguard_spark.labelling import prompt
from safeguard_spark.labelling.content import from_text
from safeguard_spark.labelling.engine import Answer, CallSpec, Request
from safeguard_spark.labelling.rows import MIN_SECOND_LOOKS, LabelSpec, Row, label_rows
from safeguard_spark.labelling.verdict import Outcome
from safeguard_spark.policy.document import Effort
from tests.build import call_spec, policy
from tests.engine_calls import FAST, ask, config, failures, requests
from tests.faulty_server import ANSWER, Behavior, Call, FaultyServer, in_turn, malformed, row_of, slow, status

pytestmark = pytest.mark.unit
CHAT = call_spec(Dialect.chat)
Refuses = Callable[[dict[str, Any]], bool]


def refusal(**error: object) -> Behavior:
    return status(400, raw=json.dumps({"error": {"message": "secret row 1", **error}}).encode())


def refuses(what: Refuses, behavior: Behavior) -> Callable[[Call], Behavior]:
    """A server that does not take some requests, whatever their content."""
    return lambda call: behavior if what(call.body) else slow(0.02)


def with_labeler(**changes: Any) -> CallSpec:
    return replace(CHAT, labeler=CHAT.labeler.model_copy(update=changes))


def label(
    server: FaultyServer, spec: CallSpec = CHAT, count: int = 60, timings: Timings = FAST
) -> tuple[list[Answer], list[dict[str, Any]]]:
    """The answers, and the forms that the engine reports."""
    dialect = spec.labeler.dialect
    with EndpointEngine(config(server.url, dialect=dialect), 16, timings=timings) as engine:
        answers = list(engine.answers(spec, requests(count, dialect)))
        return answers, [json.loads(form) for form in engine.forms]


def has(field: str) -> Refuses:
    return lambda body: field in body


def has_system(body: dict[str, Any]) -> bool:
    return any(message["role"] == "system" for message in body["messages"])


TAKEN = {
    "max_tokens": (has("max_tokens"), {"code": "unsupported_parameter", "param": "max_tokens"}, "limit_field"),
    "max_tokens, unnamed": (has("max_tokens"), {}, "limit_field"),
    "system": (has_system, {"param": "messages[0].role"}, "policy_role"),
    "system, unnamed": (has_system, {"type": "invalid_request_error"}, "policy_role"),
    "both": (lambda body: has("max_tokens")(body) or has_system(body), {}, "limit_field"),
}


@pytest.mark.parametrize(("what", "error", "field"), TAKEN.values(), ids=TAKEN)
def test_a_form_that_does_the_same_is_found_on_one_request_and_kept(
    what: Refuses, error: dict[str, object], field: str
) -> None:
    with FaultyServer(refuses(what, refusal(**error))) as server:
        answers, (form,) = label(server)
        assert failures(answers) == {None}
        refused = [call for call in server.calls if what(call.body)]
        assert len(refused) <= 4 and len(server.calls) <= 60 + 1 + len(refused)
        assert form[field] != forms(CHAT)[0]._asdict()[field]
        assert "A policy." in str(server.calls[-1].body) and "row" in server.calls[-1].text


def test_a_validation_error_of_another_style_is_read_too() -> None:
    error = status(422, raw=json.dumps({"detail": [{"loc": ["body", "max_tokens"], "msg": "secret"}]}).encode())
    with FaultyServer(refuses(has("max_tokens"), error)) as server:
        answers, _ = label(server)
        assert failures(answers) == {None} and len(server.calls) <= 60 + 2


LOSSY = {
    "structure": (has("response_format"), {"param": "response_format"}, "set labeler.structured=false,"),
    "structure, unnamed": (has("response_format"), {}, "set labeler.structured=false,"),
    "effort": (has("reasoning_effort"), {"code": "unknown_parameter"}, "set labeler.effort=none,"),
    "temperature": (
        lambda body: body.get("temperature", 1) != 1, {"code": "unsupported_value", "param": "temperature"},
        "HTTP 400, unsupported_value for temperature; set labeler.temperature=1, labeler.top_p=1,",
    ),
    "structure and effort": (
        lambda body: bool({"response_format", "reasoning_effort"} & set(body)), {},
        "set labeler.structured=false, labeler.effort=none,",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("what", "error", "message"), LOSSY.values(), ids=LOSSY)
def test_a_form_that_does_less_than_the_labeler_says_is_refused_with_the_setting(
    what: Refuses, error: dict[str, object], message: str
) -> None:
    with FaultyServer(refuses(what, refusal(**error))) as server:
        with pytest.raises(EngineError, match=message) as caught:
            label(server)
        assert "secret" not in str(caught.value) and len(server.calls) <= len(forms(CHAT)) + 1


def test_with_that_setting_the_run_works() -> None:
    with FaultyServer(refuses(has("response_format"), refusal())) as server:
        assert failures(label(server, call_spec(Dialect.chat, structured=False))[0]) == {None}
    with FaultyServer(refuses(has("reasoning_effort"), refusal())) as server:
        assert failures(label(server, with_labeler(effort=Effort.none))[0]) == {None}
    temperature = refuses(lambda body: "temperature" in body, refusal(param="temperature"))
    with FaultyServer(temperature) as server:
        assert failures(label(server, with_labeler(temperature=1.0, top_p=1.0))[0]) == {None}


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("error", [{}, {"code": "bad_thing", "param": "model"}], ids=["unnamed", "named"])
def test_an_endpoint_that_refuses_every_form_is_asked_once_for_each(dialect: Dialect, error: dict[str, object]) -> None:
    spec = call_spec(dialect)
    with FaultyServer(lambda call: refusal(**error)) as server:
        with pytest.raises(EngineError, match="refuses the form of the requests: HTTP 400") as caught:
            # On a busy machine a refusal may take longer than FAST waits for one.
            label(server, spec, count=2000, timings=replace(FAST, accepted_s=30.0))
        assert len(server.calls) <= len(forms(spec))
        assert ("bad_thing for model" in str(caught.value)) == bool(error)
        assert ("engine.dialect=chat" in str(caught.value)) == (dialect is Dialect.harmony)
        assert "secret" not in str(caught.value)


def test_token_ids_that_are_refused_name_the_other_dialect() -> None:
    """As Ollama, whose completions take one text."""
    script = refuses(lambda body: isinstance(body.get("prompt"), list), refusal())
    with (
        FaultyServer(script, lacks=["/inference/v1/generate"]) as server,
        pytest.raises(EngineError, match=r"needs engine\.dialect=chat"),
    ):
        ask(server, 100)


@pytest.mark.parametrize("code", [403, 404, 405])
def test_a_path_that_is_not_offered_is_not_a_wrong_key(code: int) -> None:
    script = lambda call: status(code) if call.path == "/inference/v1/generate" else ANSWER  # noqa: E731
    with FaultyServer(script) as server:
        answers, (form,) = label(server, call_spec())
        assert failures(answers) == {None} and form["path"] == "/v1/completions"
        assert len(server.calls) == 61


@pytest.mark.parametrize("bad_row", [0, 7])
def test_one_rows_rejection_changes_the_form_of_no_other_row(bad_row: int) -> None:
    rejection = refusal(code="json_validate_failed")
    with FaultyServer(lambda call: rejection if row_of(call.text) == bad_row else ANSWER) as server:
        answers, (form,) = label(server, count=20)
        assert all("reasoning_effort" in call.body and "response_format" in call.body for call in server.calls)
        assert form == forms(CHAT)[0]._asdict()
    assert {a.key: a.failure for a in answers if a.failure} == {bad_row: "HTTP 400, json_validate_failed"}


def test_an_endpoint_that_stops_taking_the_form_ends_the_run_and_not_its_rows() -> None:
    with FaultyServer(in_turn(*[ANSWER] * 10, then=refusal(code="unsupported_parameter"))) as server:
        answers, _ = label(server, count=300)
        assert len(server.calls) < 60
    failed = [answer for answer in answers if not answer.completion]
    assert len(failed) == 290 and all(answer.unavailable for answer in failed)
    assert "refuses the form of the requests: HTTP 400, unsupported_parameter" in str(failed[0].failure)


# Content filters


FILTERED = {
    "azure": {"code": "content_filter", "innererror": {"code": "ResponsibleAIPolicyViolation"}},
    "inner only": {"code": None, "innererror": {"code": "ResponsibleAIPolicyViolation"}},
    "deeper": {"code": "400", "innererror": {"innererror": {"code": "content_filter"}}},
    "openai": {"code": "invalid_prompt", "type": "invalid_request_error"},
}


@pytest.mark.parametrize("error", FILTERED.values(), ids=FILTERED)
@pytest.mark.parametrize("filtered", [0, 5])
def test_a_filtered_prompt_is_a_completion_that_says_so(error: dict[str, object], filtered: int) -> None:
    behavior = refusal(**error)
    with FaultyServer(lambda call: behavior if row_of(call.text) == filtered else ANSWER) as server:
        answers, _ = label(server, count=12)
    reasons = {answer.key: answer.completion and answer.completion.finish_reason for answer in answers}
    assert reasons == {key: "content_filter" if key == filtered else "stop" for key in range(12)}


def test_a_filter_that_stops_the_policy_itself_decides_no_row() -> None:
    with (
        FaultyServer(lambda call: refusal(code="content_filter")) as server,
        pytest.raises(EngineError, match="refuses this policy by its content filter"),
    ):
        label(server, count=200)
    assert len(server.calls) <= 2


# Prompts that are cut


@pytest.mark.parametrize("dialect", Dialect)
def test_a_server_that_read_less_than_the_policy_gives_no_label(dialect: Dialect) -> None:
    body, spec = "Nobody may sell replicas here. " * 50, call_spec(dialect)
    contents = [from_text(f"row {number} is here") for number in range(100)]
    prompts = [
        prompt.chat(body, content) if dialect is Dialect.chat else prompt.harmony(body, Effort.low, content)
        for content in contents
    ]
    with (
        FaultyServer(prompt_tokens=lambda sent: min(sent, 128)) as server,
        EndpointEngine(config(server.url, dialect=dialect), 16, timings=FAST) as engine,
    ):
        with pytest.raises(
            EngineError, match=r"cut off the policy: it read 128 of \d+ tokens or more; serve the model"
        ):
            list(engine.answers(spec, [Request(number, item) for number, item in enumerate(prompts)]))
        assert len(server.calls) == 1


def test_a_content_of_which_the_server_read_a_part_is_too_long() -> None:
    rows = list(requests(9))
    limit = len(rows[0].prompt.token_ids or ())
    rows[4] = rows[4]._replace(prompt=rows[4].prompt._replace(token_ids=[*(rows[4].prompt.token_ids or ()), 7]))
    with (
        FaultyServer(prompt_tokens=lambda sent: min(sent, limit)) as server,
        EndpointEngine(config(server.url), 4, timings=FAST) as engine,
    ):
        answers = list(engine.answers(call_spec(), rows))
    assert {answer.key for answer in answers if answer.too_long} == {4}
    assert all(answer.completion for answer in answers if answer.key != 4)


@pytest.mark.parametrize("labeler", [{"effort": "low"}, {"structured": False, "second_look": "structured"}])
def test_an_endpoint_that_takes_no_second_looks_is_asked_once_and_answers_the_others(labeler: dict[str, Any]) -> None:
    def is_second(body: dict[str, Any]) -> bool:
        return body.get("reasoning_effort") == "medium" if "effort" in labeler else "response_format" in body

    settings = {"temperature": 0.0, "second_look": "effort", **labeler}
    spec = LabelSpec(policy(), call_spec(Dialect.chat, **settings).labeler)
    rows = [Row(number, from_text(f"row {number} is here")) for number in range(40)]
    with FaultyServer(refuses(is_second, refusal()), text_of=lambda call: "no answer") as server:
        with EndpointEngine(config(server.url, dialect=Dialect.chat), 8, timings=FAST) as engine:
            labelled = list(label_rows(spec, engine, rows))
            assert engine.unavailable is None
        sent = [row_of(call.text) for call in server.calls if is_second(call.body)]
    assert {(row.verdict.outcome, len(row.calls)) for row in labelled} == {(Outcome.unparseable, 1)}
    assert len(labelled) == 40 and sum(row.over_share for row in labelled) == 40 - MIN_SECOND_LOOKS
    assert 1 <= len({row for row in sent if row >= 0}) <= 8 and len(sent) <= 20


def test_a_server_that_takes_no_top_p_and_does_not_say_so_is_sent_none_where_it_decides_nothing() -> None:
    greedy = with_labeler(temperature=0.0, top_p=1.0)
    with FaultyServer(refuses(has("top_p"), refusal())) as server:
        answers, forms_found = label(server, greedy)
    assert failures(answers) == {None} and [form["top_p"] for form in forms_found] == [False]
    with FaultyServer(refuses(has("top_p"), refusal())) as server, pytest.raises(EngineError) as refused:
        label(server)  # a labeler whose top_p counts
    assert "labeler.top_p=1" in str(refused.value)


@pytest.mark.parametrize("behavior_path", ["/inference/v1/generate", "/v1/completions"])
def test_a_chat_server_under_the_harmony_dialect_is_named_at_once(behavior_path: str) -> None:
    reply = json.dumps({"choices": [{"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]})

    def behave(call: Call) -> Behavior:
        return malformed(reply.encode()) if call.path == behavior_path else status(404)

    started = time.monotonic()
    with (
        FaultyServer(behave) as server,
        pytest.raises(EngineError, match=r"as a chat server; set engine\.dialect=chat"),
    ):
        label(server, call_spec())
    assert time.monotonic() - started < 60
