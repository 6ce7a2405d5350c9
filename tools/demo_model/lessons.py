"""Lessons: batches for the stages of training, as compact rows: copying, recall, naming topics, whole answers."""

from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

import numpy as np

from safeguard_spark.demo.corpus import OTHER, TOPIC_OF, Writer
from safeguard_spark.labelling.prompt import harmony, harmony_encoding
from tools.demo_model import answers, rulebook
from tools.demo_model.rulebook import Rulebook
from tools.demo_model.vocabulary import STAND_IN, Compact, Ids

LOOKUPS = (5, 7, 9)  # in a completion: the topic, its rule id (or `no`), and `not` or `allowed`
LOOKUP_WEIGHT = 5.0
CONTENTS = 6  # per policy
POLICIES = 4  # per batch
NAMING_CONTENTS = 96  # per batch of which only the topic is learned
TOPIC = LOOKUPS[0]


class Plain(NamedTuple):
    """Sequences (B, T), and which of their tokens (B, T) are targets."""

    rows: Ids
    is_target: Any


class Lesson(NamedTuple):
    """A policy's rows, and contents with their completions: rows, and the weight of each row as a target."""

    policy: list[int]
    contents: list[tuple[list[int], list[float]]]

    @property
    def size(self) -> tuple[int, int]:
        """What to sort by so that batches hold little padding."""
        return max(len(rows) for rows, _ in self.contents), len(self.policy)


class Padded(NamedTuple):
    """A batch of lessons: see `network.Batch`; `weights` (B, C, L) belong to the same row's token."""

    policy: Ids
    policy_mask: Any
    content: Ids
    content_mask: Any
    content_at: Ids
    weights: Any


def copying(random: np.random.Generator, rows: int, sequences: int = 48, length: int = 24) -> Plain:
    """Random rows, followed by themselves rotated."""
    first = random.integers(0, rows, (sequences, length))
    second = np.roll(first, -int(random.integers(1, length)), 1)
    is_target = np.zeros((sequences, 2 * length), dtype=bool)
    is_target[:, length + 1 :] = True
    return Plain(np.concatenate([first, second], 1), is_target)


def recall(random: np.random.Generator, compact: Compact, sequences: int = 24) -> Plain:
    """Seven rules of random words, then eight questions for one of them, or for one that is missing."""
    encoding = harmony_encoding()

    def token(text: str) -> int:
        return compact.rows_of(encoding.encode(text))[0]

    mark, bracket, colon, line, no, rule = (token(t) for t in ("###", " (", "):", "\n", "no", " rule"))
    all_rows: list[list[int]] = []
    all_targets: list[list[bool]] = []
    for _ in range(sequences):
        words = [int(row) for row in random.choice(np.arange(1, compact.rows), 7 + 2 + 7 + 14, replace=False)]
        keys, missing, ids, flags = words[:7], words[7:9], words[9:16], words[16:]
        rows: list[int] = []
        targets: list[bool] = []
        for k in range(7):
            rows += [mark, keys[k], bracket, ids[k], colon, flags[2 * k], flags[2 * k + 1], line]
        targets += [False] * len(rows)
        for _ in range(8):
            noise = [int(row) for row in random.integers(1, compact.rows, int(random.integers(1, 5)))]
            k = int(random.integers(0, 9))
            answer = [ids[k], colon, flags[2 * k], flags[2 * k + 1]] if k < 7 else [no, rule]
            rows += [*noise, (keys + missing)[k], bracket, *answer]
            targets += [False] * (len(noise) + 2) + [True] * len(answer)
        all_rows.append(rows)
        all_targets.append(targets)
    length = min(len(rows) for rows in all_rows)
    return Plain(np.array([r[:length] for r in all_rows]), np.array([a[:length] for a in all_targets]))


