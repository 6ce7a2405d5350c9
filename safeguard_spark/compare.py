"""Compare: what two versions of a policy said of the same contents, beside how often one disagrees with itself.

Pure: counted pairs in, a value out. Spark only counts the pairs.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from safeguard_spark.compare_stats import Difference, Rate, Weighted, difference, mcnemar, rate
from safeguard_spark.policy import NONE
from safeguard_spark.relabel_rules import RuleChanges

FLOOR_LEVEL = 0.99  # that nothing is called beyond noise by chance, over all categories together
NO_VERDICT = "no verdict"


class Said(NamedTuple):
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

    old: Said
    new: Said
    contents: int
    stratum: str = ""


class Flip(StrEnum):
    """How two verdicts differ."""

    same = "same"
    stricter = "stricter"  # a violation now
    permissive = "permissive"  # none any more
    moved = "moved"  # a violation of another category or rule
    unread = "unread"  # one of them has no verdict


class Standing(StrEnum):
    """What a difference is worth."""

    beyond = "beyond noise"
    within = "within noise"
    unknown = "noise not measured"


class Floor(NamedTuple):
    """A share of flips beside the same share of a version against itself."""

    standing: Standing
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
    def standing(self) -> Standing:
        """Of the whole: beyond noise if the total or any category is."""
        if self.floor.standing is Standing.unknown:
            return Standing.unknown
        groups = [group.floor.standing for group in self.categories]
        return Standing.beyond if Standing.beyond in (self.floor.standing, *groups) else Standing.within

    @property
    def beyond(self) -> tuple[Group, ...]:
        """Categories with more flips than noise makes."""
        return tuple(group for group in self.categories if group.floor.standing is Standing.beyond)


def flip_of(old: Said, new: Said) -> Flip:
    """How two verdicts differ."""
    if (old.violation is None) != (new.violation is None):
        return Flip.unread
    if old.violation == new.violation:
        same = (old.category, sorted(old.rules)) == (new.category, sorted(new.rules))
        return Flip.same if same or not old.violation else Flip.moved
    return Flip.stricter if new.violation else Flip.permissive


def compare(
    refs: tuple[str, str],
    pairs: Sequence[Pair],
    noise: Sequence[Pair] = (),
    sizes: Mapping[str, int] | None = None,
    changes: RuleChanges | None = None,
) -> Comparison:
    """Compare counted pairs. `noise`: one version labelled twice; `sizes`: of strata, to weight a sample back."""
    changes = changes or RuleChanges()
    weigh, weigh_noise = _weights(pairs, sizes), _weights(noise, sizes)

    def share(hit: Callable[[Pair], bool], among: Callable[[Pair], bool] = lambda _: True) -> Rate | None:
        return _share(pairs, weigh, hit, among)

    seen = {pair.stratum for pair in pairs}
    total = sum((sizes or {}).values())
    judged = [p for p in pairs if p.old.violation is not None and p.new.violation is not None]
    moves = Counter[Flip]()
    for pair in judged:
        moves[flip_of(pair.old, pair.new)] += pair.contents
    names = _ordered(_category_of, [*pairs, *noise])
    rules = _ordered(lambda said: said.rules, [*pairs, *noise])
    level = 1 - (1 - FLOOR_LEVEL) / (1 + len(names))
    flipped = share(_is_flip)
    matrix = Counter[tuple[str, str]]()
    for pair in pairs:
        matrix[pair.old.column, pair.new.column] += pair.contents

    def group(name: str, of: Callable[[Said], tuple[str, ...]]) -> Group:
        return _group(name, of, (pairs, weigh), (noise, weigh_noise), level)

    return Comparison(
        old=refs[0],
        new=refs[1],
        compared=sum(pair.contents for pair in pairs),
        weighted=bool(sizes),
        unseen=sum(size for name, size in (sizes or {}).items() if name not in seen) / total if total else 0.0,
        flips={f: found for f in Flip if f is not Flip.same and (found := share(_flips(f))) is not None},
        flipped=flipped,
        floor=_floor(flipped, _share(noise, weigh_noise, _is_flip), level),
        violation_old=_share(judged, weigh, lambda pair: bool(pair.old.violation)),
        violation_new=_share(judged, weigh, lambda pair: bool(pair.new.violation)),
        p_value=mcnemar(moves[Flip.stricter], moves[Flip.permissive]),
        noise_contents=sum(pair.contents for pair in noise),
        categories=tuple(group(name, _category_of) for name in names),
        rules=tuple(group(name, lambda said: said.rules) for name in rules),
        matrix=dict(matrix),
        unexplained=share(lambda pair: _is_flip(pair) and not _explained(pair, changes)),
        changes=changes,
    )


def _weights(pairs: Iterable[Pair], sizes: Mapping[str, int] | None) -> dict[str, float] | None:
    """How many contents of the table one of each stratum stands for."""
    if not sizes:
        return None
    seen = Counter[str]()
    for pair in pairs:
        seen[pair.stratum] += pair.contents
    return {name: sizes.get(name, 0) / count for name, count in seen.items()}


def _share(
    pairs: Iterable[Pair],
    weigh: dict[str, float] | None,
    hit: Callable[[Pair], bool],
    among: Callable[[Pair], bool] = lambda _: True,
) -> Rate | None:
    listed = [pair for pair in pairs if among(pair)]
    return rate(Weighted(p.contents, 1.0 if weigh is None else weigh[p.stratum], hit(p)) for p in listed)


def _is_flip(pair: Pair) -> bool:
    return flip_of(pair.old, pair.new) is not Flip.same


def _flips(kind: Flip) -> Callable[[Pair], bool]:
    return lambda pair: flip_of(pair.old, pair.new) is kind


def _category_of(said: Said) -> tuple[str, ...]:
    return (said.column,) if said.violation else ()


def _ordered(of: Callable[[Said], tuple[str, ...]], pairs: Iterable[Pair]) -> list[str]:
    counts = Counter[str]()
    for pair in pairs:
        for name in {*of(pair.old), *of(pair.new)}:
            counts[name] += pair.contents
    return [name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


Side = tuple[Sequence[Pair], dict[str, float] | None]


def _group(name: str, of: Callable[[Said], tuple[str, ...]], real: Side, noise: Side, level: float) -> Group:
    def here(pair: Pair) -> bool:
        return name in of(pair.old) or name in of(pair.new)

    def changed(pair: Pair) -> bool:
        return (name in of(pair.old)) != (name in of(pair.new))

    flips = Counter[Flip]()
    for pair in real[0]:
        if here(pair) and changed(pair):
            flips[flip_of(pair.old, pair.new)] += pair.contents
    flipped = _share(*real, changed, here)
    return Group(
        name=name,
        old=sum(pair.contents for pair in real[0] if name in of(pair.old)),
        new=sum(pair.contents for pair in real[0] if name in of(pair.new)),
        flips=dict(flips),
        flipped=flipped,
        floor=_floor(flipped, _share(*noise, changed, here), level) if noise[0] else Floor(Standing.unknown),
    )


def _floor(flipped: Rate | None, noise: Rate | None, level: float) -> Floor:
    if noise is None or flipped is None:
        return Floor(Standing.unknown, noise)
    excess = difference(flipped, noise, 2 * level - 1)  # one-sided: fewer flips than noise are no finding
    return Floor(Standing.beyond if excess.low > 0 else Standing.within, noise, excess)


def _explained(pair: Pair, changes: RuleChanges) -> bool:
    for said in pair[:2]:
        if set(said.rules) & changes.explaining:
            return True
        if not said.rules and said.category in changes.explaining_categories:
            return True
    return False
