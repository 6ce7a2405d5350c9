"""The linear screen: hashed n-grams and logistic regression (scikit-learn).

Hashing has no vocabulary, so what is stored is one number per bucket and no word of the contents, and a word that was
never seen needs no care. It is stored by skops, which runs no code of the file when it is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from safeguard_spark.errors import GateError, TableError
from safeguard_spark.extras import require
from safeguard_spark.labelling.content import Content
from safeguard_spark.screen.scorer import Scores, screen_text

if TYPE_CHECKING:
    from sklearn.pipeline import FeatureUnion, Pipeline

require("sklearn", "skops")  # imported by the functions that need them
# Character n-grams inside words see parts of words that are spelled in new ways; word pairs see phrases.
CHARACTERS, WORDS = (3, 5), (1, 2)
BUCKETS = 1 << 18  # of each of the two
STRENGTH = 10.0  # inverse of the regularization


@dataclass(frozen=True, eq=False)
class LinearScreen:
    """Scores contents by a logistic regression over hashed n-grams; a `Scorer`.

    `weights`: one for each bucket. Data alone, so that workers get it without skops, which takes 500 MB to import.
    """

    weights: Scores
    intercept: float

    @classmethod
    def train(cls, contents: Sequence[Content], violations: Sequence[bool]) -> "LinearScreen":
        """A screen from contents with their verdicts. Raises GateError unless there are violations and safe texts."""
        from sklearn.linear_model import LogisticRegression

        if len(set(violations)) < 2:
            which = "each" if any(violations) else "none"
            raise GateError(
                f"A screen learns from violations and safe contents, and {which} of the {len(violations):,} labels to "
                "learn from is a violation. Label a larger random part of the table."
            )
        counts = _features().fit_transform([screen_text(content) for content in contents]).tocsc()
        # Most buckets are empty, and have weight 0 in the end: without them the fit takes a tenth of the time.
        used = np.flatnonzero(np.diff(counts.indptr))
        regression = LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=300, random_state=0)
        regression.fit(counts[:, used].tocsr(), np.asarray(violations, dtype=bool))
        weights = np.zeros(counts.shape[1])
        weights[used] = regression.coef_[0]
        return cls(weights, float(regression.intercept_[0]))

    def scores(self, contents: Sequence[Content]) -> Scores:
        """The log odds of a violation, one for each content."""
        if not contents:
            return np.empty(0)
        counts = _features().transform([screen_text(content) for content in contents])
        return cast(Scores, counts @ self.weights + self.intercept)

    def dumps(self) -> bytes:
        """The screen as bytes: a pipeline of scikit-learn, by skops."""
        import skops.io
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        regression = LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=300, random_state=0)
        regression.coef_, regression.intercept_ = self.weights[np.newaxis], np.array([self.intercept])
        regression.classes_, regression.n_features_in_ = np.array([False, True]), len(self.weights)
        return cast(bytes, skops.io.dumps(make_pipeline(_features(), regression)))

    @classmethod
    def loads(cls, data: bytes) -> "LinearScreen":
        """The screen from bytes. Raises TableError if they are none, or hold anything that a linear screen has not."""
        import skops.io

        try:
            pipeline: Pipeline = skops.io.loads(data, trusted=[])
            regression: Any = pipeline[-1]
            return cls(np.asarray(regression.coef_[0]), float(regression.intercept_[0]))
        except Exception as error:  # skops raises what zipfile, json and its own audit raise
            raise TableError(f"The stored screen cannot be read ({type(error).__name__}). Train it again.") from error


@lru_cache(maxsize=1)
def _features() -> "FeatureUnion":
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.pipeline import make_union

    characters = HashingVectorizer(analyzer="char_wb", ngram_range=CHARACTERS, n_features=BUCKETS)
    words = HashingVectorizer(token_pattern=r"(?u)\b\w+\b", ngram_range=WORDS, n_features=BUCKETS)
    return make_union(characters, words)
