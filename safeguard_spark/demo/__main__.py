"""`make demo`: a marketplace's content as a Delta table, labelled by the label job, and again without a call."""

import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from safeguard_spark.authoring.new import SHIPPED
from safeguard_spark.cli.app import run_command
from safeguard_spark.config.load import load_config
from safeguard_spark.demo import content, model

FOLDER = Path(".demo")
POLICY = "marketplace@1.0.0"
CONFIG = "conf/local.yaml"
COMMAND = [
    "label", "--config", CONFIG, "--source", f"{FOLDER}/posts", "--id-column", "id", "--conversation-column", "turns",
    "--policy", POLICY, "--output", f"{FOLDER}/tables",
]  # fmt: skip

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """Run the demo; returns the label job's exit code."""
    start = time.monotonic()
    console.rule("1. A content table")
    for name in ("posts", "tables"):
        shutil.rmtree(FOLDER / name, ignore_errors=True)
    prepare_files()
    console.print("Starting Spark (the first start downloads Delta's jar: up to a minute) …")
    from safeguard_spark.spark.session import session

    spark = session(load_config(Path(CONFIG), {}, []))
    rows = make_posts(spark)
    console.print(f"{rows:,} posts, messages and AI completions in the Delta table {FOLDER}/posts")

    console.rule("2. The label job")
    code = run()
    if code not in (0, 6):
        return code
    report(spark)

    console.rule("3. The same command again")
    again = run()
    if code == 0 and again == 0:
        console.print("Nothing was pending, so no model was called and no engine was started.")
    console.print(f"\nDemo finished in {time.monotonic() - start:.0f} s. Docs: README.md, docs/architecture.md")
    spark.stop()
    return code or again


def prepare_files() -> None:
    """Copy what ships and is not in this folder, as outside a checkout; unpack the model that conf/local.yaml names."""
    for name in ("conf", "policies"):
        if not Path(name).exists():
            shutil.copytree(SHIPPED / name, name)
    link = FOLDER / "model"
    FOLDER.mkdir(exist_ok=True)
    target = model.model_path()
    link.unlink(missing_ok=True)
    link.symlink_to(target.resolve(), target_is_directory=True)


def make_posts(spark: Any) -> int:
    """Generate the content and write it as a Delta table. Returns its number of rows."""
    parquet = FOLDER / "posts.parquet"
    content.write(parquet)
    posts = spark.read.parquet(str(parquet))
    posts.write.format("delta").save(str(FOLDER / "posts"))
    return int(posts.count())


def run() -> int:
    """Run the label job as its command line does."""
    console.print(f"$ safeguard {shlex.join(COMMAND)}", style="bold")
    return run_command(COMMAND)


def report(spark: Any) -> None:
    """Print the outcomes, the accuracy against the known answers, and ten rows."""
    posts = spark.read.format("delta").load(str(FOLDER / "posts"))
    posts.createOrReplaceTempView("posts")
    outcomes = spark.sql("SELECT outcome, count(*) AS n FROM labels_current GROUP BY outcome ORDER BY n DESC").collect()
    console.print("\nOutcomes: " + ", ".join(f"{row.outcome} {row.n:,}" for row in outcomes))
    score = spark.sql("""
        SELECT count(*) AS n, avg(int(l.violation = p.gold_violation)) AS violation,
          avg(int(coalesce(l.category, 'none') = p.gold_category)) AS category,
          count_if(l.violation AND p.gold_violation) / count_if(l.violation) AS precision,
          count_if(l.violation AND p.gold_violation) / count_if(p.gold_violation) AS recall
        FROM labels_current l JOIN posts p ON l.content_id = p.id WHERE l.outcome = 'labelled'""").first()
    console.print(
        f"Against the known answers, {score.n:,} labelled rows: violation right {score.violation:.1%} "
        f"(precision {score.precision:.1%}, recall {score.recall:.1%}), category right {score.category:.1%}\n"
    )
    table = Table("id", "content", "violation", "category", "rules", "rationale", box=None, padding=(0, 1))
    examples = spark.sql("""
        SELECT p.id, p.body, l.violation, l.category, l.rule_ids, l.rationale,
          row_number() OVER (PARTITION BY l.violation, l.category ORDER BY xxhash64(p.id)) AS k
        FROM labels_current l JOIN posts p ON l.content_id = p.id
        WHERE l.outcome = 'labelled' ORDER BY k, l.violation DESC, l.category LIMIT 10""").collect()
    for row in examples:
        table.add_row(
            row.id, shorten(row.body), "yes" if row.violation else "no", row.category or "", ", ".join(row.rule_ids),
            row.rationale or "",
        )  # fmt: skip
    Console(highlight=False, width=max(console.width, 140)).print(table)
    names = "{labels,reasoning,runs,policies,policy_rules,policy_activations}"
    console.print(f"\nTables: {FOLDER}/tables/{names}; MLflow: {FOLDER}/tables/mlflow.db")
    console.print("Try, without Spark:")
    query = f"SELECT category, count(*) FROM delta_scan('{FOLDER}/tables/labels') WHERE violation GROUP BY ALL"
    console.print(
        f"  .venv/bin/python -c \"import polars; print(polars.read_delta('{FOLDER}/tables/labels')"
        ".group_by('category').len())\""
    )
    console.print(f"  duckdb: {query}\n")


def shorten(text: str | None) -> str:
    """A content in one short line."""
    line = " ".join((text or "").split())
    return line if len(line) <= 60 else line[:59] + "…"


if __name__ == "__main__":
    sys.exit(main())
