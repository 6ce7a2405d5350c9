"""Corpus: synthetic contents with a known topic, seeded, with frames held out for evaluation."""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple, TypeVar

from safeguard_spark.demo import phrases
from safeguard_spark.demo.topics import TOPICS, Topic
from safeguard_spark.labelling.content import Content, Turn

OTHER = "other"  # the model's word for a content without any of its topics
TOPIC_OF = {topic.name: topic for topic in TOPICS}
NUMBERS = (
    "555 0142", "482 913", "0041 226", "733-881", "12 Mill Road", "4 Park Lane", "1999", "867 5309", "300 120",
    "21-07-84",
)  # fmt: skip
SYLLABLES = (
    "ba", "ko", "ri", "vel", "dun", "sha", "mor", "tis", "ek", "lo", "pra", "gin", "fu", "wex", "zan", "mi", "oth",
    "yur", "cal", "bne",
)  # fmt: skip
T = TypeVar("T")


class Sample(NamedTuple):
    """A content and the topic it is about, or `other`."""

    content: Content
    topic: str


class Writer:
    """Writes contents. `held_out` uses only frames, openings and names that training never sees. `drop` is the share
    of words outside the things that an invented word replaces, in offers sometimes much more: this trains the stand-in
    row, and teaches that the thing decides the topic, whatever words it is offered in. A `bare` writer writes single
    sentences that offer something or are small talk: topics are first learned from these."""

    def __init__(
        self, random: Random, held_out: bool = False, drop: float = 0.0, invents: bool = True, bare: bool = False
    ) -> None:
        self.random, self.held_out, self.drop, self.invents, self.bare = random, held_out, drop, invents, bare

    def sample(self, topic: str) -> Sample:
        """A content about a topic: a text, or a conversation whose last turn is about it."""
        shape = self.random.random()
        if self.bare or shape < 0.45:
            return Sample(Content(text=self.text(topic)), topic)
        roles = self.random.choice(phrases.ROLES)
        if shape < 0.6:
            return Sample(Content(turns=(Turn(roles[0], self.text(topic)),)), topic)
        return Sample(Content(turns=self.conversation(topic, roles)), topic)

    def conversation(self, topic: str, roles: tuple[str, str]) -> tuple[Turn, ...]:
        """Two to four turns; the earlier ones are about anything."""
        last = self.text(topic)
        if topic == OTHER and self.random.random() < 0.35:
            last = self.fill(self.pick(phrases.REFUSALS), self.thing(self.any_topic()), 0.0)
        if self.random.random() < 0.3:
            last = self.random.choice(("Here is your text: ", "Sure! ", "Of course. ")) + last
        if self.random.random() < 0.35:
            return Turn(roles[0], self.pick(phrases.REQUESTS)), Turn(roles[1], last)
        count = self.random.choice((1, 1, 1, 2, 3))
        earlier = [self.text(self.any_topic().name if self.random.random() < 0.5 else OTHER) for _ in range(count)]
        texts = [*earlier, last]
        return tuple(Turn(roles[(len(texts) - 1 - i + 1) % 2], text) for i, text in enumerate(texts))

    def text(self, topic: str) -> str:
        """A text about a topic, or about none for `other`."""
        if topic == OTHER:
            return self.other()
        chosen = TOPIC_OF[topic]
        return self.decorated(self.fill(self.pick(chosen.frames), self.thing(chosen), self._drop_share()))

    def other(self) -> str:
        """A text of no topic: small talk, harmless goods, talk about a topic's things, or invented words."""
        kind = self.random.random() * (0.6 if self.bare else 1.0 if self.invents else 0.85)
        if kind < 0.35:
            return self.decorated(self.fill(self.pick(phrases.SAFE), ""))
        if kind < 0.6:
            thing = self.random.choice(phrases.SAFE_THINGS)
            return self.decorated(self.fill(self.pick(phrases.GOODS), thing, self._drop_share()))
        if kind < 0.85:
            return self.decorated(self.fill(self.pick(phrases.REPORTS), self.thing(self.any_topic()), self.drop / 2))
        if kind < 0.92:
            thing = f"{self.invented()} {self.invented()}"
            return self.decorated(self.fill(self.pick(phrases.GOODS), thing, self._drop_share()))
        return " ".join(self.invented() for _ in range(self.random.choice((1, 5, 10, 20, 60))))

    def decorated(self, text: str) -> str:
        """A text with an opening, a closing, small talk, and sometimes an attempt to manipulate the model."""
        if self.bare:
            return text
        opening = self.fill(self.pick(phrases.OPENINGS), "") if self.random.random() < 0.6 else ""
        closing = self.fill(self.pick(phrases.CLOSINGS), "") if self.random.random() < 0.5 else ""
        parts = [part for part in (opening, text, closing) if part]
        for _ in range(self.random.choice((0, 0, 0, 0, 1, 2))):
            parts.insert(self.random.choice((0, len(parts))), self.fill(self.pick(phrases.SAFE), ""))
        if self.random.random() < 0.05:
            parts.insert(self.random.randint(0, len(parts)), self.random.choice(phrases.INJECTIONS))
        joined = (" " if self.random.random() < 0.9 else "\n").join(parts)
        if self.random.random() < 0.7:
            return joined[:1].upper() + joined[1:]
        return joined

    def fill(self, frame: str, thing: str, drop: float | None = None) -> str:
        """A frame with its slots filled, and a share `drop` of its words, by default the writer's, invented ones."""
        share = self.drop if drop is None else drop
        if share:
            frame = " ".join(self._kept_or_invented(word, share) for word in frame.split(" "))
        values = {
            "name": self.pick(phrases.NAMES) if self.random.random() > 2 * self.drop else self.invented().title(),
            "place": self.pick(phrases.PLACES) if self.random.random() > 2 * self.drop else self.invented().title(),
            "price": self.random.choice(phrases.PRICES),
            "number": self.random.choice(NUMBERS),
        }
        text = frame.replace("{delivery}", self.random.choice(phrases.DELIVERIES)).replace("{thing}", thing)
        for slot, value in values.items():
            text = text.replace("{" + slot + "}", value)
        return text

    def _drop_share(self) -> float:
        return self.random.choice((self.drop, self.drop, 0.4, 0.8)) if self.drop else 0.0

    def _kept_or_invented(self, word: str, share: float) -> str:
        return self.invented() if "{" not in word and self.random.random() < share else word

    def pick(self, items: Sequence[T]) -> T:
        """One of the trained items, or of those held out."""
        count = max(1, len(items) // 5)
        return self.random.choice(items[-count:] if self.held_out else items[:-count])

    def thing(self, topic: Topic) -> str:
        """One of a topic's things."""
        return self.random.choice(topic.things)

    def any_topic(self) -> Topic:
        """Any topic."""
        return self.random.choice(TOPICS)

    def invented(self) -> str:
        """A word that no list has; none for a writer that does not invent."""
        if not self.invents:
            return ""
        return "".join(self.random.choice(SYLLABLES) for _ in range(self.random.randint(1, 3)))
