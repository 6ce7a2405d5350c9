"""What the demo model is trained and measured on: seeded, true to the policy, and nothing held out is trained on."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.demo import phrases, topics
from safeguard_spark.demo.corpus import OTHER, TOPIC_OF, Writer
from safeguard_spark.labelling import prompt, verdict
from safeguard_spark.labelling.content import Content
from safeguard_spark.labelling.contract import Contract
from safeguard_spark.labelling.prompt import harmony_encoding
from safeguard_spark.labelling.verdict import Completion, Outcome
from tools.demo_model import answers, exam, rulebook
from tools.demo_model.rulebook import Rulebook

pytestmark = pytest.mark.unit

seeds = st.integers(0, 10_000)
names = st.sampled_from((*TOPIC_OF, OTHER))


def book(seed: int, rules: int | None = None, *, held_out: bool = False) -> Rulebook:
    random = Random(seed)
    return rulebook.rulebook(random, rulebook.codes(), Writer(random, held_out=held_out), rules)


@given(seed=seeds, topic=names)
def test_the_same_seed_writes_the_same_policy_and_content(seed: int, topic: str) -> None:
    assert book(seed) == book(seed)
    assert Writer(Random(seed), drop=0.3).sample(topic) == Writer(Random(seed), drop=0.3).sample(topic)


@given(seed=seeds, topic=names, held_out=st.booleans())
def test_the_completion_taught_is_read_as_the_verdict_the_policy_has(seed: int, topic: str, held_out: bool) -> None:
    rules = book(seed, held_out=held_out)
    question = exam.Question(rules, Content(text="x"), topic)
    ids = harmony_encoding().encode(answers.completion(rules, topic), allowed_special="all")

    read = verdict.read(Completion("stop", ids), Contract.of(rules.policy))

    assert read.outcome is Outcome.labelled
    assert exam.right(question, read) == (True, True, True)
    assert read.reasoning is not None and read.reasoning.startswith(f"topic: {topic}")


@given(seed=seeds, rules=st.integers(1, 12))
def test_reversing_or_removing_a_rule_changes_the_answer_for_its_topic_and_for_no_other(seed: int, rules: int) -> None:
    whole = book(seed, rules)
    topic = whole.lines[seed % rules].topic

    for changed in (whole.with_reversed(topic), whole.without(topic)):
        for other in (*TOPIC_OF, OTHER):
            if other != topic:
                assert answers.completion(changed, other) == answers.completion(whole, other)
    assert answers.violates(whole.with_reversed(topic), topic) is not answers.violates(whole, topic)
    assert not answers.violates(whole.without(topic), topic)
    assert whole.with_reversed(topic).with_reversed(topic) == whole


@given(seed=seeds)
def test_a_policy_without_rules_has_no_violation(seed: int) -> None:
    empty = book(seed, 0)

    assert not any(answers.violates(empty, topic) for topic in (*TOPIC_OF, OTHER))
    assert empty.policy.rules == ()


def test_policies_for_training_and_for_evaluation_share_no_pair_of_topic_and_id() -> None:
    trained = {(line.topic, line.code) for seed in range(60) for line in book(seed, 9).lines}
    measured = {(line.topic, line.code) for seed in range(60) for line in book(seed, 9, held_out=True).lines}

    assert trained and measured and not trained & measured


def test_evaluation_has_only_frames_that_training_never_picks() -> None:
    for frames in (phrases.GOODS, phrases.REPORTS, phrases.SAFE, phrases.OPENINGS, phrases.NAMES):
        trained = {Writer(Random(seed)).pick(frames) for seed in range(300)}
        measured = {Writer(Random(seed), held_out=True).pick(frames) for seed in range(300)}
        assert trained | measured == set(frames) and not trained & measured


def test_ids_and_topics_are_one_token_each_where_the_model_reads_them() -> None:
    encoding = harmony_encoding()

    assert len(rulebook.codes()) > 200
    assert all(len(encoding.encode(code)) == 1 for code in rulebook.codes())
    assert all(len(encoding.encode(f" {name}")) == 1 for name in (*TOPIC_OF, OTHER))


def test_a_things_words_belong_to_one_topic() -> None:
    things = [thing for topic in topics.TOPICS for thing in topic.things] + list(phrases.SAFE_THINGS)

    assert len(things) == len(set(things))


def test_the_exam_is_the_same_for_a_seed_and_fits_the_context() -> None:
    questions = exam.exam(policies=6, contents=8, changed=2)

    assert questions == exam.exam(policies=6, contents=8, changed=2)
    assert len(questions.plain) == 48
    for question in questions.questions():
        ids = prompt.harmony(question.book.body, question.book.effort, question.content).token_ids or []
        assert len(ids) < 2048
    for pair in (*questions.allowed, *questions.removed):
        assert (pair.before.violates(), pair.after.violates()) == (
            pair.own or pair.before.violates(),
            not pair.own and pair.before.violates(),
        )
