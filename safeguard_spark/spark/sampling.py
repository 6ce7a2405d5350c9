"""Sampling by content id: the same seed always draws the same contents, whatever the table's order or size."""

from pyspark.sql import Column
from pyspark.sql import functions as F

DRAWS = 1 << 52  # distinct values: what a double holds exactly


def draw(seed: int | str) -> Column:
    """A number from 0 to 1 for each content id, the same one every time."""
    return F.pmod(F.xxhash64("content_id", F.lit(str(seed))), F.lit(DRAWS)) / F.lit(float(DRAWS))
