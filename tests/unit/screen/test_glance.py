"""A glance: the final channel is opened, one token is asked for, and its log odds are the score."""

import numpy as np
import pytest

from safeguard_spark.config.engine import ScriptedConfig
from safeguard_spark.engines.protocol import GENERATE, ROUTES, forms
from safeguard_spark.engines.scripted import ScriptedEngine
from safeguard_spark.errors import ConfigError
from safeguard_spark.labelling.content import Content
from safeguard_spark.labelling.glance import glance_of
from safeguard_spark.labelling.prompt import harmony, harmony_encoding
from safeguard_spark.policy.document import Answers, Output
from safeguard_spark.screen.glance import GlanceScreen
from tests.build import SCRIPT, label_spec, policy

pytestmark = pytest.mark.unit

ENGINE = ScriptedEngine(ScriptedConfig.model_validate({"args": SCRIPT}))


@pytest.mark.parametrize(
    ("output", "answers", "opening", "words"),
    [
        (Output.full, None, '{"violation": ', ("0", "1")),
        (Output.binary, None, "", ("0", "1")),
        (Output.category, Answers(violation=("block",), safe=("allow",)), '{"violation": "', ("allow", "block")),
    ],
)
def test_the_final_channel_is_opened_up_to_the_answer(
    output: Output, answers: Answers | None, opening: str, words: tuple[str, str]
) -> None:
    spec = label_spec(policy().model_copy(update={"output": output, "answers": answers}))
    glance, encoding = glance_of(spec), harmony_encoding()
    prompt = glance.prompt(harmony(spec.policy.body, spec.labeler.effort, Content("a table")))
    text = encoding.decode(prompt.token_ids)
    assert text.endswith(f"<|start|>assistant<|channel|>final<|message|>{opening}")
    assert tuple(encoding.decode([token]) for token in (glance.safe, glance.violation)) == words
    # The tokens are those that the model would write itself, if it began its answer so.
    whole = encoding.encode(opening + words[1], disallowed_special=())
    assert [*glance.forced[3:], glance.violation] == whole


def test_violations_score_higher_and_what_needs_no_model_has_no_score() -> None:
    scores = GlanceScreen(label_spec(policy()), ENGINE).scores([Content("a table"), Content("a replica"), Content("")])
    assert scores[0] < 0 < scores[1] and np.isnan(scores[2])


def test_a_content_that_the_engine_does_not_answer_has_no_score() -> None:
    scores = GlanceScreen(label_spec(policy()), ENGINE).scores([Content("zzfail a replica"), Content("a replica")])
    assert np.isnan(scores[0]) and scores[1] > 0


def test_a_request_asks_for_one_token_and_the_reply_is_read_by_token() -> None:
    spec = label_spec(policy())
    glance = glance_of(spec)
    call = spec.call_spec.__class__(spec.labeler, spec.call_spec.contract, glance=glance)
    prompt = glance.prompt(harmony(spec.policy.body, spec.labeler.effort, Content("a table")))
    (form,) = forms(call)  # no other endpoint gives the odds of two tokens
    body = ROUTES[form.path].body("m", call, prompt, form)
    assert body["token_ids"] == prompt.token_ids
    assert body["sampling_params"]["max_tokens"] == 1
    tokens = body["sampling_params"]["logprob_token_ids"]
    # vLLM lists the generated token and the named ones without repetition, and of all these the first `logprobs`.
    assert set(tokens) == {glance.safe, glance.violation} and body["sampling_params"]["logprobs"] == len(tokens) == 3
    listed = [{"token_id": glance.safe, "logprob": -0.2, "rank": 1}, {"token_id": glance.violation, "logprob": -1.8}]
    choice = {"finish_reason": "length", "token_ids": [glance.safe]}
    logprobs = {"content": [{"token_id": glance.safe, "logprob": -0.2, "top_logprobs": listed}]}
    read = ROUTES[GENERATE].read({"choices": [{**choice, "logprobs": logprobs}]})
    assert read.logprobs == {glance.safe: -0.2, glance.violation: -1.8}
    for broken in (None, {}, {"content": []}, {"content": [{"top_logprobs": [{}]}]}):
        assert ROUTES[GENERATE].read({"choices": [{**choice, "logprobs": broken}]}).logprobs is None


def test_a_glance_needs_harmony_and_answers_that_begin_differently() -> None:
    with pytest.raises(ConfigError, match=r"needs engine\.dialect=harmony"):
        glance_of(label_spec(policy(), engine={"kind": "scripted", "dialect": "chat"}))
    alike = policy().model_copy(update={"answers": Answers(violation=("not okay",), safe=("not bad",))})
    with pytest.raises(ConfigError, match="begin with the same token"):
        glance_of(label_spec(alike))
