"""Columns: which there are, in a message that shows no content."""

import pytest

from safeguard_spark.spark.source.columns import known_columns

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("content", ["My old sofa is for sale", "x" * 81])
def test_a_content_in_place_of_a_name_is_not_shown(content: str) -> None:
    assert known_columns(["id", "label gold of both people"]) == "It has id, label gold of both people."
    said = known_columns(["0", content])
    assert content not in said and "add a first line with the names of its columns" in said
