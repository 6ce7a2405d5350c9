"""A mistyped name gets the existing name it is most similar to as a suggestion, an unrelated name none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.suggest import closest_match

pytestmark = pytest.mark.unit
EXISTING = ["window", "deadline_s", "start_deadline_s", "url", "model", "model_name", "GC2", "old-watch"]


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("windw", "window"), ("widnow", "window"), ("windows", "window"), ("uri", "url"), ("deadline", "deadline_s"),
        ("model_nam", "model_name"), ("modle", "model"), ("Model-Name", "model_name"), ("D-G2", "GC2"),
        ("old_wach", "old-watch"),
    ],
)  # fmt: skip
def test_a_mistyped_name_gets_the_most_similar_name(name: str, match: str) -> None:
    assert closest_match(name, EXISTING) == match


@pytest.mark.parametrize("name", ["", "qqqqqq", "temperature", "x"])
def test_an_unrelated_name_gets_none(name: str) -> None:
    assert closest_match(name, EXISTING) is None


@pytest.mark.parametrize("existing", [["M1", "M2"], []])
def test_one_short_id_is_not_suggested_for_another(existing: list[str]) -> None:
    assert closest_match("M9", existing) is None


@given(st.text(max_size=8), st.lists(st.text(max_size=8), max_size=5))
def test_a_suggestion_exists_and_a_name_that_exists_is_its_own(name: str, existing: list[str]) -> None:
    assert closest_match(name, existing) in (*existing, None)
    assert closest_match(name, [name]) == name
    assert closest_match(name, [*existing, name]) is not None
