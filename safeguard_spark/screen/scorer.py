"""The scorer: what a kind of screen has to be able to do. A new kind is one file with one class."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]


class Scorer(Protocol):
    """Scores contents under one policy."""

    def scores(self, texts: Sequence[str]) -> Scores:
        """One finite number for each text, in their order: the higher, the more likely a violation.

        Only the order of the numbers counts. A text has the same score whichever texts stand beside it, because the
        threshold is compared one text at a time.
        """
        ...
