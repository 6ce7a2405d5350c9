"""A run's figures are the sums over its chunks."""

from collections import Counter

import pytest

from safeguard_spark.spark.label.run import Summary, Tally

pytestmark = pytest.mark.unit


def test_each_chunk_counts_once_however_often_it_is_added() -> None:
    tally = Tally()
    tally.add(0, Summary(Counter(called=5, answered=4, prompt=90), server_ids=frozenset({"a"})))
    tally.add(1, Summary(Counter(called=2, unavailable=2), failed_starts={"executor 1": "no GPU"}))
    tally.add(0, Summary(Counter(called=5, answered=5, prompt=100), server_ids=frozenset({"b"})))
    assert +tally.counts == Counter(called=7, answered=5, prompt=100, unavailable=2)
    assert (tally.server_ids, tally.failed_starts) == ({"a", "b"}, {"executor 1": "no GPU"})
    assert tally.counts["over_share"] == 0
