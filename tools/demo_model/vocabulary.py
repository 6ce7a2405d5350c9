"""Vocabulary: the harmony tokens the demo model learns. Row 0 of the compact tables represents every other token."""

from collections import Counter
from collections.abc import Iterable
from random import Random

import numpy as np
import numpy.typing as npt

from safeguard_spark.demo.corpus import OTHER, TOPIC_OF, Writer
from safeguard_spark.labelling.prompt import harmony, harmony_encoding
from tools.demo_model import answers, rulebook

STAND_IN = 0
Ids = npt.NDArray[np.int64]


def trained_tokens(seed: int, policies: int = 600, at_least: int = 3) -> Ids:
    """Harmony ids of the tokens a seeded sample of the training corpus uses, sorted; row `i + 1` is for the i-th."""
    random, codes, count = Random(seed), rulebook.codes(), Counter[int]()
    encoding = harmony_encoding()
    for _ in range(policies):
        writer = Writer(random, invents=False)
        book = rulebook.rulebook(random, codes, writer)
        for topic in [*TOPIC_OF, OTHER, OTHER, OTHER, OTHER]:
            count.update(harmony(book.body, book.effort, writer.sample(topic).content).token_ids or ())
            count.update(encoding.encode(answers.completion(book, topic), allowed_special="all"))
    ids = {token for token, times in count.items() if times >= at_least}
    ids.update(token for code in codes for token in encoding.encode(code))
    return np.array(sorted(ids), dtype=np.int64)


class Compact:
    """Harmony ids to compact rows, and back."""

    def __init__(self, ids: Ids) -> None:
        self.ids, self.rows = ids, len(ids) + 1
        self._row = {int(token): row for row, token in enumerate(ids, 1)}

    def rows_of(self, tokens: Iterable[int]) -> list[int]:
        """Rows of harmony ids; `STAND_IN` for a token that is not trained."""
        return [self._row.get(token, STAND_IN) for token in tokens]
