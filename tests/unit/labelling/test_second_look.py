"""Second looks: an answer that cannot be read is asked for once more in another way, and no more than that."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest

from safeguard_spark.config.engine import ScriptedConfig
from safeguard_spark.engines.scripted import ScriptedEngine
from safeguard_spark.errors import ConfigError, EngineError
from safeguard_spark.labelling.content import from_text
from safeguard_spark.labelling.engine import Answer, CallSpec, Decided, Request
from safeguard_spark.labelling.labeler import Labeler
from safeguard_spark.labelling.prompt import harmony_encoding
from safeguard_spark.labelling.rows import MIN_SECOND_LOOKS, Labelled, Row, label_rows
from safeguard_spark.labelling.verdict import Outcome
from safeguard_spark.policy.document import parse_policy
from tests.build import SCRIPT, label_spec, policy, policy_text, run_config

pytestmark = pytest.mark.unit


class Moody(ScriptedEngine):
    """Answers contents with `zz` as `behaviors` say, by a setting of the labeler; `calls` are its values so far."""

    def __init__(self, behaviors: Mapping[Any, str], setting: str = "effort") -> None:
        super().__init__(ScriptedConfig.model_validate({"args": SCRIPT}))
        self.behaviors, self.setting = behaviors, setting
        self.calls: list[Any] = []
        self.prompts: list[list[int]] = []

    def answers(self, spec: CallSpec, requests: Iterable[Request | Decided]) -> Iterator[Answer]:
        behavior = self.behaviors.get(getattr(spec.labeler, self.setting))
        if behavior == "raise":
            raise EngineError("unreachable")
        self.script = self.script.model_copy(update={"misbehave": {"zz": behavior} if behavior else {}})
        yield from super().answers(spec, requests)

    def _answer(self, spec: CallSpec, request: Request) -> Answer:
        value = getattr(spec.labeler, self.setting)
        if self.behaviors.get(value) == "unavailable":
            return Answer(request.key, failure="gone", unavailable=True)
        self.calls.append(value)
        self.prompts.append(request.prompt.token_ids or [])
        return super()._answer(spec, request)


def label(engine: Moody, *texts: str, **labeler: Any) -> list[Labelled]:
    """The results in the order of the texts."""
    spec = label_spec(policy(), labeler=labeler)
    results = list(label_rows(spec, engine, [Row(number, from_text(text)) for number, text in enumerate(texts)]))
    assert sorted(result.key for result in results) == list(range(len(texts)))
    return sorted(results, key=lambda result: result.key)


def test_an_unparseable_answer_is_asked_for_once_more_with_more_effort() -> None:
    engine = Moody({"low": "garbage"})
    first, second, third = label(engine, "a table", "a replica zz", "", effort="low")
    assert engine.calls == ["low", "low", "medium"]
    assert "Reasoning: medium" in harmony_encoding().decode(engine.prompts[-1])
    assert (first.verdict.outcome, first.effort, first.other) == (Outcome.labelled, "low", None)
    assert (second.verdict.rule_ids, second.effort) == (("M1",), "medium")
    assert second.other and (second.other.verdict.outcome, second.other.effort) == (Outcome.unparseable, "low")
    assert [call.effort for call in second.calls] == ["medium", "low"]
    assert third.verdict.outcome is Outcome.empty and not third.calls


def test_a_truncated_answer_is_asked_for_once_more_with_less_effort() -> None:
    engine = Moody({"medium": "truncate"})
    (result,) = label(engine, "a replica zz")
    assert engine.calls == ["medium", "low"]
    assert (result.verdict.outcome, result.effort) == (Outcome.labelled, "low")


def test_what_has_no_structure_is_asked_for_once_more_with_it() -> None:
    engine = Moody({False: "garbage"}, "structured")
    (result,) = label(engine, "a replica zz", structured=False, second_look="structured")
    assert engine.calls == [False, True]
    assert (result.verdict.outcome, result.effort) == (Outcome.labelled, "medium")


@pytest.mark.parametrize(
    ("behavior", "calls"),
    [("garbage", 2), ("truncate", 2), ("fail", 2), ("unavailable", 1), ("raise", 1)],
)
def test_the_first_answer_stays_if_the_second_is_no_better(behavior: str, calls: int) -> None:
    (result,) = label(Moody({"low": "garbage", "medium": behavior}), "zz", effort="low")
    assert (result.verdict.outcome, result.effort, result.unavailable) == (Outcome.unparseable, "low", False)
    assert len(result.calls) == calls


def test_a_second_look_that_the_model_refuses_is_an_answer() -> None:
    (result,) = label(Moody({"low": "garbage", "medium": "refuse"}), "zz", effort="low")
    assert (result.verdict.outcome, len(result.calls)) == (Outcome.refused, 2)


@pytest.mark.parametrize(
    ("labeler", "outcome", "effort"),
    [
        ({"effort": "low"}, Outcome.unparseable, "medium"),
        ({"effort": "medium"}, Outcome.unparseable, "high"),
        ({"effort": "high"}, Outcome.unparseable, None),
        ({"effort": "high"}, Outcome.truncated, "medium"),
        ({"effort": "low"}, Outcome.truncated, None),
        ({"effort": "low", "second_look": "none"}, Outcome.unparseable, None),
        ({"effort": "low", "temperature": 0.5}, Outcome.unparseable, None),  # tried again by the next run
        ({"effort": "low"}, Outcome.labelled, None),
        ({"effort": "low"}, Outcome.refused, None),
        ({"effort": "low"}, Outcome.engine_failed, None),
    ],
)
def test_what_has_a_second_look_and_at_which_effort(
    labeler: dict[str, Any], outcome: Outcome, effort: str | None
) -> None:
    second = Labeler.of(run_config(labeler=labeler), policy()).second_look_at(outcome)
    assert (second and second.effort) == effort


def test_a_model_without_effort_has_no_second_look_by_effort() -> None:
    config = run_config(engine={"kind": "scripted", "dialect": "chat"}, labeler={"effort": "none"})
    assert Labeler.of(config, policy()).second_look_at(Outcome.unparseable) is None


def test_a_structured_second_look_is_refused_if_the_first_is_structured() -> None:
    with pytest.raises(ConfigError, match=r"labeler\.second_look=structured is for labeler\.structured=false"):
        Labeler.of(run_config(labeler={"second_look": "structured"}), policy())


@pytest.mark.parametrize(("rows", "second_looks"), [(5, 5), (100, MIN_SECOND_LOOKS), (1000, 50)])
def test_a_model_that_answers_only_garbage_costs_at_most_a_twentieth_more(rows: int, second_looks: int) -> None:
    engine = Moody({"low": "garbage", "medium": "garbage"})
    results = label(engine, *(f"zz {n}" for n in range(rows)), effort="low")
    assert len(engine.calls) == sum(len(result.calls) for result in results) == rows + second_looks
    assert sum(result.over_share for result in results) == rows - second_looks
    assert {result.verdict.outcome for result in results} == {Outcome.unparseable}


def escalate(engine: Moody, *texts: str, **labeler: Any) -> list[Labelled]:
    """The results, under a policy whose rule M2 is critical."""
    rule = "- id: M2\n  category: weapons"
    document = parse_policy(policy_text().replace(rule, f"{rule}\n  severity: critical"))
    spec = label_spec(document, labeler={"effort": "low", **labeler})
    results = list(label_rows(spec, engine, [Row(number, from_text(text)) for number, text in enumerate(texts)]))
    return sorted(results, key=lambda result: result.key)


def test_a_verdict_on_a_critical_rule_is_judged_again_with_more_effort_and_the_second_counts() -> None:
    engine = Moody({})
    engine.script = engine.script.model_copy(update={"words": {"replica": "M1", "rifle": "M2"}})
    table, replica, rifle = escalate(engine, "a table", "a replica", "a rifle", escalate=0.5)
    assert engine.calls == ["low", "low", "low", "medium"]
    assert (table.other, replica.other) == (None, None)
    assert rifle.effort == "medium" and rifle.other is not None and rifle.other.effort == "low"
    assert rifle.verdict.rule_ids == ("M2",)


def test_an_escalation_that_cannot_be_read_leaves_the_first_verdict() -> None:
    (rifle,) = escalate(Moody({"medium": "garbage"}), "a rifle zz", escalate=0.5)
    assert rifle.verdict.outcome is Outcome.labelled and rifle.effort == "low" and rifle.other is not None


def test_escalations_stay_within_their_share_of_the_calls() -> None:
    engine = Moody({})
    results = escalate(engine, *["a rifle"] * 200, escalate=0.1)
    assert len(results) == 200 and engine.calls.count("medium") == 20


def test_what_a_screen_nearly_cleared_has_what_the_critical_rules_leave_of_the_share() -> None:
    rule = "- id: M2\n  category: weapons"
    spec = label_spec(
        parse_policy(policy_text().replace(rule, f"{rule}\n  severity: critical")),
        labeler={"effort": "low", "escalate": 0.1},
    )
    engine = Moody({"low": "garbage"})
    texts = ["a rifle" if n % 20 == 0 else "zz" if n == 1 else "a table" for n in range(200)]
    rows = [Row(n, from_text(text), is_close=n % 2 == 1) for n, text in enumerate(texts)]
    results = {result.key: result for result in label_rows(spec, engine, rows)}
    again = {key for key, result in results.items() if result.effort == "medium"}
    # 20 of 200 calls, ten of them for the critical rule; the one that could not be read has its own second look.
    assert len(results) == 200 and len(again) == 21
    assert {key for key in again if key % 20 == 0} == set(range(0, 200, 20))
    assert {key % 2 for key in again if key % 20} == {1}
    without = label_spec(policy(), labeler={"effort": "low"})
    assert [result.effort for result in label_rows(without, engine, [Row(0, from_text("a table"), is_close=True)])] == [
        "low"
    ]


def test_without_escalation_no_verdict_is_judged_again() -> None:
    engine = Moody({})
    escalate(engine, "a rifle")
    assert engine.calls == ["low"]


def test_an_escalation_from_the_highest_effort_is_refused() -> None:
    with pytest.raises(ConfigError, match="the effort is high"):
        Labeler.of(run_config(labeler={"effort": "high", "escalate": 0.1}), policy())
