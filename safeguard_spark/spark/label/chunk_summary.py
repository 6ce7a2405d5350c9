"""The results of a labelled chunk: its calls, tokens and engines, and what stopped it."""

from collections import Counter

from pyspark.sql import Column
from pyspark.sql import functions as F

from safeguard_spark.errors import ConfigError, EngineError, PolicyError, SafeguardError
from safeguard_spark.labelling.verdict import NO_FINAL_MESSAGE
from safeguard_spark.spark.label.commit import Chunk
from safeguard_spark.spark.label.run import Summary


def summary_of(chunk: Chunk) -> Summary:
    """The results of a labelled chunk, counted."""
    counts = {
        "called": F.count_if("called"),
        "answered": F.count_if(F.col("called") & F.col("finish_reason").isNotNull() & ~_is_other_format()),
        "second_looks": F.count_if(F.col("outcome").isNull()),
        "unavailable": F.count_if("engine_unavailable"),
        "over_share": F.count_if("over_share"),
        **{name: F.coalesce(F.sum(f"{name}_tokens"), F.lit(0)) for name in ("prompt", "cached", "completion")},
    }
    row = chunk.results.agg(
        *(count.alias(name) for name, count in counts.items()),
        F.max(F.when(F.col("engine_unavailable"), F.col("error"))).alias("unavailable_cause"),
        F.max("engine_error").alias("engine_error"),
        F.min("exit_code").alias("exit_code"),
        *(F.array_distinct(F.flatten(F.collect_list(name))).alias(name) for name in ("server_ids", "engine_forms")),
    ).first()
    assert row is not None  # an aggregate without groups has one row
    numbers = Counter({name: int(row[name]) for name in counts})
    sets = frozenset(row["server_ids"]), frozenset(row["engine_forms"])
    return Summary(numbers, row["unavailable_cause"], row["engine_error"], *sets, row["exit_code"])


def _is_other_format() -> Column:
    """Whether an answer is none of gpt-oss's: it says nothing of an engine that another dialect may need."""
    return F.coalesce(F.col("error") == NO_FINAL_MESSAGE, F.lit(False))


def error_of(summary: Summary) -> type[SafeguardError]:
    """The kind of error that ended a chunk without an answer: an outage passes, a wrong key or policy does not."""
    errors = {error.exit_code: error for error in (ConfigError, PolicyError)}
    return next((error for code, error in errors.items() if code == summary.exit_code), EngineError)
