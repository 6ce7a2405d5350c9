"""Plan and apply on a table of 200,000 rows, eight rules of which one changed: seconds, and calls against the plan.

python -m tests.bench.relabel_plan [--rows 200000]
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from safeguard_spark.config.load import build_config
from safeguard_spark.config.model import RunConfig
from safeguard_spark.policy.document import Policy, parse_policy
from safeguard_spark.relabel.budget import Budget
from safeguard_spark.relabel.scope import parse_scope
from safeguard_spark.spark.label.job import label_table
from safeguard_spark.spark.relabel.apply import apply_plan, prepare_application
from safeguard_spark.spark.relabel.planner import PlanRequest, plan_relabel
from safeguard_spark.spark.relabel.promote import promote_version
from safeguard_spark.spark.session import session

RULES = 8
T = TypeVar("T")


def policy(version: str, changed: str) -> Policy:
    """Eight rules; `changed` is the text of the fourth."""
    rules = "\n".join(f"  - {{id: R{n}, category: category{n}}}" for n in range(RULES))
    text = "\n".join(f"- R{n}: {changed if n == 3 else f'no thing{n}.'}" for n in range(RULES))
    return parse_policy(f"---\nname: eight\nversion: {version}\nrules:\n{rules}\n---\n# Rules\n\n{text}\n")


def configuration(folder: Path) -> RunConfig:
    """Two cores, a scripted engine that counts its calls."""
    words = {f"thing{n} ": f"R{n}" for n in range(RULES)}
    return build_config({
        "source": {"location": str(folder / "posts"), "text_column": "body"},
        "output": str(folder / "tables"),
        "engine": {"kind": "scripted", "args": {"words": words, "calls_file": str(folder / "calls")}},
        "tracking": {"enabled": False},
        "relabel": {"gate": {"cases": False, "min_coverage": None}},
        "spark": {"master": "local[2]"},
    })  # fmt: skip


def calls(folder: Path) -> int:
    """Calls since the last time, counted by the engine itself."""
    file = folder / "calls"
    count = file.stat().st_size if file.exists() else 0
    file.unlink(missing_ok=True)
    return count


def main() -> None:
    """Label, plan, apply, promote, roll back, and print what each took."""
    options = argparse.ArgumentParser()
    options.add_argument("--rows", type=int, default=200_000)
    rows = options.parse_args().rows
    with tempfile.TemporaryDirectory() as name:
        measure(Path(name), rows)


def measure(folder: Path, rows: int) -> None:
    """One table in a folder."""
    run, old, new = configuration(folder), policy("1.0.0", "no thing3."), policy("1.1.0", "no thing3, but for toys.")
    spark = session(run)
    body = f"concat('a thing', id % 16, ' of number ', id % {rows * 9 // 10}, ', as described')"
    posts = spark.range(rows).selectExpr("concat('p', id) AS id", f"{body} AS body")
    posts.write.format("delta").save(str(folder / "posts"))
    timed("label", lambda: label_table(spark, run, [old], show=False))
    print(f"  calls {calls(folder):,}")
    for scope in ("touched", "sample 2000", "all"):
        planned = timed(
            f"plan {scope}", lambda s=scope: plan_relabel(spark, run, PlanRequest(old, new, parse_scope(s, share=0.0)))
        )
        print(f"  {planned.plan.rows:,} contents, {planned.plan.calls:,} calls planned")
        if scope == "touched":
            affected = planned.plan
    timed(
        "apply touched",
        lambda: apply_plan(spark, run, prepare_application(spark, run, affected, new), Budget(), show=False),
    )
    print(f"  calls {calls(folder):,}, planned {affected.calls:,}")
    labels = spark.read.format("delta").load(str(folder / "tables" / "labels"))
    under = labels.where("policy_version = '1.1.0'").select("content_id")
    before = labels.where("policy_version = '1.0.0'").join(under, on="content_id", how="left_semi")
    others = before.where("NOT array_contains(rule_ids, 'R3')").count()
    print(f"  labelled under other rules and called anyway: {others:,}")
    timed("promote", lambda: promote_version(spark, run, new))
    timed("roll back", lambda: promote_version(spark, run, old))
    print(f"  calls {calls(folder):,}")
    spark.stop()


def timed(what: str, work: Callable[[], T]) -> T:
    """Run it and print how long it took."""
    start = time.monotonic()
    result = work()
    print(f"{what}: {time.monotonic() - start:.1f} s", flush=True)
    return result


if __name__ == "__main__":
    main()