class Teacher:
    """Makes lessons of random policies and contents, always fresh.

    `brief` ones hold a few rules and nothing else; of those with `is_glance` only the verdict is a target, at once and
    without an analysis.
    """

    def __init__(self, compact: Compact, seed: int, brief: bool = False, is_glance: bool = False) -> None:
        self.compact, self.random, self.codes, self.brief = compact, Random(seed), rulebook.codes(), brief
        self.encoding, self.is_glance = harmony_encoding(), is_glance

    def lesson(self) -> Lesson:
        """A policy with some contents: about a rule's topic, about another, about none."""
        random = self.random
        writer = Writer(random, drop=random.choice((0.0, 0.1, 0.3)))
        book = rulebook.rulebook(random, self.codes, writer, random.randint(0, 4) if self.brief else None, self.brief)
        writer.drop = random.choice((0.0, 0.05, 0.2))
        conversations = random.random() < 0.5
        contents: list[tuple[list[int], list[float]]] = []
        while len(contents) < CONTENTS:
            sample = writer.sample(self._topic(book))
            if (sample.content.turns is not None) == conversations:
                rows = self.rows(book, sample.content)
                contents.append(self._answered(rows, book, sample.topic))
        return Lesson(self.frame(book), contents)

    def naming(self, count: int = NAMING_CONTENTS, bare: bool = False, ahead: int = 24) -> Iterator[Padded]:
        """Endless batches of many contents of one brief policy, of whose completions only the topic is a target.

        `bare` contents are single sentences, and their policy has no rules: learning to
        distinguish topics does not start from anything longer. It takes many contents, and the rest of a completion
        would cost more than it teaches.
        """
        while True:
            rules = 0 if bare else self.random.randint(0, 4)
            book = rulebook.rulebook(self.random, self.codes, Writer(self.random), rules, True)
            examples = sorted((self._naming(book, bare) for _ in range(ahead * count)), key=lambda pair: len(pair[0]))
            groups = [examples[at : at + count] for at in range(0, len(examples), count)]
            self.random.shuffle(groups)
            for group in groups:
                yield padded([Lesson(self.frame(book), group)])

    def _naming(self, book: Rulebook, bare: bool) -> tuple[list[int], list[float]]:
        writer = Writer(self.random, drop=0.0 if bare else self.random.choice((0.0, 0.05, 0.2)), bare=bare)
        topic = self.random.choice(tuple(TOPIC_OF)) if self.random.random() < (0.9 if bare else 0.65) else OTHER
        sample = writer.sample(topic)
        prompt = self.rows(book, sample.content)
        completion, _ = self._weighted([], answers.completion(book, sample.topic))
        return prompt + completion[: TOPIC + 1], [0.0] * (len(prompt) + TOPIC) + [1.0]

    def frame(self, book: Rulebook) -> list[int]:
        """Rows of a policy's prompt up to the content."""
        return self.compact.rows_of(_prefix(book))

    def rows(self, book: Rulebook, content: Any) -> list[int]:
        """Rows of a prompt from the content on."""
        tokens = harmony(book.body, book.effort, content).token_ids or []
        return self.compact.rows_of(tokens[len(_prefix(book)) :])

    def _topic(self, book: Rulebook) -> str:
        kind = self.random.random()
        if book.lines and kind < 0.6:
            return self.random.choice(book.lines).topic
        return self.random.choice(tuple(TOPIC_OF)) if kind < 0.75 else OTHER

    def _answered(self, prompt: list[int], book: Rulebook, topic: str) -> tuple[list[int], list[float]]:
        if not self.is_glance:
            return self._weighted(prompt, answers.completion(book, topic))
        tokens, verdict = answers.glance(book, topic)
        rows = prompt + self.compact.rows_of([*tokens, verdict])
        return rows, [0.0] * (len(rows) - 1) + [1.0]

    def _weighted(self, prompt: list[int], completion: str) -> tuple[list[int], list[float]]:
        rows = self.compact.rows_of(self.encoding.encode(completion, allowed_special="all"))
        weights = [LOOKUP_WEIGHT if position in LOOKUPS else 1.0 for position in range(len(rows))]
        return prompt + rows, [0.0] * len(prompt) + weights

    def batches(self, ahead: int = 40) -> Iterator[Padded]:
        """Endless batches; `ahead` of them are made at a time and sorted by length."""
        while True:
            lessons = sorted((self.lesson() for _ in range(ahead * POLICIES)), key=lambda lesson: lesson.size)
            groups = [lessons[at : at + POLICIES] for at in range(0, len(lessons), POLICIES)]
            self.random.shuffle(groups)
            yield from map(padded, groups)


def padded(lessons: list[Lesson]) -> Padded:
    """Lessons as one batch."""
    p, (b, c) = max(len(lesson.policy) for lesson in lessons), (len(lessons), len(lessons[0].contents))
    length = max(len(rows) for lesson in lessons for rows, _ in lesson.contents)
    policy, content = np.full((b, p), STAND_IN), np.full((b, c, length), STAND_IN)
    policy_mask, content_mask = np.zeros((b, p), dtype=bool), np.zeros((b, c, length), dtype=bool)
    weights = np.zeros((b, c, length), dtype=np.float32)
    for i, lesson in enumerate(lessons):
        policy[i, : len(lesson.policy)], policy_mask[i, : len(lesson.policy)] = lesson.policy, True
        for j, (rows, weight) in enumerate(lesson.contents):
            content[i, j, : len(rows)], content_mask[i, j, : len(rows)] = rows, True
            weights[i, j, : len(rows)] = weight
    at = policy_mask.sum(1)
    return Padded(policy, policy_mask, content, content_mask, at, weights)


def _prefix(book: Rulebook) -> list[int]:
    from safeguard_spark.labelling.content import Content

    tokens = harmony(book.body, book.effort, Content(text="")).token_ids or []
    return tokens[:-3]  # without <|end|><|start|>assistant
