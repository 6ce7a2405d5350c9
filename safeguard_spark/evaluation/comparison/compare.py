"""Compare: verdicts of two policy versions on the same contents, and how often one version disagrees with itself.

Pure: counted pairs in, a value out. Spark only counts the pairs.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from operator import attrgetter
from typing import NamedTuple, TypeVar

from safeguard_spark.evaluation.intervals import Difference, Rate, Weighted, difference, mcnemar, rate
from safeguard_spark.policy.document import NONE
from safeguard_spark.relabel.rules import RuleChanges

NOISE_LEVEL = 0.99  # family-wise confidence level: over all categories together
NO_VERDICT = "no verdict"
CATEGORIES, RULES = attrgetter("categories"), attrgetter("rules")  # the names that a verdict is counted under
Key = TypeVar("Key")


class VerdictKey(NamedTuple):
    """The part of a verdict that is compared. `violation` is None where there is no verdict, or for review."""

    violation: bool | None
    category: str | None = None
    rules: tuple[str, ...] = ()

    @property
    def column(self) -> str:
        """Its row or column in the matrix."""
        if self.violation is None:
            return self.category or NO_VERDICT  # review is a category of its own
        return (self.category or "violation") if self.violation else NONE

    @property
    def categories(self) -> tuple[str, ...]:
        """Its category, if it is a violation or for a person to decide."""
        return (self.column,) if self.violation or self.is_review else ()

    @property
    def is_review(self) -> bool:
        """Whether a person must decide: stricter than safe, more permissive than a violation."""
        return self.violation is None and self.category is not None


class Pair(NamedTuple):
    """A number of contents of a stratum with the same two verdicts."""

    old: VerdictKey
    new: VerdictKey
    contents: int
    stratum: str = ""


class Flip(StrEnum):
    """How two verdicts differ."""

    same = "same"
    stricter = "stricter"  # a violation now, or review where it was safe
    permissive = "permissive"  # no violation now, or safe where it was review
    moved = "moved"  # a violation of another category or rule
    unread = "unread"  # one of them has no verdict


class Significance(StrEnum):
    """Whether a difference is larger than noise."""

    beyond = "beyond noise"
    within = "within noise"
    unknown = "noise not measured"


class NoiseFloor(NamedTuple):
    """How often a version disagrees with itself, and the flips in excess of that."""

    significance: Significance
    noise: Rate | None = None
    excess: Difference | None = None


@dataclass(frozen=True)
class Group:
    """The flips of one category or rule, among the contents that either version assigned to it."""

    name: str
    old: int
    new: int
    flips: dict[Flip, int]
    flipped: Rate | None
    floor: NoiseFloor

    @property
    def direction(self) -> str:
        """The direction of most of its flips, in a word."""
        words = {Flip.stricter: "stricter", Flip.permissive: "more permissive", Flip.moved: "moved"}
        (count, word), (next_count, _), _ = sorted(((self.flips.get(f, 0), w) for f, w in words.items()), reverse=True)
        return "unchanged" if not count else word if count > 2 * next_count else "mixed"


@dataclass(frozen=True)
class Comparison:
    """Two versions compared, or one version under two labelers.

    Rates are over the table if `weighted`, else over the contents compared.
    """

    old: str
    new: str
    compared: int
    weighted: bool
    unseen: float  # share of the table in strata without a compared content
    flips: dict[Flip, Rate]
    flipped: Rate | None
    floor: NoiseFloor
    violation_old: Rate | None
    violation_new: Rate | None
    p_value: float
    noise_contents: int
    categories: tuple[Group, ...]
    rules: tuple[Group, ...]
    matrix: dict[tuple[str, str], int]
    unexplained: Rate | None
    changes: RuleChanges = field(default_factory=RuleChanges)
    labelers: tuple[str, str] | None = None  # whose verdicts the old and the new ones are, for people

    @property
    def significance(self) -> Significance:
        """Beyond noise if the total or any category is."""
        if self.floor.significance is Significance.unknown:
            return Significance.unknown
        return (
            Significance.beyond
            if self.floor.significance is Significance.beyond or self.beyond_noise
            else Significance.within
        )

    @property
    def beyond_noise(self) -> tuple[Group, ...]:
        """Categories with more flips than noise explains."""
        return tuple(group for group in self.categories if group.floor.significance is Significance.beyond)


def flip_of(old: VerdictKey, new: VerdictKey) -> Flip:
    """How two verdicts differ."""
    if old.is_review != new.is_review and NO_VERDICT not in (old.column, new.column):
        return Flip.stricter if new.violation or (new.is_review and not old.violation) else Flip.permissive
    if (old.violation is None) != (new.violation is None) or old.is_review != new.is_review:
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
    """Compare counted pairs.

    `noise`: pairs of one version labelled twice. `sizes`: contents of the table per stratum, to weight a sample back.
    """
    changes = changes or RuleChanges()
    weighted, weighted_noise = _WeightedPairs.of(pairs, sizes), _WeightedPairs.of(noise, sizes)
    judged = replace(weighted, pairs=[p for p in pairs if p.old.violation is not None and p.new.violation is not None])
    flips = weighted.counts(lambda pair: flip_of(pair.old, pair.new))
    categories = _most_frequent_first(CATEGORIES, [*pairs, *noise])
    rules = _most_frequent_first(RULES, [*pairs, *noise])
    level = 1 - (1 - NOISE_LEVEL) / (1 + len(categories))
    flipped = weighted.share(_is_flip)
    return Comparison(
        old=refs[0],
        new=refs[1],
        compared=sum(pair.contents for pair in pairs),
        weighted=bool(sizes),
        unseen=_unseen(pairs, sizes or {}),
        flips={f: share for f in Flip if f is not Flip.same and (share := weighted.share(_is_kind(f))) is not None},
        flipped=flipped,
        floor=_noise_floor(flipped, weighted_noise.share(_is_flip), level),
        violation_old=judged.share(lambda pair: bool(pair.old.violation)),
        violation_new=judged.share(lambda pair: bool(pair.new.violation)),
        p_value=mcnemar(flips[Flip.stricter], flips[Flip.permissive]),
        noise_contents=sum(pair.contents for pair in noise),
        categories=tuple(_group(name, CATEGORIES, weighted, weighted_noise, level) for name in categories),
        rules=tuple(_group(name, RULES, weighted, weighted_noise, level) for name in rules),
        matrix=dict(weighted.counts(lambda pair: (pair.old.column, pair.new.column))),
        unexplained=weighted.share(lambda pair: _is_flip(pair) and not _explained(pair, changes)),
        changes=changes,
    )


@dataclass(frozen=True)
class _WeightedPairs:
    """Pairs, and per stratum how many contents of the table one compared content stands for."""

    pairs: Sequence[Pair]
    weights: Mapping[str, float] | None

    @classmethod
    def of(cls, pairs: Sequence[Pair], sizes: Mapping[str, int] | None) -> "_WeightedPairs":
        if not sizes:
            return cls(pairs, None)
        compared = Counter[str]()
        for pair in pairs:
            compared[pair.stratum] += pair.contents
        return cls(pairs, {name: sizes.get(name, 0) / count for name, count in compared.items()})

    def share(self, is_hit: Callable[[Pair], bool], where: Callable[[Pair], bool] = lambda _: True) -> Rate | None:
        """The share of hits among the contents that `where` selects."""
        weights = self.weights
        pairs = [pair for pair in self.pairs if where(pair)]
        return rate(Weighted(p.contents, 1.0 if weights is None else weights[p.stratum], is_hit(p)) for p in pairs)

    def counts(self, key: Callable[[Pair], Key]) -> Counter[Key]:
        """Contents per key, unweighted."""
        counts = Counter[Key]()
        for pair in self.pairs:
            counts[key(pair)] += pair.contents
        return counts


def _unseen(pairs: Sequence[Pair], sizes: Mapping[str, int]) -> float:
    compared, total = {pair.stratum for pair in pairs}, sum(sizes.values())
    return sum(size for name, size in sizes.items() if name not in compared) / total if total else 0.0


def _is_flip(pair: Pair) -> bool:
    return flip_of(pair.old, pair.new) is not Flip.same


def _is_kind(kind: Flip) -> Callable[[Pair], bool]:
    return lambda pair: flip_of(pair.old, pair.new) is kind


def _most_frequent_first(names_of: Callable[[VerdictKey], tuple[str, ...]], pairs: Iterable[Pair]) -> list[str]:
    counts = Counter[str]()
    for pair in pairs:
        for name in {*names_of(pair.old), *names_of(pair.new)}:
            counts[name] += pair.contents
    return [name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def _group(
    name: str,
    names_of: Callable[[VerdictKey], tuple[str, ...]],
    weighted: _WeightedPairs,
    noise: _WeightedPairs,
    level: float,
) -> Group:
    def in_group(pair: Pair) -> bool:
        return name in names_of(pair.old) or name in names_of(pair.new)

    def changed(pair: Pair) -> bool:
        return (name in names_of(pair.old)) != (name in names_of(pair.new))

    flips = replace(weighted, pairs=[pair for pair in weighted.pairs if changed(pair)])
    flipped = weighted.share(changed, in_group)
    return Group(
        name=name,
        old=sum(pair.contents for pair in weighted.pairs if name in names_of(pair.old)),
        new=sum(pair.contents for pair in weighted.pairs if name in names_of(pair.new)),
        flips=dict(flips.counts(lambda pair: flip_of(pair.old, pair.new))),
        flipped=flipped,
        floor=_noise_floor(flipped, noise.share(changed, in_group), level),
    )


def _noise_floor(flipped: Rate | None, noise: Rate | None, level: float) -> NoiseFloor:
    if noise is None or flipped is None:
        return NoiseFloor(Significance.unknown, noise)
    excess = difference(flipped, noise, 2 * level - 1)  # one-sided: fewer flips than noise mean nothing
    return NoiseFloor(Significance.beyond if excess.low > 0 else Significance.within, noise, excess)


def _explained(pair: Pair, changes: RuleChanges) -> bool:
    for verdict in (pair.old, pair.new):
        if set(verdict.rules) & changes.explaining:
            return True
        if not verdict.rules and verdict.category in changes.explaining_categories:
            return True
    return False
