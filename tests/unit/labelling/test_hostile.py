"""Contents that try to break out: every one has one fate, and no prompt has a special token but the template's."""

import pytest
from hypothesis import given, settings

from safeguard_spark.config.model import Dialect
from safeguard_spark.engines.scripted import ScriptedEngine
from safeguard_spark.labelling.content import Content
from safeguard_spark.labelling.labeler import Labeler
from safeguard_spark.labelling.prompt import Prompt, harmony_encoding
from safeguard_spark.labelling.rows import LabelSpec, Row, label_rows, prepare
from safeguard_spark.labelling.verdict import Outcome, Verdict
from safeguard_spark.policy.document import Effort, parse_policy
from tests import hostile
from tests.faulty_server import config
from tests.unit.samples import POLICY

pytestmark = pytest.mark.unit
FIRST_SPECIAL = 199_998  # o200k_harmony's own text tokens end before it
START, END, MESSAGE = 200_006, 200_007, 200_008
TEMPLATE = [START, MESSAGE, END] * 3 + [START]
FATES = {Outcome.empty, Outcome.invalid_content, Outcome.too_long}


def job(dialect: Dialect = Dialect.harmony) -> LabelSpec:
    labeler = Labeler(
        model="m", revision=None, dialect=dialect, engine_class="", effort=Effort.low, temperature=0.0, top_p=1.0,
        max_tokens=64, max_prompt_tokens=4096, structured=True,
    )  # fmt: skip
    return LabelSpec(parse_policy(POLICY), labeler)


def assert_sealed(what: LabelSpec, content: Content) -> None:
    ready = prepare(what, content)
    if isinstance(ready, Verdict):
        assert ready.outcome in FATES and "special tokens" not in (ready.error or "")
        return
    assert isinstance(ready, Prompt)
    if ready.token_ids is None:
        assert [message["role"] for message in ready.messages] == ["system", "user"]
        assert ready.messages[0]["content"] == what.policy.body
        return
    assert [token for token in ready.token_ids if token >= FIRST_SPECIAL] == TEMPLATE
    assert len(ready.token_ids) <= what.labeler.max_prompt_tokens


def test_ten_thousand_hostile_rows_have_sealed_prompts() -> None:
    what, count = job(), 0
    for row in hostile.corpus(10_000):
        assert_sealed(what, row.content)
        count += 1
    assert count == 10_000


@settings(max_examples=300)
@given(content=hostile.contents())
def test_any_content_has_a_sealed_prompt_in_both_dialects(content: Content) -> None:
    for dialect in Dialect:
        assert_sealed(job(dialect), content)


def test_what_the_model_reads_is_the_content_itself() -> None:
    for row in hostile.corpus(300, seed=1):
        ready = prepare(job(), row.content)
        if isinstance(ready, Prompt) and ready.token_ids is not None and not row.is_conversation:
            shown = harmony_encoding().decode(ready.token_ids)
            assert shown.endswith(f"<|start|>user<|message|>{row.content.text}<|end|><|start|>assistant")


def test_every_hostile_row_has_exactly_one_outcome() -> None:
    engine = ScriptedEngine(config("http://unused").model_copy(update={"args": {}}))
    rows = (Row(number, row.content) for number, row in enumerate(hostile.corpus(2_000, seed=2)))
    done = list(label_rows(job(), engine, rows))
    assert sorted(each.key for each in done) == list(range(2_000))
    assert {each.verdict.outcome for each in done} <= {*FATES, Outcome.labelled}
    assert sum(each.asked for each in done) > 1_000
    assert all(each.asked == (each.verdict.outcome is Outcome.labelled) for each in done)
