"""Hostile contents: each has one outcome, and no prompt has a special token that is not the template's."""

import pytest
from hypothesis import given, settings

from safeguard_spark.config.engine import Dialect, ScriptedConfig
from safeguard_spark.engines.scripted import ScriptedEngine
from safeguard_spark.labelling.content import Content
from safeguard_spark.labelling.prompt import Prompt, harmony_encoding
from safeguard_spark.labelling.rows import LabelSpec, Row, label_rows, prepare
from safeguard_spark.labelling.verdict import Outcome, Verdict
from safeguard_spark.policy.document import parse_policy
from tests import hostile
from tests.build import labeler
from tests.unit.samples import POLICY

pytestmark = pytest.mark.unit
FIRST_SPECIAL = 199_998  # o200k_harmony's own text tokens end before it
START, END, MESSAGE = 200_006, 200_007, 200_008
TEMPLATE = [START, MESSAGE, END] * 3 + [START]
WITHOUT_MODEL = {Outcome.empty, Outcome.invalid_content, Outcome.too_long}


def label_spec(dialect: Dialect = Dialect.harmony) -> LabelSpec:
    return LabelSpec(parse_policy(POLICY), labeler(dialect=dialect))


def assert_sealed(spec: LabelSpec, content: Content) -> None:
    """The content needs no model, or its prompt has only the template's special tokens."""
    prepared = prepare(spec, content)
    if isinstance(prepared, Verdict):
        assert prepared.outcome in WITHOUT_MODEL and "special tokens" not in (prepared.error or "")
        return
    assert isinstance(prepared, Prompt)
    if prepared.token_ids is None:
        assert [message["role"] for message in prepared.messages] == ["system", "user"]
        assert prepared.messages[0]["content"] == spec.policy.body
        return
    assert [token for token in prepared.token_ids if token >= FIRST_SPECIAL] == TEMPLATE
    assert len(prepared.token_ids) <= spec.labeler.max_prompt_tokens


def test_ten_thousand_hostile_rows_have_sealed_prompts() -> None:
    spec, count = label_spec(), 0
    for row in hostile.corpus(10_000):
        assert_sealed(spec, row.content)
        count += 1
    assert count == 10_000


@settings(max_examples=300)
@given(content=hostile.contents())
def test_any_content_has_a_sealed_prompt_in_both_dialects(content: Content) -> None:
    for dialect in Dialect:
        assert_sealed(label_spec(dialect), content)


def test_what_the_model_reads_is_the_content_itself() -> None:
    for row in hostile.corpus(300, seed=1):
        prepared = prepare(label_spec(), row.content)
        if isinstance(prepared, Prompt) and prepared.token_ids is not None and not row.is_conversation:
            decoded = harmony_encoding().decode(prepared.token_ids)
            assert decoded.endswith(f"<|start|>user<|message|>{row.content.text}<|end|><|start|>assistant")


def test_every_hostile_row_has_exactly_one_outcome() -> None:
    engine = ScriptedEngine(ScriptedConfig())
    rows = (Row(number, row.content) for number, row in enumerate(hostile.corpus(2_000, seed=2)))
    results = list(label_rows(label_spec(), engine, rows))
    assert sorted(result.key for result in results) == list(range(2_000))
    assert {result.verdict.outcome for result in results} <= {*WITHOUT_MODEL, Outcome.labelled}
    assert sum(result.called for result in results) > 1_000
    assert all(result.called == (result.verdict.outcome is Outcome.labelled) for result in results)
