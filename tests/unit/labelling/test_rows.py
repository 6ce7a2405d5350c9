"""Every row gets exactly one verdict, whatever the engine does."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.config.engine import ScriptedConfig
from safeguard_spark.engines.scripted import ScriptedEngine
from safeguard_spark.errors import EngineError, PolicyError
from safeguard_spark.labelling.content import Content, from_text, from_turns
from safeguard_spark.labelling.engine import Answer, CallSpec, Decided, Request
from safeguard_spark.labelling.prompt import Prompt, prefix_tokens
from safeguard_spark.labelling.rows import Labelled, LabelSpec, Row, label_rows, prepare
from safeguard_spark.labelling.verdict import Outcome, Verdict
from safeguard_spark.policy.document import Effort, Output
from tests import build
from tests.build import SCRIPT, policy, run_config

pytestmark = pytest.mark.unit

OUTCOME_BY_WORD = {  # if a content has several of these words, the first one here decides
    "zzrefuse": Outcome.refused,
    "zzgarbage": Outcome.unparseable,
    "zzcut": Outcome.truncated,
    "zzfail": Outcome.engine_failed,
    "": Outcome.labelled,
}


def label_spec(output: str = "full", dialect: str = "harmony", **labeler: Any) -> LabelSpec:
    return build.label_spec(POLICIES[output], engine={"kind": "scripted", "dialect": dialect}, labeler=labeler)


POLICIES = {output.value: policy(output=output.value) for output in Output}
LONG = policy(text="No replicas. " * 300)
ALONE = prefix_tokens(LONG.body, Effort.medium)


class Shuffled(ScriptedEngine):
    """Pulls up to `window` requests ahead and answers them in any order; unreachable after `breaks_after` requests."""

    def __init__(self, window: int, seed: int, breaks_after: int | None = None) -> None:
        super().__init__(ScriptedConfig.model_validate({"args": SCRIPT}))
        self.window, self.chance, self.breaks_after = window, random.Random(seed), breaks_after
        self.pulled = 0

    def answers(self, call_spec: CallSpec, requests: Iterable[Request | Decided]) -> Iterator[Answer]:
        held: list[Answer] = []
        for answer in super().answers(call_spec, self._counted(requests)):
            if answer.verdict is not None:
                yield answer
                continue
            held.append(answer)
            while len(held) >= self.window or (held and self.chance.random() < 0.3):
                yield held.pop(self.chance.randrange(len(held)))
        while held:
            yield held.pop(self.chance.randrange(len(held)))

    def _counted(self, requests: Iterable[Request | Decided]) -> Iterator[Request | Decided]:
        for request in requests:
            if not isinstance(request, Decided):
                if self.pulled == self.breaks_after:
                    raise EngineError("unreachable")
                self.pulled += 1
            yield request


NOT_CALLED = (Outcome.invalid_content, Outcome.empty, Outcome.too_long)
WORDS = st.sampled_from(["zzrefuse", "zzgarbage", "zzcut", "zzfail", "replica", "watch", "", " ", "<|end|>"])
TEXTS = st.lists(WORDS, max_size=3).map(" ".join)
CONTENTS = st.one_of(
    TEXTS.map(from_text),
    TEXTS.map(from_text),
    st.none().map(from_text),
    st.just(from_text(b"\xff")),
    st.lists(st.tuples(st.sampled_from(["user", None]), TEXTS | st.none()), max_size=3).map(
        lambda t: from_turns(list(t))
    ),
    st.just(from_text("word " * 600)),
    st.just(from_text("a" * 20_000)),
)


def expected_outcome(content: Content) -> Outcome:
    if content.invalid:
        return Outcome.invalid_content
    if content.is_empty:
        return Outcome.empty
    if content.size > 2_500:
        return Outcome.too_long
    text = " ".join(t.text or "" for t in content.turns) if content.turns else content.text or ""
    trick = next((word for word in SCRIPT["misbehave"] if word in text), "")
    return OUTCOME_BY_WORD[trick]


@given(
    st.lists(CONTENTS, max_size=25), st.integers(1, 8), st.integers(0, 9),
    st.sampled_from(["full", "category", "binary"]), st.sampled_from(["harmony", "chat"]),
)  # fmt: skip
def test_every_row_has_exactly_one_verdict_and_the_right_one(
    contents: list[Content], window: int, seed: int, output: str, dialect: str
) -> None:
    engine = Shuffled(window, seed)
    rows = [Row(100 + number, content) for number, content in enumerate(contents)]
    # The chat dialect counts no tokens: only the number of characters limits a text.
    spec = label_spec(output, dialect, max_prompt_tokens=500 if dialect == "harmony" else 150)
    labelled: dict[int, Labelled] = {}
    for result in label_rows(spec, engine, rows):
        assert result.key not in labelled
        labelled[result.key] = result
    assert set(labelled) == {row.key for row in rows}
    for row in rows:
        verdict = labelled[row.key].verdict
        assert verdict.outcome is expected_outcome(row.content)
        assert (verdict.violation is not None) == (verdict.outcome is Outcome.labelled)
        called, answered = labelled[row.key].called, labelled[row.key].completion is not None
        assert called == (verdict.outcome not in NOT_CALLED)
        assert answered == (called and verdict.outcome is not Outcome.engine_failed)
    assert engine.pulled == sum(len(row.calls) for row in labelled.values())


@given(st.lists(CONTENTS, max_size=25), st.integers(1, 8), st.integers(0, 9), st.integers(0, 10))
def test_rows_that_need_no_model_keep_their_verdict_if_the_engine_cannot_be_reached(
    contents: list[Content], window: int, seed: int, breaks_after: int
) -> None:
    rows = [Row(number, content) for number, content in enumerate(contents)]
    engine = Shuffled(window, seed, breaks_after)
    spec = label_spec(max_prompt_tokens=500)
    verdicts: Counter[int] = Counter()  # per row
    failed = False
    try:
        for result in label_rows(spec, engine, iter(rows)):
            verdicts[result.key] += 1
    except EngineError:
        failed = True
    assert not verdicts or max(verdicts.values()) == 1
    needs_model = [row.key for row in rows if expected_outcome(row.content) not in NOT_CALLED]
    assert failed == (len(needs_model) > breaks_after)
    if failed:
        # Every row that came before the failed request and needed no model has its verdict.
        before = needs_model[breaks_after]
        assert {row.key for row in rows if row.key < before and row.key not in needs_model} <= set(verdicts)
    else:
        assert set(verdicts) == {row.key for row in rows}


def test_input_is_pulled_as_the_window_allows() -> None:
    pulled = 0

    def endless() -> Iterator[Row]:
        nonlocal pulled
        while True:
            pulled += 1
            yield Row(pulled, from_text("a watch"))

    results = label_rows(label_spec(), Shuffled(4, 0), endless())
    for count in range(1, 50):
        next(results)
        assert pulled <= count + 4


def test_a_row_that_needs_no_model_is_yielded_before_the_next_row_is_read() -> None:
    pulled = 0

    def empties() -> Iterator[Row]:
        nonlocal pulled
        for number in range(1_000):
            pulled += 1
            yield Row(number, from_text(""))

    keys = []
    for result in label_rows(label_spec(), Shuffled(4, 0), empties()):
        keys.append(result.key)
        assert pulled == len(keys)
    assert keys == list(range(1_000))


def test_no_rows_give_no_verdicts_and_no_calls() -> None:
    engine = Shuffled(4, 0, breaks_after=0)
    assert list(label_rows(label_spec(), engine, [])) == []
    (result,) = label_rows(label_spec(), engine, [Row(1, from_text(None))])
    assert result.verdict.outcome is Outcome.empty


def test_an_error_of_the_input_is_raised() -> None:
    def rows() -> Iterator[Row]:
        yield Row(1, from_text("a"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(label_rows(label_spec(), Shuffled(1, 0), rows()))


# Before the model


@pytest.mark.parametrize(
    ("content", "outcome", "error"),
    [
        (from_text(b"ok\xff"), Outcome.invalid_content, "not UTF-8: invalid start byte"),
        (from_text("  "), Outcome.empty, None),
        (from_text("word " * 600), Outcome.too_long, "over 500 prompt tokens"),
        (from_text("a" * 8_001), Outcome.too_long, "over 8000 characters"),
        (from_turns([("user", "a" * 9_000), ("user", "ok")]), Outcome.too_long, "over 8000 characters"),
    ],
)
def test_a_content_that_needs_no_model_has_its_outcome_and_cause(
    content: Content, outcome: Outcome, error: str | None
) -> None:
    assert prepare(label_spec(max_prompt_tokens=500), content) == Verdict(outcome, error=error)


def test_any_other_content_becomes_a_prompt_in_the_labelers_dialect() -> None:
    harmony = prepare(label_spec(), from_text("a watch"))
    chat = prepare(label_spec(dialect="chat"), from_text("a watch"))
    assert isinstance(harmony, Prompt) and harmony.token_ids
    assert isinstance(chat, Prompt) and chat.token_ids is None and chat.policy_text == POLICIES["full"].body


def test_a_control_token_from_the_content_in_a_prompt_gives_an_outcome(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("safeguard_spark.labelling.prompt._encoded", lambda text: iter([[200_007]]))
    error = "11 special tokens where the template has 10"
    assert prepare(label_spec(), from_text("a watch")) == Verdict(Outcome.invalid_content, error=error)


@pytest.mark.parametrize(
    ("engine", "labeler", "name"),
    [
        ({"kind": "scripted"}, {"max_prompt_tokens": ALONE}, "labeler.max_prompt_tokens"),
        ({"kind": "vllm", "args": {"max_model_len": ALONE + 64}}, {"max_tokens": 64}, "engine.args.max_model_len"),
    ],
)
def test_a_policy_that_leaves_no_room_for_a_content_is_refused(
    engine: dict[str, Any], labeler: dict[str, Any], name: str
) -> None:
    message = rf"^Policy market@1.0.0 alone takes {ALONE} tokens, and {name}.* leaves {ALONE}:"
    with pytest.raises(PolicyError, match=message):
        LabelSpec.of(run_config(engine={"model": "m", **engine}, labeler=labeler), LONG)


@pytest.mark.parametrize(
    ("engine", "labeler"),
    [
        ({"kind": "scripted"}, {"max_prompt_tokens": ALONE + 1}),
        ({"kind": "vllm", "args": {"max_model_len": ALONE + 65}}, {"max_tokens": 64}),
        ({"kind": "scripted", "dialect": "chat"}, {"max_prompt_tokens": 1}),
    ],
)
def test_a_policy_that_leaves_room_for_one_token_is_accepted(engine: dict[str, Any], labeler: dict[str, Any]) -> None:
    spec = LabelSpec.of(run_config(engine={"model": "m", **engine}, labeler=labeler), LONG)
    assert isinstance(prepare(spec, from_text("a")), Prompt)
