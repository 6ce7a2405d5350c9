"""An evaluation of a large golden set, two policies, three slices: seconds, and memory against the size of the set.

    python -m tests.bench.evaluate [--rows 250000 1000000]

The labels are written beforehand, with errors and unreadable answers, so that no call is made and the evaluation alone
is measured. `labels_s` is the label run that finds nothing to do; `evaluate_s` is all the rest.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import psutil
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.config.load import build_config
from safeguard_spark.config.model import RunConfig
from safeguard_spark.evaluation.sets import load_set
from safeguard_spark.evaluation.side import Side
from safeguard_spark.labelling.rows import LabelSpec
from safeguard_spark.policy.document import Policy
from safeguard_spark.spark.evaluation.evaluate import Request, evaluate_and_record
from safeguard_spark.spark.session import session
from safeguard_spark.spark.source import text_hash, work_key
from safeguard_spark.spark.tables import Tables
from tests.build import policy

POLICIES = (policy("market"), policy("arms", text="No rifles.", rules={"M2": "weapons"}))
MANIFEST = """
{name: large, version: "1", licence: MIT, may_redistribute: true, location: "%s", id_column: id, text_column: text,
 mapping: {market: market, arms: arms}, slices: [language, site, kind]}
"""


def main() -> None:
    """Make sets of several sizes, evaluate them, and print one JSON object for each."""
    options = argparse.ArgumentParser()
    options.add_argument("--rows", type=int, nargs="+", default=[250_000, 1_000_000])
    for rows in options.parse_args().rows:
        with tempfile.TemporaryDirectory(prefix="evaluate-") as name:
            print(json.dumps(measured(Path(name), rows)), flush=True)


def measured(folder: Path, rows: int) -> dict[str, object]:
    """Write a set and its labels, evaluate it, and count by hand what it must say."""
    config = build_config({
        "output": str(folder / "tables"), "engine": {"kind": "scripted"}, "tracking": {"enabled": False},
        "spark": {"master": "local[2]"},
    })  # fmt: skip
    spark = session(config)
    _write_set(spark, folder, rows)
    _write_labels(spark, config, folder)
    (folder / "set.yaml").write_text(MANIFEST % (folder / "set"), encoding="utf-8")
    request = Request((load_set(folder / "set.yaml"),), (Side(config, POLICIES),))
    start = time.monotonic()
    result = evaluate_and_record(spark, config, request, show=False)
    total = time.monotonic() - start
    runs = Tables.open(spark, config.output).read(schema.RUNS)
    labels_s = runs.where(F.col("run_id").isin(*result.run_ids)).agg(F.sum(F.col("seconds")["total"])).first()
    assert labels_s is not None and result.calls == 0 and result.sets[0].contents == rows
    jvm = [child for child in psutil.Process().children(recursive=True) if child.name() == "java"]
    return {
        "rows": rows,
        "labels_s": round(labels_s[0], 1),
        "evaluate_s": round(total - labels_s[0], 1),
        "metrics": len(result.sets[0].first.metrics),
        "driver_python_peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        "jvm_mib": sum(process.memory_info().rss for process in jvm) >> 20,
    }


def _write_set(spark: SparkSession, folder: Path, rows: int) -> None:
    n = F.col("id")
    spark.range(0, rows, 1, 4).select(
        n.cast("string").alias("id"),
        F.concat(F.lit("content "), n).alias("text"),
        F.when(n % 50 != 7, n % 10 == 0).alias("market"),
        (n % 25 == 0).alias("arms"),
        F.concat(F.lit("l"), n % 12).alias("language"),
        F.concat(F.lit("s"), n % 5).alias("site"),
        F.concat(F.lit("k"), n % 3).alias("kind"),
    ).write.parquet(str(folder / "set"))


def _write_labels(spark: SparkSession, config: RunConfig, folder: Path) -> None:
    """A label for each content and policy: 2 % wrong, 0.5 % unreadable."""
    tables = Tables.open_or_create(spark, config.output)
    for number, of in enumerate(POLICIES):
        spec = LabelSpec.of(config, of)
        frame = spark.read.parquet(str(folder / "set")).withColumn("n", F.col("id").cast("long"))
        answer = F.coalesce(F.col(of.name), F.lit(False)) != (F.col("n") % 50 == number)
        unreadable = F.col("n") % 200 == 3
        values = _columns(of, spec, answer, unreadable)
        frame = frame.withColumn("content_hash", text_hash(F.col("text").cast("binary")))
        known = {column.name: F.lit(None).cast(column.type).alias(column.name) for column in schema.LABELS.columns}
        rows = frame.select(*(values.get(name, known[name]).alias(name) for name in schema.LABELS.names))
        rows.write.format("delta").mode("append").save(tables.path(schema.LABELS))


def _columns(of: Policy, spec: LabelSpec, answer: Column, unreadable: Column) -> dict[str, Column]:
    rule = of.rules[0]
    labeler_hash = spec.labeler.labeler_hash
    return {
        "collection": F.lit("large"), "content_id": F.col("id"), "content_hash": F.col("content_hash"),
        "policy": F.lit(of.name), "policy_version": F.lit(of.version), "policy_hash": F.lit(of.policy_hash),
        "labeler": F.lit(spec.labeler.name), "labeler_hash": F.lit(labeler_hash),
        "work_key": work_key(of.policy_hash, labeler_hash),
        "outcome": F.when(unreadable, "unparseable").otherwise("labelled"),
        "violation": F.when(~unreadable, answer),
        "category": F.when(answer & ~unreadable, F.lit(rule.category)),
        "rule_ids": F.when(answer & ~unreadable, F.array(F.lit(rule.id))).otherwise(F.array().cast("array<string>")),
        "model": F.lit("scripted"), "effort": F.lit(spec.labeler.effort.value),
        "prompt_tokens": F.lit(500).cast("long"),
        "completion_tokens": F.lit(40).cast("long"), "attempt": F.lit(1), "run_id": F.lit("made"), "chunk": F.lit(0),
        "source": F.lit("made"), "labelled_at": F.current_timestamp(),
    }  # fmt: skip


if __name__ == "__main__":
    main()
