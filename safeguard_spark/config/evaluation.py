"""What an evaluation must show, line by line."""

from typing import Self

from pydantic import model_validator

from safeguard_spark.config.fields import Section
from safeguard_spark.policy.document import Share

ALL = "*"  # the slice of every content, and the policy of an exact match: no column's value and no policy's name


class SetGateConfig(Section):
    """What the labels of a golden set must show. Null: not required.

    A floor is decided on the exact one-sided lower bound at 95 %, a ceiling on the upper bound: what too few contents
    cannot show is not met.
    """

    set: str
    """The golden set, as name or name@version"""
    policy: str | None = None
    """Name of the policy; null: every policy that is evaluated on the set"""
    slice: str = ALL
    """The part of the set, as `column=value`; `*`: all of it"""
    min_recall: Share | None = None
    """Of the violations, at least this share is flagged"""
    min_precision: Share | None = None
    """Of the flagged contents, at least this share are violations"""
    min_exact_match: Share | None = None
    """Of the contents, at least this share is right under every policy"""
    max_false_positive_rate: Share | None = None
    """Of the safe contents, at most this share is flagged"""
    max_unreadable_rate: Share | None = None
    """Of the answers, at most this share cannot be read, refusals included"""

    @model_validator(mode="after")
    def _requires_something(self) -> Self:
        if not self.requirements:
            raise ValueError("requires nothing: give min_recall, max_false_positive_rate or another bound")
        return self

    @property
    def requirements(self) -> dict[str, float]:
        """The bounds that are required, by key, such as `min_recall`."""
        return {key: value for key, value in self.model_dump(exclude_none=True).items() if key[:4] in ("min_", "max_")}
