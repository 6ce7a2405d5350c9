"""Order: contents cut into chunks by a rank, the highest first, without a sort of the whole table."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from safeguard_spark.spark.source import RANK

CUTS = 200  # boundaries looked for; among equals and between two boundaries the hash of the content decides


def chunk_by_rank(todo: DataFrame, chunks: int) -> DataFrame:
    """`todo` with `bucket`, 0 for the highest ranks. All ids of a content are in one chunk: the highest rank counts.

    The first `CUTS / 2` chunks are cut one by one, what follows in larger steps; a run with a budget reads the first.
    """
    content = Window.partitionBy("work_key")
    ranked = todo.withColumn("value", F.max(F.coalesce(RANK, F.lit(float("-inf")))).over(content))
    boundaries = _boundaries(ranked, chunks)
    step = F.size(F.filter(F.array(*(F.lit(cut) for cut in boundaries)), lambda cut: F.col("value") < cut))
    stepped = ranked.withColumn("step", step if boundaries else F.lit(0))
    sizes = {int(row["step"]): int(row["count"]) for row in stepped.groupBy("step").count().collect()}
    size = max(1, -(-sum(sizes.values()) // chunks))
    first, cases = 0, F.lit(0)
    for number in sorted(sizes):
        parts = -(-sizes[number] // size)
        part = F.pmod(F.xxhash64("work_key"), F.lit(parts)).cast("int")
        cases = F.when(F.col("step") == number, F.lit(first) + part).otherwise(cases)
        first += parts
    return stepped.withColumn("bucket", cases).drop("value", "step", RANK)


def _boundaries(ranked: DataFrame, chunks: int) -> list[float]:
    """Ranks at which a new step begins, the highest first."""
    each = min(chunks - 1, CUTS // 2)
    shares = [number / chunks for number in range(1, each + 1)]
    wider = min(CUTS // 2, max(0, chunks - 1 - each))
    begun = (each + 1) / chunks
    shares += [begun + (1 - begun) * number / (wider + 1) for number in range(1, wider + 1)]
    if not shares:
        return []
    asked = F.percentile_approx("value", [1 - share for share in shares], min(100 * chunks, 100_000))
    row = ranked.agg(asked.alias("cuts")).first()
    cuts = row["cuts"] if row is not None and row["cuts"] is not None else []
    return sorted({float(cut) for cut in cuts}, reverse=True)
