"""Compare: what two versions of a policy said of the same contents, beside how often one disagrees with itself.

Pure: counted pairs in, a value out. Spark only counts the pairs.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple, TypeVar

from safeguard_spark.evaluation.intervals import Difference, Rate, Weighted, difference, mcnemar, rate
from safeguard_spark.policy.document import NONE
from safeguard_spark.relabel.rules import RuleChanges

FLOOR_LEVEL = 0.99  # that nothing is called beyond noise by chance, over all categories together
NO_VERDICT = "no verdict"
Key = TypeVar("Key")


class VerdictKey(NamedTuple):
    """A verdict, as far as it is compared. `violation` is None where there was none."""

    violation: bool | None
    category: str | None = None
    rules: tuple[str, ...] = ()

    @property
    def column(self) -> str:
        """Where it stands in the matrix."""
        if self.violation is None:
            return NO_VERDICT
        return (self.category or "violation") if self.violation else NONE


class Pair(NamedTuple):
    """So many contents of a stratum of which `old` and `new` were said."""

    old: VerdictKey
    new: VerdictKey
    contents: int
    stratum: str = ""


class Flip(StrEnum):
    """How two verdicts differ."""

    same = "same"
    stricter = "stricter"  # a violation now
    permissive = "permissive"  # none any more
    moved = "moved"  # a violation of another category or rule
    unread = "unread"  # one of them has no verdict


class Significance(StrEnum):
    """What a difference is worth."""

    beyond = "beyond noise"
    within = "within noise"
    unknown = "noise not measured"


class Floor(NamedTuple):
    """A share of flips beside the same share of a version against itself."""

    standing: Significance
    noise: Rate | None = None
    excess: Difference | None = None


@dataclass(frozen=True)
class Group:
    """The flips of one category or rule: of the contents either version put there."""

    name: str
    old: int
    new: int
    flips: dict[Flip, int]
    flipped: Rate | None
    floor: Floor

    @property
    def direction(self) -> str:
        """Which way most of its flips go, in a word."""
        stricter, permissive = self.flips.get(Flip.stricter, 0), self.flips.get(Flip.permissive, 0)
        moved = self.flips.get(Flip.moved, 0)
        if stricter + permissive + moved == 0:
            return "unchanged"
        ranked = sorted([(stricter, "stricter"), (permissive, "more permissive"), (moved, "moved")], reverse=True)
        return ranked[0][1] if ranked[0][0] > 2 * ranked[1][0] else "mixed"


@dataclass(frozen=True)
class Comparison:
    """Two versions compared. Rates are of the table where `weighted`, else of the contents compared."""

    old: str
    new: str
    compared: int
    weighted: bool
    unseen: float  # share of the table in strata of which nothing was compared
    flips: dict[Flip, Rate]
    flipped: Rate | None
    floor: Floor
    violation_old: Rate | None
    violation_new: Rate | None
    p_value: float
    noise_contents: int
    categories: tuple[Group, ...]
    rules: tuple[Group, ...]
    matrix: dict[tuple[str, str], int]
    unexplained: Rate | None
    changes: RuleChanges = field(default_factory=RuleChanges)

    @property
    def standing(self) -> Significance:
        """Of the whole: beyond noise if the total or any category is."""
        if self.floor.standing is Significance.unknown:
            return Significance.unknown
        groups = [group.floor.standing for group in self.categories]
        return Significance.beyond if Significance.beyond in (self.floor.standing, *groups) else Significance.within

    @property
    def beyond(self) -> tuple[Group, ...]:
        """Categories with more flips than noise makes."""
        return tuple(group for group in self.categories if group.floor.standing is Significance.beyond)


def flip_of(old: VerdictKey, new: VerdictKey) -> Flip:
    """How two verdicts differ."""
    if (old.violation is None) != (new.violation is None):
        return Flip.unread
    if old.violation == new.violation:
        same = (old.category, sorted(old.rules)) == (new.category, sorted(new.rules))
        return Flip.same if same or not old.violation else Flip.moved
    return Flip.stricter if new.violation else Flip.permissive


def compare_pairs(
    refs: tuple[str, str],
    pairs: Sequence[Pair],
    noise: Sequence[Pair] = (),
    sizes: Mapping[str, int] | None = None,
    changes: RuleChanges | None = None,
) -> Comparison:
    """Compare counted pairs. `noise`: one version labelled twice; `sizes`: of strata, to weight a sample back."""
    changes = changes or RuleChanges()
    real, again = _Pairs.of(pairs, sizes), _Pairs.of(noise, sizes)
    judged = replace(real, pairs=[p for p in pairs if p.old.violation is not None and p.new.violation is not None])
    moves = real.counts(lambda pair: flip_of(pair.old, pair.new))
    names = _ordered(_category_of, [*pairs, *noise])
    rules = _ordered(_rules_of, [*pairs, *noise])
    level = 1 - (1 - FLOOR_LEVEL) / (1 + len(names))
    flipped = real.share(_is_flip)
    return Comparison(
        old=refs[0],
        new=refs[1],
        compared=sum(pair.contents for pair in pairs),
        weighted=bool(sizes),
        unseen=_unseen(pairs, sizes or {}),
        flips={f: found for f in Flip if f is not Flip.same and (found := real.share(_flips(f))) is not None},
        flipped=flipped,
        floor=_floor(flipped, again.share(_is_flip), level),
        violation_old=judged.share(lambda pair: bool(pair.old.violation)),
        violation_new=judged.share(lambda pair: bool(pair.new.violation)),
        p_value=mcnemar(moves[Flip.stricter], moves[Flip.permissive]),
        noise_contents=sum(pair.contents for pair in noise),
        categories=tuple(_group(name, _category_of, real, again, level) for name in names),
        rules=tuple(_group(name, _rules_of, real, again, level) for name in rules),
        matrix=dict(real.counts(lambda pair: (pair.old.column, pair.new.column))),
        unexplained=real.share(lambda pair: _is_flip(pair) and not _explained(pair, changes)),
        changes=changes,
    )


@dataclass(frozen=True)
class _Pairs:
    """Pairs, and how many contents of the table one of each stratum stands for."""

    pairs: Sequence[Pair]
    weights: Mapping[str, float] | None

    @classmethod
    def of(cls, pairs: Sequence[Pair], sizes: Mapping[str, int] | None) -> "_Pairs":
        if not sizes:
            return cls(pairs, None)
        seen = Counter[str]()
        for pair in pairs:
            seen[pair.stratum] += pair.contents
        return cls(pairs, {name: sizes.get(name, 0) / count for name, count in seen.items()})

    def share(self, hit: Callable[[Pair], bool], among: Callable[[Pair], bool] = lambda _: True) -> Rate | None:
        weights = self.weights
        listed = [pair for pair in self.pairs if among(pair)]
        return rate(Weighted(p.contents, 1.0 if weights is None else weights[p.stratum], hit(p)) for p in listed)

    def counts(self, of: Callable[[Pair], Key]) -> Counter[Key]:
        counted = Counter[Key]()
        for pair in self.pairs:
            counted[of(pair)] += pair.contents
        return counted


def _unseen(pairs: Sequence[Pair], sizes: Mapping[str, int]) -> float:
    seen, total = {pair.stratum for pair in pairs}, sum(sizes.values())
    return sum(size for name, size in sizes.items() if name not in seen) / total if total else 0.0


def _is_flip(pair: Pair) -> bool:
    return flip_of(pair.old, pair.new) is not Flip.same


def _flips(kind: Flip) -> Callable[[Pair], bool]:
    return lambda pair: flip_of(pair.old, pair.new) is kind


def _category_of(said: VerdictKey) -> tuple[str, ...]:
    return (said.column,) if said.violation else ()


def _rules_of(said: VerdictKey) -> tuple[str, ...]:
    return said.rules


def _ordered(of: Callable[[VerdictKey], tuple[str, ...]], pairs: Iterable[Pair]) -> list[str]:
    counts = Counter[str]()
    for pair in pairs:
        for name in {*of(pair.old), *of(pair.new)}:
            counts[name] += pair.contents
    return [name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def _group(name: str, of: Callable[[VerdictKey], tuple[str, ...]], real: _Pairs, noise: _Pairs, level: float) -> Group:
    def here(pair: Pair) -> bool:
        return name in of(pair.old) or name in of(pair.new)

    def changed(pair: Pair) -> bool:
        return (name in of(pair.old)) != (name in of(pair.new))

    flips = replace(real, pairs=[pair for pair in real.pairs if here(pair) and changed(pair)])
    flipped = real.share(changed, here)
    return Group(
        name=name,
        old=sum(pair.contents for pair in real.pairs if name in of(pair.old)),
        new=sum(pair.contents for pair in real.pairs if name in of(pair.new)),
        flips=dict(flips.counts(lambda pair: flip_of(pair.old, pair.new))),
        flipped=flipped,
        floor=_floor(flipped, noise.share(changed, here), level),
    )


def _floor(flipped: Rate | None, noise: Rate | None, level: float) -> Floor:
    if noise is None or flipped is None:
        return Floor(Significance.unknown, noise)
    excess = difference(flipped, noise, 2 * level - 1)  # one-sided: fewer flips than noise are no finding
    return Floor(Significance.beyond if excess.low > 0 else Significance.within, noise, excess)


def _explained(pair: Pair, changes: RuleChanges) -> bool:
    for said in pair[:2]:
        if set(said.rules) & changes.explaining:
            return True
        if not said.rules and said.category in changes.explaining_categories:
            return True
    return False
