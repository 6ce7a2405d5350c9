"""Two versions compared: planted flips are detected in their category, and noise is reported as noise."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.evaluation.comparison.compare import (
    Comparison,
    Flip,
    Pair,
    Significance,
    VerdictKey,
    compare_pairs,
    flip_of,
)
from safeguard_spark.evaluation.comparison.report import comparison_json, comparison_text
from safeguard_spark.relabel.rules import RuleChanges

pytestmark = pytest.mark.unit

SAFE, NO_VERDICT = VerdictKey(False), VerdictKey(None)
REVIEW = VerdictKey(None, "review")
CATEGORIES = {"counterfeit": "M1", "weapons": "M2", "drugs": "M3", "spam": "M4"}
SHARES = [("", 0.6), ("counterfeit", 0.15), ("weapons", 0.1), ("drugs", 0.1), ("spam", 0.05)]
NOISE, REAL = 0.02, 0.10


def violation(category: str) -> VerdictKey:
    return VerdictKey(True, category, (CATEGORIES[category],))


def random_verdict(random: Random) -> VerdictKey:
    name = random.choices([name for name, _ in SHARES], [share for _, share in SHARES])[0]
    return violation(name) if name else SAFE


def noisy(verdict: VerdictKey, random: Random) -> VerdictKey:
    """The same verdict, except for one in fifty."""
    if random.random() >= NOISE:
        return verdict
    return SAFE if verdict.violation else violation(random.choice(list(CATEGORIES)))


def counted_pairs(pairs: list[tuple[VerdictKey, VerdictKey]]) -> list[Pair]:
    return [Pair(old, new, count) for (old, new), count in Counter(pairs).items()]


def planted(seed: int, *, real: float, contents: int = 10_000, twice: int = 3_000) -> Comparison:
    random = Random(seed)
    first = [random_verdict(random) for _ in range(contents)]
    pairs = []
    for verdict in first:
        changed = SAFE if verdict.category == "weapons" and random.random() < real else verdict
        pairs.append((verdict, noisy(changed, random)))
    noise = [(verdict, noisy(verdict, random)) for verdict in first[:twice]]
    return compare_pairs(("p@1.0.0", "p@1.1.0"), counted_pairs(pairs), counted_pairs(noise))


def test_planted_flips_are_detected_in_their_category_and_a_version_against_itself_is_noise() -> None:
    within, noise_covered, flips_covered, right_category = 0, 0, 0, 0
    for seed in range(20):
        itself = planted(seed, real=0.0)
        within += itself.significance is Significance.within
        comparison = planted(100 + seed, real=REAL)
        assert comparison.significance is Significance.beyond
        right_category += [(group.name, group.direction) for group in comparison.beyond_noise] == [
            ("weapons", "more permissive")
        ]
        noise = comparison.floor.noise
        assert noise is not None
        noise_covered += noise.low <= NOISE <= noise.high
        weapons = next(group for group in comparison.categories if group.name == "weapons")
        # Of what was a weapon: a tenth really, and of the others the noise.
        lost = REAL + (1 - REAL) * NOISE
        gained = SHARES[0][1] * NOISE / len(CATEGORIES)
        expected = (0.1 * lost + gained) / (0.1 + gained)
        assert weapons.flipped is not None
        flips_covered += weapons.flipped.low <= expected <= weapons.flipped.high
    assert within >= 18 and right_category >= 18
    assert noise_covered >= 17 and flips_covered >= 17  # intervals of 95 %


@pytest.mark.parametrize(
    ("old", "new", "flip"),
    [
        (SAFE, SAFE, Flip.same),
        (SAFE, violation("spam"), Flip.stricter),
        (violation("spam"), SAFE, Flip.permissive),
        (violation("spam"), violation("drugs"), Flip.moved),
        (VerdictKey(True, "spam", ("M4", "M5")), VerdictKey(True, "spam", ("M5", "M4")), Flip.same),
        (VerdictKey(True, "spam", ("M4",)), VerdictKey(True, "spam", ("M5",)), Flip.moved),
        (SAFE, REVIEW, Flip.stricter),
        (REVIEW, violation("spam"), Flip.stricter),
        (violation("spam"), REVIEW, Flip.permissive),
        (REVIEW, SAFE, Flip.permissive),
        (REVIEW, REVIEW, Flip.same),
        (REVIEW, NO_VERDICT, Flip.unread),
        (NO_VERDICT, REVIEW, Flip.unread),
        (NO_VERDICT, SAFE, Flip.unread),
        (NO_VERDICT, NO_VERDICT, Flip.same),
    ],
)
def test_flips_have_a_direction(old: VerdictKey, new: VerdictKey, flip: Flip) -> None:
    assert flip_of(old, new) is flip


verdicts = st.sampled_from([SAFE, NO_VERDICT, *(violation(name) for name in CATEGORIES)])
some_pairs = st.lists(
    st.builds(Pair, verdicts, verdicts, st.integers(1, 50), st.sampled_from(["a", "b"])), min_size=1, max_size=12
)


@given(some_pairs, some_pairs)
def test_every_content_is_counted_once_whatever_the_pairs(pairs: list[Pair], noise: list[Pair]) -> None:
    total = sum(pair.contents for pair in pairs)
    comparison = compare_pairs(("p@1.0.0", "p@1.1.0"), pairs, noise, {"a": 500, "b": 70})
    assert comparison.compared == total == sum(comparison.matrix.values())
    plain = compare_pairs(("p@1.0.0", "p@1.1.0"), pairs)
    assert plain.flipped is not None
    assert abs(sum(rate.value for rate in plain.flips.values()) - plain.flipped.value) < 1e-9
    for group in comparison.categories:
        assert group.old == sum(p.contents for p in pairs if p.old.violation and p.old.category == group.name)
    assert comparison_text(comparison, "all") and comparison_json(comparison)["compared"] == total


@given(some_pairs)
def test_with_versions_swapped_stricter_is_more_permissive(pairs: list[Pair]) -> None:
    forward = compare_pairs(("p@1", "p@2"), pairs)
    backward = compare_pairs(("p@2", "p@1"), [pair._replace(old=pair.new, new=pair.old) for pair in pairs])
    assert forward.flips[Flip.stricter] == backward.flips[Flip.permissive]
    assert forward.p_value == backward.p_value and forward.flipped == backward.flipped


def test_a_flip_is_unexplained_if_neither_verdict_names_a_changed_rule() -> None:
    pairs = [
        Pair(violation("weapons"), SAFE, 10),
        Pair(SAFE, violation("spam"), 5),
        Pair(SAFE, SAFE, 85),
    ]
    comparison = compare_pairs(("p@1", "p@2"), pairs, changes=RuleChanges(changed=("M2",), categories=("weapons",)))
    assert comparison.unexplained is not None and comparison.unexplained.value == 0.05
    bare = [pair._replace(old=pair.old._replace(rules=()), new=pair.new._replace(rules=())) for pair in pairs]
    by_category = compare_pairs(("p@1", "p@2"), bare, changes=RuleChanges(changed=("M2",), categories=("weapons",)))
    assert by_category.unexplained is not None and by_category.unexplained.value == 0.05


def test_strata_are_weighted_back_to_the_table_and_strata_without_a_content_are_reported() -> None:
    pairs = [Pair(violation("spam"), SAFE, 50, "spam"), Pair(SAFE, SAFE, 50, "none")]
    comparison = compare_pairs(("p@1", "p@2"), pairs, sizes={"spam": 100, "none": 800, "drugs": 100})
    assert comparison.weighted and comparison.flipped is not None
    assert round(comparison.flipped.value, 4) == round(100 / 900, 4)
    assert comparison.unseen == 0.1 and "10.0% of the table" in comparison_text(comparison, "")
