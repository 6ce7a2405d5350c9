"""The glance screen: the reasoner's own model, asked for one token without reasoning (`labelling/glance.py`)."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from safeguard_spark.labelling.content import Content
from safeguard_spark.labelling.engine import Engine, Request
from safeguard_spark.labelling.glance import glance_of
from safeguard_spark.labelling.prompt import Prompt
from safeguard_spark.labelling.rows import LabelSpec, prepare
from safeguard_spark.screen.scorer import Scores


class GlanceScreen:
    """Scores contents by an open engine; a `Scorer`."""

    def __init__(self, spec: LabelSpec, engine: Engine) -> None:
        self._spec, self._engine, self._glance = spec, engine, glance_of(spec)

    def scores(self, contents: Sequence[Content]) -> Scores:
        """The log odds of a violation as the first word of an answer; NaN for a content without an answer."""
        scores = np.full(len(contents), np.nan)
        spec = replace(self._spec.call_spec, glance=self._glance)
        prepared = enumerate(prepare(self._spec, content) for content in contents)
        requests = (
            Request(number, self._glance.prompt(prompt)) for number, prompt in prepared if isinstance(prompt, Prompt)
        )
        for answer in self._engine.answers(spec, requests):
            odds = answer.completion.logprobs if answer.completion else None
            if odds and {self._glance.safe, self._glance.violation} <= odds.keys():
                scores[answer.key] = odds[self._glance.violation] - odds[self._glance.safe]
        return scores
