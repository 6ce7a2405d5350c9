"""Order: contents cut into chunks by rank, the highest first, without sorting the whole table."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from safeguard_spark.spark.source import RANK

MAX_BOUNDARIES = 200  # ranks to cut at; between two boundaries, and among equal ranks, the content's hash decides


def chunk_by_rank(pending: DataFrame, num_chunks: int) -> DataFrame:
    """`pending` with `bucket`, 0 for the highest ranks. All ids of a content are in one chunk: the highest rank counts.

    The first `MAX_BOUNDARIES / 2` chunks are cut one by one, the rest in larger steps: a run with a budget labels the
    first chunks.
    """
    content = Window.partitionBy("work_key")
    ranked = pending.withColumn("value", F.max(F.coalesce(RANK, F.lit(float("-inf")))).over(content))
    boundaries = _boundaries(ranked, num_chunks)
    step = F.size(F.filter(F.array(*(F.lit(rank) for rank in boundaries)), lambda rank: F.col("value") < rank))
    stepped = ranked.withColumn("step", step if boundaries else F.lit(0))
    step_sizes = {int(row["step"]): int(row["count"]) for row in stepped.groupBy("step").count().collect()}
    chunk_size = max(1, -(-sum(step_sizes.values()) // num_chunks))
    first_chunk, bucket = 0, F.lit(0)
    for number in sorted(step_sizes):
        chunks_of_step = -(-step_sizes[number] // chunk_size)
        chunk = F.pmod(F.xxhash64("work_key"), F.lit(chunks_of_step)).cast("int")
        bucket = F.when(F.col("step") == number, F.lit(first_chunk) + chunk).otherwise(bucket)
        first_chunk += chunks_of_step
    return stepped.withColumn("bucket", bucket).drop("value", "step", RANK)


def _boundaries(ranked: DataFrame, num_chunks: int) -> list[float]:
    """Ranks at which a new step begins, the highest first."""
    single = min(num_chunks - 1, MAX_BOUNDARIES // 2)  # steps of one chunk
    wide = min(MAX_BOUNDARIES // 2, max(0, num_chunks - 1 - single))  # steps of several chunks
    shares = [number / num_chunks for number in range(1, single + 1)]
    wide_start = (single + 1) / num_chunks
    shares += [wide_start + (1 - wide_start) * number / (wide + 1) for number in range(1, wide + 1)]
    if not shares:
        return []
    percentiles = F.percentile_approx("value", [1 - share for share in shares], min(100 * num_chunks, 100_000))
    row = ranked.agg(percentiles.alias("boundaries")).first()
    boundaries = row["boundaries"] if row is not None and row["boundaries"] is not None else []
    return sorted({float(rank) for rank in boundaries}, reverse=True)
