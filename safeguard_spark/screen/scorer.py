"""The scorer: what a kind of screen has to be able to do. A new kind is one file with one class."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from safeguard_spark.labelling.content import Content

Scores = npt.NDArray[np.float64]


class Scorer(Protocol):
    """Scores contents under one policy."""

    def scores(self, contents: Sequence[Content]) -> Scores:
        """One finite number for each content, in their order: the higher, the more likely a violation.

        Only the order of the numbers counts. A content has the same score whichever contents are scored with it,
        because the threshold is compared with one score at a time.
        """
        ...


def screen_text(content: Content) -> str:
    """A content as the text that a screen scores: of a conversation, `role: text` of every turn."""
    if content.turns is None:
        return content.text or ""
    return "\n".join(f"{turn.role or ''}: {turn.text or ''}" for turn in content.turns)
