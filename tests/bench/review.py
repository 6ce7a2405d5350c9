"""Review a table of a million labels on two cores: draw a sample, open the console, take the next item, report.

python -m tests.bench.review [--rows 1000000] [--items 10000]
"""

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.config.load import build_config
from safeguard_spark.labelling.labeler import LabelerRef
from safeguard_spark.review.draws import DrawRequest
from safeguard_spark.review.tables import LabelTables
from safeguard_spark.spark.activations import activate
from safeguard_spark.spark.review.draw import draw_items
from safeguard_spark.spark.session import session
from safeguard_spark.spark.source import open_source, work_key
from safeguard_spark.spark.tables import Tables
from tests.build import policy
from tests.unit.review.browser import Browser, Process
from tools.rooms import ROOT

MARKET = policy()


def make(folder: Path, rows: int, items: int) -> dict[str, Any]:
    """Tables as a label job leaves them, and a draw of them. Returns the configuration's values."""
    values = {
        "source": {"location": str(folder / "posts"), "text_column": "body", "name": "posts"},
        "output": str(folder / "tables"), "policies": str(folder / "policies"), "engine": {"kind": "scripted"},
        "tracking": {"enabled": False}, "review": {"port": 0, "second_share": 0.0}, "spark": {"master": "local[2]"},
    }  # fmt: skip
    config = build_config(values)
    spark = session(config)
    posts = spark.range(rows).selectExpr("cast(id AS string) AS id", "concat('post number ', id) AS body")
    posts.write.format("delta").save(str(folder / "posts"))
    tables = Tables.open_or_create(spark, config.output)
    contents = open_source(spark, config.source).frame.select("content_id", "content_hash")
    is_flagged = F.pmod(F.xxhash64("content_id"), F.lit(50)) == 0
    texts = {
        "policy": MARKET.name, "policy_version": MARKET.version, "policy_hash": MARKET.policy_hash,
        "labeler": "scripted/low", "labeler_hash": "1" * 64, "model": "scripted", "effort": "low", "run_id": "bench",
        "source": "posts", "collection": "posts", "outcome": "labelled", "confidence": "high",
        "rationale": "A line in which the model says why it judged so, as it does for every content.",
    }  # fmt: skip
    labels = contents.withColumns({
        **{name: F.lit(text) for name, text in texts.items()},
        "work_key": work_key(MARKET.policy_hash, "1" * 64), "violation": is_flagged,
        "category": F.when(is_flagged, "counterfeit"),
        "rule_ids": F.when(is_flagged, F.array(F.lit("M1"))).otherwise(F.array().cast("array<string>")),
        "prompt_tokens": F.lit(900), "cached_tokens": F.lit(800), "completion_tokens": F.lit(120), "attempt": F.lit(1),
        "chunk": F.lit(0), "source_version": F.lit(0),
        "labelled_at": F.lit(datetime.now(UTC) - timedelta(hours=1)),
    })  # fmt: skip
    null = F.lit(None)
    typed = labels.select(*(
        (F.col(column.name) if column.name in labels.columns else null).cast(column.type).alias(column.name)
        for column in schema.LABELS.columns
    ))  # fmt: skip
    typed.write.format("delta").mode("append").save(f"{folder}/tables/labels")
    activate(tables, MARKET, LabelerRef("scripted/low", "1" * 64), "bench", "first labelled")
    start = time.perf_counter()
    draw = draw_items(spark, config, MARKET.name, DrawRequest(size=items))
    print(
        f"draw: {draw.items['estimate']:,} items of {rows:,} labels in {time.perf_counter() - start:.1f} s", flush=True
    )
    spark.stop()
    return values


def decide(output: Path, count: int) -> None:
    """Decisions on the first items, as the console appends them."""
    tables = LabelTables(str(output))
    opened = tables.open(schema.REVIEW_ITEMS)
    assert opened is not None
    rows = []
    columns = ("item_id", "collection", "content_id", "content_hash", "policy", "policy_version", "policy_hash")
    for number, item in enumerate(opened.to_pyarrow_table().to_pylist()[:count]):
        is_violation = item["violation"] and number % 5 > 0
        rows.append({
            **{name: item[name] for name in columns}, "decision_id": uuid.uuid4().hex, "stage": "first",
            "reviewer": "bench", "answer": "violation" if is_violation else "safe", "violation": bool(is_violation),
            "rule_ids": ["M1"] if is_violation else [], "is_blind": True, "seconds": 4.0,
            "decided_at": datetime.now(UTC), "reason": None, "withdraws": None,
        })  # fmt: skip
    tables.create(schema.DECISIONS)
    tables.append(schema.DECISIONS, rows)


def console(config: Path) -> None:
    """From the command to the first page, and from a decision to the next item."""
    start = time.perf_counter()
    process = Process(config, append_every_s=30)
    browser = Browser(process.url)
    browser.get("queue/market")
    waited = time.perf_counter() - start
    print(f"console: the first item is there after {waited:.2f} s, {process.cpu_s:.2f} s of them its own", flush=True)
    seconds = []
    for _ in range(100):
        browser.decide("safe", reason="as the bench says")
        start = time.perf_counter()
        browser.next()
        seconds.append(time.perf_counter() - start)
    middle, slow = statistics.median(seconds), sorted(seconds)[94]
    print(f"next item: median {1000 * middle:.0f} ms, 95th percentile {1000 * slow:.0f} ms", flush=True)
    process.end(signal.SIGTERM)


def report(config: Path, folder: Path) -> None:
    """The command `safeguard report`, from its start to its page."""
    day = datetime.now(UTC).date()
    period = ["--from", str(day - timedelta(days=1)), "--to", str(day), "--html", str(folder / "report.html")]
    for known in ("now", "then"):
        start = time.perf_counter()
        command = [
            sys.executable,
            "-m",
            "safeguard_spark",
            "report",
            "--config",
            str(config),
            *period,
            "--known",
            known,
        ]
        ran = subprocess.run([*command, "--json"], cwd=ROOT, capture_output=True, text=True, check=True)
        rates = {one["name"]: one["value"] for one in json.loads(ran.stdout.splitlines()[-1])["indicators"]}
        seconds = time.perf_counter() - start
        print(f"report ({known}): {seconds:.1f} s, violation rate {rates['violation_rate']}", flush=True)


def main() -> None:
    """Make the tables, and print what each step takes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-review-") as name:
        folder = Path(name)
        values = make(folder, options.rows, options.items)
        config = folder / "run.yaml"
        config.write_text(yaml.safe_dump(values))
        decide(folder / "tables", options.items // 2)
        report(config, folder)
        console(config)


if __name__ == "__main__":
    main()
