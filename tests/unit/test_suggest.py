"""A mistyped name leads to the known name it is most like, and an unrelated name to none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.suggest import closest_match

pytestmark = pytest.mark.unit
KNOWN = ["window", "deadline_s", "start_deadline_s", "url", "model", "model_name", "GC2", "old-watch"]


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("windw", "window"), ("widnow", "window"), ("windows", "window"), ("uri", "url"), ("deadline", "deadline_s"),
        ("model_nam", "model_name"), ("modle", "model"), ("Model-Name", "model_name"), ("D-G2", "GC2"),
        ("old_wach", "old-watch"),
    ],
)  # fmt: skip
def test_a_mistyped_name_leads_to_the_one_it_is_most_like(name: str, match: str) -> None:
    assert closest_match(name, KNOWN) == match


@pytest.mark.parametrize("name", ["", "qqqqqq", "temperature", "x"])
def test_an_unrelated_name_leads_to_none(name: str) -> None:
    assert closest_match(name, KNOWN) is None


@pytest.mark.parametrize("known", [["M1", "M2"], []])
def test_a_short_id_is_not_taken_for_another_one(known: list[str]) -> None:
    assert closest_match("M9", known) is None


@given(st.text(max_size=8), st.lists(st.text(max_size=8), max_size=5))
def test_the_match_is_a_known_name_and_no_name_is_closer_than_an_equal_one(name: str, known: list[str]) -> None:
    assert closest_match(name, known) in (*known, None)
    match = closest_match(name, [*known, name])
    assert match is not None and closest_match(name, [match]) == match
    assert closest_match(name, [name]) == name
