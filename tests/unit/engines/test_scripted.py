"""The shipped fake: it follows its script in the policy's form and the labeler's dialect."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from safeguard_spark.config.engine import Dialect, ScriptedConfig
from safeguard_spark.config.load import build_config
from safeguard_spark.engines.factory import open_engine
from safeguard_spark.engines.scripted import ScriptedEngine
from safeguard_spark.errors import ConfigError
from safeguard_spark.labelling import prompt, verdict
from safeguard_spark.labelling.content import from_text
from safeguard_spark.labelling.engine import Answer, CallSpec, Request
from safeguard_spark.labelling.verdict import Outcome, Verdict
from safeguard_spark.policy.document import Effort, Output
from tests.build import SCRIPT, call_spec

pytestmark = pytest.mark.unit

WORDS = {**SCRIPT["words"], "other": "M9"}


def config(**args: Any) -> ScriptedConfig:
    return ScriptedConfig.model_validate({"args": {**SCRIPT, "words": WORDS, **args}})


def requests(spec: CallSpec, *texts: str) -> Iterator[Request]:
    for number, text in enumerate(texts):
        chat = spec.labeler.dialect is Dialect.chat
        content = from_text(text)
        yield Request(number, prompt.chat("P", content) if chat else prompt.harmony("P", Effort.low, content))


def ask(spec: CallSpec, *texts: str, **args: Any) -> list[Answer]:
    with open_engine(config(**args), run_id="r", window=1, devices=[]) as engine:
        assert isinstance(engine, ScriptedEngine)
        return list(engine.answers(spec, requests(spec, *texts)))


def read(spec: CallSpec, text: str) -> Verdict:
    (answer,) = ask(spec, text)
    assert answer.completion is not None
    return verdict.read(answer.completion, spec.contract)


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("output", Output)
def test_words_decide_the_answer_in_every_form_and_dialect(output: Output, dialect: Dialect) -> None:
    spec = call_spec(dialect, output)
    result = read(spec, "A REPLICA with a rifle")
    assert (result.outcome, result.violation, result.reasoning) == (Outcome.labelled, True, "The script says so.")
    if output is not Output.binary:
        assert result.category == "counterfeit"
    assert read(spec, "a table").violation is False
    assert read(spec, "some other thing").violation is False  # the policy has no such rule


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize(
    ("word", "outcome"),
    [("zzrefuse", Outcome.refused), ("zzgarbage", Outcome.unparseable), ("zzcut", Outcome.truncated)],
)
def test_it_misbehaves_on_demand(dialect: Dialect, word: str, outcome: Outcome) -> None:
    assert read(call_spec(dialect=dialect), f"a {word} here").outcome is outcome


def test_a_word_matches_in_any_case() -> None:
    spec = call_spec()
    for word, text in (("Schlüssel", "den schlüssel"), ("PASS", "Ihr Pass")):
        (answer,) = ask(spec, text, words={word: "M1"})
        assert answer.completion is not None and verdict.read(answer.completion, spec.contract).violation
    (failed,) = ask(spec, "ein KURIER", misbehave={"Kurier": "fail"})
    assert failed.failure == "scripted failure"


def test_a_failed_call_has_a_cause_and_no_completion() -> None:
    assert ask(call_spec(), "zzfail", "fine")[0] == Answer(0, None, "scripted failure")


def test_answers_come_back_by_key_and_tokens_are_counted() -> None:
    answers = ask(call_spec(), "a", "b", "c")
    assert [answer.key for answer in answers] == [0, 1, 2]
    for answer, request in zip(answers, requests(call_spec(), "a", "b", "c"), strict=True):
        assert answer.completion is not None
        assert answer.completion.prompt_tokens == len(request.prompt.token_ids or ())
        assert answer.completion.completion_tokens == len(answer.completion.token_ids or ())


def test_calls_of_all_engines_are_counted_in_a_file(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    ask(call_spec(), "a", "zzfail", calls_file=str(calls))
    ask(call_spec(), "b", calls_file=str(calls))
    assert calls.stat().st_size == 3


def test_it_pulls_one_request_at_a_time_starts_no_server_and_stays_available() -> None:
    engine = ScriptedEngine(config())
    pulled = []

    def watched() -> Iterator[Request]:
        for request in requests(call_spec(), "a", "b", "c"):
            pulled.append(request.key)
            yield request

    for answer in engine.answers(call_spec(), watched()):
        assert pulled[-1] == answer.key and engine.oldest_s == 0.0
    assert engine.server_ids == frozenset() and engine.unavailable is None


@pytest.mark.parametrize(
    ("args", "message"),
    [({"word": {}}, "engine.args.word"), ({"misbehave": {"a": "explode"}}, "engine.args.misbehave.a"),
     ({"latency_s": "soon"}, "engine.args.latency_s")],
)  # fmt: skip
def test_a_wrong_script_is_the_operators_error(args: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_config({"engine": {"kind": "scripted", "args": args}})


def test_latency_is_waited_for_on_every_call() -> None:
    started = time.monotonic()
    ask(call_spec(), "a", "b", latency_s=0.01)
    assert time.monotonic() - started >= 0.02


def test_noise_gives_a_share_of_contents_another_verdict_the_same_each_time() -> None:
    texts = [f"a replica {n}" if n % 2 else f"a table {n}" for n in range(200)]

    def violations(**args: Any) -> list[bool | None]:
        answers = ask(call_spec(), *texts, **args)
        return [verdict.read(a.completion, call_spec().contract).violation for a in answers if a.completion]

    plain, some, every = violations(), violations(noise=0.2), violations(noise=1.0)
    assert violations(noise=0.2) == some
    assert all(one != other for one, other in zip(plain, every, strict=True))
    assert 20 <= sum(one != other for one, other in zip(plain, some, strict=True)) <= 60
