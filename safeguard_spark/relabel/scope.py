"""Scope: which contents a re-labelling is about. A function of nothing but the tables it was planned on."""

import re
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from safeguard_spark.errors import ConfigError
from safeguard_spark.policy.document import Share

DEFAULT_SHARE = 0.01  # of what no changed rule touched: 300 contents show what was newly caught at 1 %
DATE = re.compile(r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2})?)?")


class ScopeKind(StrEnum):
    """Ways to choose contents."""

    all = "all"
    touched = "touched"
    since = "since"
    where = "where"
    sample = "sample"

    @property
    def by_label(self) -> bool:
        """Whether it reads the old labels, and so has strata with weights."""
        return self in (ScopeKind.touched, ScopeKind.sample)


class Stratum(BaseModel):
    """Contents drawn alike: how many there are, how many were taken, and up to which draw (0 to 1)."""

    model_config = ConfigDict(frozen=True)

    name: str
    size: int
    taken: int
    up_to: float


class Scope(BaseModel):
    """Which contents. A content is drawn by a hash of its id and the seed, so the same ones are drawn again."""

    model_config = ConfigDict(frozen=True)

    kind: ScopeKind
    since: str | None = None
    where: str | None = None
    size: Annotated[int, Field(gt=0)] | None = None  # of a sample
    share: Share = DEFAULT_SHARE  # of what is not touched
    seed: int = 0
    rules: tuple[str, ...] = ()  # touched ones
    categories: tuple[str, ...] = ()
    strata: tuple[Stratum, ...] = ()

    def __str__(self) -> str:
        given = {"since": self.since, "where": self.where, "sample": f"{self.size:,}" if self.size else None}
        said = given.get(self.kind.value)
        if self.kind is ScopeKind.touched:
            said = f"and {self.share:.2%} of the rest"
        return f"{self.kind.value} {said}" if said else self.kind.value


def parse_scope(text: str, *, share: float = DEFAULT_SHARE, seed: int = 0) -> Scope:
    """`all`, `touched`, `since DATE`, `where SQL` or `sample N`. Raises ConfigError."""
    word, _, rest = text.strip().partition(" ")
    rest = rest.strip()
    values: dict[str, Any] = {"share": share, "seed": seed}
    if not 0 <= share <= 1:
        raise ConfigError(f"--share {share}: a share is from 0 to 1.")
    if word in ("all", "touched") and not rest:
        return Scope(kind=ScopeKind(word), **values)
    if word == "since" and DATE.fullmatch(rest):
        return Scope(kind=ScopeKind.since, since=rest, **values)
    if word == "where" and rest:
        return Scope(kind=ScopeKind.where, where=rest, **values)
    if word == "sample" and re.fullmatch(r"\d[\d,_]*", rest) and int(re.sub(r"\D", "", rest)):
        return Scope(kind=ScopeKind.sample, size=int(re.sub(r"\D", "", rest)), **values)
    raise ConfigError(
        f"--scope {text}: write all, touched, since 2026-05-01, where CONDITION, or sample 2000 (in quotation marks)."
    )


def allocate(sizes: dict[str, int], total: int) -> dict[str, int]:
    """How many of each stratum a sample of `total` takes: as many of each as there are, the rare ones whole.

    Equal parts, and what a small stratum leaves goes to the others; so a rare category is seen as well as a common one.
    """
    taken = dict.fromkeys(sizes, 0)
    left, open_ones = min(total, sum(sizes.values())), sorted(sizes, key=lambda name: (sizes[name], name))
    while open_ones:
        name = open_ones.pop(0)
        taken[name] = min(sizes[name], left // (len(open_ones) + 1))
        left -= taken[name]
    return taken
