"""Scope: which contents to re-label. It depends only on the tables it was planned on."""

import re
from collections.abc import Collection
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from safeguard_spark.errors import ConfigError
from safeguard_spark.policy.scalars import Share

DEFAULT_SHARE = 0.01  # of the contents not affected: 300 sampled contents detect a 1 % rate of new violations
DATE = re.compile(r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2})?)?")


class ScopeKind(StrEnum):
    """Ways to select contents."""

    all = "all"
    touched = "touched"
    since = "since"
    where = "where"
    sample = "sample"
    screened_by = "screened-by"

    @property
    def uses_labels(self) -> bool:
        """Whether it depends on the old labels, and so has strata with weights."""
        return self in (ScopeKind.touched, ScopeKind.sample)


class Stratum(BaseModel):
    """Contents sampled at one rate: those whose sample score (0 to 1) is below the threshold.

    Stored plans call the last two `taken` and `up_to`.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    size: int
    sampled: int = Field(validation_alias=AliasChoices("sampled", "taken"))
    sample_threshold: float = Field(validation_alias=AliasChoices("sample_threshold", "up_to"))

    @model_serializer
    def _stored(self) -> dict[str, Any]:
        return {"name": self.name, "size": self.size, "taken": self.sampled, "up_to": self.sample_threshold}


class Scope(BaseModel):
    """Which contents. Samples follow from a hash of content id and seed, so the same contents are sampled again."""

    model_config = ConfigDict(frozen=True)

    kind: ScopeKind
    since: str | None = None
    where: str | None = None
    size: Annotated[int, Field(gt=0)] | None = None  # of a sample
    screen: str | None = None  # the id of a screen
    share: Share = DEFAULT_SHARE  # of the contents not affected
    seed: int = 0
    rules: tuple[str, ...] = ()  # those that affect old labels
    categories: tuple[str, ...] = ()
    strata: tuple[Stratum, ...] = ()

    @model_serializer(mode="wrap")
    def _stored(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = serialize(self)
        if self.screen is None:
            del values["screen"]  # the hash of plans of earlier releases stays
        return values

    def __str__(self) -> str:
        details = {
            ScopeKind.touched: f"and {self.share:.2%} of the rest",
            ScopeKind.since: self.since,
            ScopeKind.where: self.where,
            ScopeKind.sample: f"{self.size:,}" if self.size else None,
            ScopeKind.screened_by: self.screen,
        }
        detail = details.get(self.kind)
        return f"{self.kind.value} {detail}" if detail else self.kind.value


EXAMPLES = {
    ScopeKind.all: "all",
    ScopeKind.touched: "touched",
    ScopeKind.since: "since 2026-05-01",
    ScopeKind.where: "where CONDITION",
    ScopeKind.sample: "sample 2000",
    ScopeKind.screened_by: "screened-by ID",
}


def parse_scope(
    text: str, *, share: float = DEFAULT_SHARE, seed: int = 0, kinds: Collection[ScopeKind] = tuple(ScopeKind)
) -> Scope:
    """`all`, `touched`, `since DATE`, `where SQL`, `sample N` or `screened-by ID`. Raises ConfigError.

    `kinds` are those that a command takes.
    """
    scope = _parsed(text, share=share, seed=seed)
    if scope is None or scope.kind not in kinds:
        *others, last = (example for kind, example in EXAMPLES.items() if kind in kinds)
        raise ConfigError(f"--scope {text}: write {', '.join(others)} or {last} (in quotation marks).")
    return scope


def _parsed(text: str, *, share: float, seed: int) -> Scope | None:
    word, _, rest = text.strip().partition(" ")
    rest = rest.strip()
    values: dict[str, Any] = {"share": share, "seed": seed}
    if not 0 <= share <= 1:
        raise ConfigError(f"--share {share}: a share is from 0 to 1.")
    if word in ("all", "touched") and not rest:
        return Scope(kind=ScopeKind(word), **values)
    if word == "since" and DATE.fullmatch(rest):
        try:
            datetime.fromisoformat(rest)
        except ValueError:
            raise ConfigError(f"--scope {text}: there is no such date or time.") from None
        return Scope(kind=ScopeKind.since, since=rest, **values)
    if word == "where" and rest:
        return Scope(kind=ScopeKind.where, where=rest, **values)
    if word == "sample" and re.fullmatch(r"\d[\d,_]*", rest) and int(re.sub(r"\D", "", rest)):
        return Scope(kind=ScopeKind.sample, size=int(re.sub(r"\D", "", rest)), **values)
    if word == "screened-by" and re.fullmatch(r"\w+", rest):
        return Scope(kind=ScopeKind.screened_by, screen=rest, **values)
    return None


def allocate(sizes: dict[str, int], total: int) -> dict[str, int]:
    """How many contents of each stratum a sample of `total` has.

    Equal parts; a stratum smaller than its part is sampled whole and leaves the remainder to the others. So a rare
    category is measured as well as a common one.
    """
    counts = dict.fromkeys(sizes, 0)
    remaining = min(total, sum(sizes.values()))
    smallest_first = sorted(sizes, key=lambda name: (sizes[name], name))
    for number, name in enumerate(smallest_first):
        counts[name] = min(sizes[name], remaining // (len(sizes) - number))
        remaining -= counts[name]
    return counts
