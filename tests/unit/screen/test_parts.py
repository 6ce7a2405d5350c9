"""Parts: disjoint, stable, of the sizes that are said."""

from collections import Counter
from hashlib import sha256

import pytest

from safeguard_spark.screen.parts import Part, part

pytestmark = pytest.mark.unit


def hashes(count: int) -> list[str]:
    return [sha256(str(number).encode()).hexdigest() for number in range(count)]


def test_the_parts_have_the_sizes_that_are_said() -> None:
    sizes = Counter(part(content) for content in hashes(20_000))
    assert sizes[Part.train] / 20_000 == pytest.approx(0.4, abs=0.02)
    assert sizes[Part.calibration] / 20_000 == pytest.approx(0.4, abs=0.02)
    assert sizes[Part.test] / 20_000 == pytest.approx(0.2, abs=0.02)


def test_a_content_has_one_part_and_another_seed_divides_anew() -> None:
    contents = hashes(2_000)
    assert [part(content) for content in contents] == [part(content) for content in contents]
    moved = sum(part(content) != part(content, seed=1) for content in contents)
    assert moved / 2_000 == pytest.approx(1 - (0.4**2 + 0.4**2 + 0.2**2), abs=0.05)
