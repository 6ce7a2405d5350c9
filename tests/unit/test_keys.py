"""Identity: equal values have equal keys, and different values different ones."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.keys import canonical_json, sha256, work_key

pytestmark = pytest.mark.unit

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(JSON)
def test_canonical_json_is_json_of_the_same_value(value: object) -> None:
    assert json.loads(canonical_json(value)) == value


@given(st.dictionaries(st.text(max_size=3), JSON, max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(value: dict[str, object], chance: object) -> None:
    keys = list(value)
    chance.shuffle(keys)  # type: ignore[attr-defined]
    assert canonical_json({key: value[key] for key in keys}) == canonical_json(value)


@given(JSON, JSON)
def test_different_values_have_different_hashes(one: object, two: object) -> None:
    assert (sha256(one) == sha256(two)) == (canonical_json(one) == canonical_json(two))


def test_the_form_is_fixed() -> None:
    assert canonical_json({"b": [1, None, "é"], "a": True}) == '{"a":true,"b":[1,null,"é"]}'
    # The sha256sum of those bytes: other programs compute the same.
    assert sha256({"a": 1}) == "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"


@pytest.mark.parametrize("value", [math.nan, math.inf, {"a": [-math.inf]}])
def test_a_value_that_json_cannot_represent_has_no_hash(value: object) -> None:
    with pytest.raises(ValueError, match="JSON"):
        sha256(value)


@given(
    st.lists(st.text("ab", max_size=3), min_size=3, max_size=3),
    st.lists(st.text("ab", max_size=3), min_size=3, max_size=3),
)
def test_a_work_key_changes_with_each_of_its_three_parts_and_with_where_they_end(
    one: list[str], two: list[str]
) -> None:
    assert (work_key(*one) == work_key(*two)) == (one == two)
