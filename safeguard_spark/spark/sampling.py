"""Sampling by content id: the same seed always samples the same contents, whatever the table's order or size."""

from pyspark.sql import Column
from pyspark.sql import functions as F

SHADOW = "shadow"  # a seed: the same contents in every run, so that a version's sample is not paid for again
DISTINCT_SCORES = 1 << 52  # what a double holds exactly


def sample_score(seed: int | str) -> Column:
    """A number from 0 to 1 for each content id, always the same for the same seed."""
    return F.pmod(F.xxhash64("content_id", F.lit(str(seed))), F.lit(DISTINCT_SCORES)) / F.lit(float(DISTINCT_SCORES))
