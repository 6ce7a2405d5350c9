"""Exam: the questions that measure the demo model, made of frames, names, ids and policies that training never sees."""

from collections.abc import Iterable
from random import Random
from typing import NamedTuple

from safeguard_spark.demo.corpus import OTHER, TOPIC_OF, Writer
from safeguard_spark.labelling.content import Content
from safeguard_spark.labelling.verdict import Outcome, Verdict
from safeguard_spark.policy.document import NONE
from tools.demo_model import answers, rulebook
from tools.demo_model.rulebook import Rulebook

SEED = 20_260
RULED, UNRULED = 0.6, 0.15  # shares of contents about a rule's topic, and about a topic without one


class Question(NamedTuple):
    """A content under a policy, and the topic it is about."""

    book: Rulebook
    content: Content
    topic: str

    def violates(self) -> bool:
        """Whether it violates the policy."""
        return answers.violates(self.book, self.topic)

    def rule_ids(self) -> tuple[str, ...]:
        """Ids of the rules it violates."""
        line = self.book.line(self.topic)
        return (line.code,) if line is not None and self.violates() else ()


class ChangedRule(NamedTuple):
    """One content under a policy as it was and with one rule changed. `own`: the content is about that rule."""

    before: Question
    after: Question
    own: bool


class Exam(NamedTuple):
    """All questions: `plain` for correctness, two kinds of change, and contents under a policy without rules."""

    plain: list[Question]
    allowed: list[ChangedRule]
    removed: list[ChangedRule]
    empty: list[Question]

    def questions(self) -> list[Question]:
        """Every question once."""
        changed = [question for pair in (*self.allowed, *self.removed) for question in (pair.before, pair.after)]
        return list(dict.fromkeys([*self.plain, *changed, *self.empty]))


def exam(policies: int = 40, contents: int = 25, changed: int = 20, seed: int = SEED) -> Exam:
    """The same questions for the same seed: `policies` with `contents` each, and `changed` policies that change."""
    random, codes = Random(seed), rulebook.codes()
    writer = Writer(random, held_out=True)
    books = [rulebook.rulebook(random, codes, writer) for _ in range(policies)]
    plain = [question for book in books for question in _questions(random, writer, book, contents)]
    allowed: list[ChangedRule] = []
    removed: list[ChangedRule] = []
    for _ in range(changed):
        book = rulebook.rulebook(random, codes, writer, random.randint(2, 9))
        topic = book.lines[0].topic
        if book.lines[0].allowed:
            book = book.with_reversed(topic)
        samples = [writer.sample(topic) for _ in range(contents // 2)]
        questions = [Question(book, sample.content, sample.topic) for sample in samples]
        questions += [q for q in _questions(random, writer, book, contents) if q.topic != topic]
        allowed += _changed(questions, book.with_reversed(topic), topic)
        removed += _changed(questions, book.without(topic), topic)
    empty = [question for _ in range(max(1, policies // 8)) for question in _empty(random, writer, codes, contents)]
    return Exam(plain, allowed, removed, empty)


def labelled(verdicts: Iterable[Verdict]) -> int:
    """How many have the outcome `labelled`."""
    return sum(verdict.outcome is Outcome.labelled for verdict in verdicts)


def right(question: Question, verdict: Verdict) -> tuple[bool, bool, bool]:
    """Whether violation, rule ids and category are right; all wrong for a verdict that is not `labelled`."""
    if verdict.outcome is not Outcome.labelled:
        return False, False, False
    category = question.topic if question.violates() else NONE
    return (
        verdict.violation == question.violates(),
        verdict.rule_ids == question.rule_ids(),
        (verdict.category or NONE) == category,
    )


def _questions(random: Random, writer: Writer, book: Rulebook, count: int) -> list[Question]:
    questions = []
    for _ in range(count):
        kind = random.random()
        if book.lines and kind < RULED:
            topic = random.choice(book.lines).topic
        else:
            topic = random.choice(tuple(TOPIC_OF)) if kind < RULED + UNRULED else OTHER
        sample = writer.sample(topic)
        questions.append(Question(book, sample.content, sample.topic))
    return questions


def _empty(random: Random, writer: Writer, codes: tuple[str, ...], count: int) -> list[Question]:
    book = rulebook.rulebook(random, codes, writer, 0)
    topics = [random.choice((*TOPIC_OF, OTHER)) for _ in range(count)]
    return [Question(book, writer.sample(topic).content, topic) for topic in topics]


def _changed(questions: list[Question], book: Rulebook, topic: str) -> list[ChangedRule]:
    return [ChangedRule(question, question._replace(book=book), question.topic == topic) for question in questions]
