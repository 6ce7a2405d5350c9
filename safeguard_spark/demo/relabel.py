"""`make demo-relabel`: a rule is edited; the change is planned, applied, compared, promoted, and rolled back.

Continues with the tables of `make demo`, or labels the table first.
"""

import shlex
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from safeguard_spark.cli.app import run_command
from safeguard_spark.config.load import load_config
from safeguard_spark.demo.__main__ import COMMAND, CONFIG, FOLDER, make_posts, prepare_files

OLD, NEW = "1.0.0", "1.1.0"
NAME = "marketplace"
TABLES = ["--config", CONFIG, "--source", f"{FOLDER}/posts", "--conversation-column", "turns", "--output",
          f"{FOLDER}/tables"]  # fmt: skip
REPORT = FOLDER / "compared.html"

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """Run the demo. Returns 0, or the exit code of the first command that failed."""
    start = time.monotonic()
    prepare_files()
    from safeguard_spark.spark.session import session

    spark = session(load_config(Path(CONFIG), {}, []))
    if not (FOLDER / "posts").is_dir():
        make_posts(spark)
    console.rule(f"1. The table under {NAME}@{OLD}")
    failed = run(COMMAND, (0, 6))
    failed = failed or change_the_policy(spark)
    console.print(f"\nDemo finished in {time.monotonic() - start:.0f} s. Docs: docs/changing-a-policy.md")
    spark.stop()
    return failed


def change_the_policy(spark: Any) -> int:
    """From the edited rule to the rollback. Returns 0, or the exit code of the command that failed."""
    console.rule("2. Diff: what the author changed")
    if failed := run(["diff", NAME, OLD, NEW]):
        return failed
    console.rule("3. Plan: what the change affects and costs")
    if failed := run(["relabel", "plan", "--policy", f"{NAME}@{NEW}", "--share", "0.1", *TABLES]):
        return failed
    plan_id = newest_plan(spark)
    console.rule("4. Apply: label what the change affects, and a tenth of the rest")
    if failed := run(["relabel", "apply", plan_id, "--carry", *TABLES], (0, 6)):
        return failed
    console.rule("5. Compare, with how often the model disagrees with itself")
    compare = ["relabel", "compare", f"{NAME}@{OLD}", f"{NAME}@{NEW}", "--noise-share", "0.1", "--html", str(REPORT)]
    if failed := run([*compare, *TABLES]):
        return failed
    console.rule("6. Promote: the gate is evaluated, then one row switches every reader")
    code = run(["relabel", "promote", f"{NAME}@{NEW}", *TABLES], (0, 7))
    if not is_active(spark, NEW):
        # The demo model is small and fails a case or two; a person may decide to promote anyway.
        code = run(["relabel", "promote", f"{NAME}@{NEW}", "--force", "--reason", "demo model", *TABLES])
    if code:
        return code
    console.rule("7. Roll back, without a call")
    return run(["relabel", "promote", f"{NAME}@{OLD}", *TABLES])


def is_active(spark: Any, version: str) -> bool:
    """Whether a version is the active one."""
    rows = spark.sql("SELECT policy_version FROM policy_activations ORDER BY activated_at DESC LIMIT 1")
    return bool(rows.first()[0] == version)


def newest_plan(spark: Any) -> str:
    """The id of the plan made last."""
    rows = spark.sql("SELECT plan_id FROM plans ORDER BY created_at DESC LIMIT 1")
    return str(rows.first()[0])


def run(argv: list[str], accepted: tuple[int, ...] = (0,)) -> int:
    """Run a command as a user would. Returns 0 for an accepted exit code, else the exit code."""
    console.print(f"$ safeguard {shlex.join(argv)}", style="bold")
    code = run_command(argv)
    return 0 if code in accepted else code


if __name__ == "__main__":
    sys.exit(main())
