"""`make demo-relabel`: a rule is edited; what changes is planned, paid for, compared, promoted, and rolled back.

Goes on from what `make demo` left, or labels the table first.
"""

import shlex
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from safeguard_spark.cli.app import run_command
from safeguard_spark.config.load import load_config
from safeguard_spark.demo.__main__ import COMMAND, CONFIG, FOLDER, make_posts, prepare_model

OLD, NEW = "1.0.0", "1.1.0"
NAME = "marketplace"
TABLES = ["--config", CONFIG, "--source", f"{FOLDER}/posts", "--conversation-column", "turns", "--output",
          f"{FOLDER}/tables"]  # fmt: skip
REPORT = FOLDER / "compared.html"

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """Run the demo; returns 0, or the exit code of the first command that did not end as it should."""
    began = time.monotonic()
    prepare_model()
    from safeguard_spark.spark.session import session

    spark = session(load_config(Path(CONFIG), {}, []))
    if not (FOLDER / "posts").is_dir():
        make_posts(spark)
    console.rule(f"1. The table under {NAME}@{OLD}")
    failed = run(COMMAND, (0, 6))
    failed = failed or chapters(spark)
    console.print(f"\nDemo finished in {time.monotonic() - began:.0f} s. Docs: docs/changing-a-policy.md")
    spark.stop()
    return failed


def chapters(spark: Any) -> int:
    """From the edited rule to the roll-back; 0, or the exit code of the command that failed."""
    console.rule("2. What the author changed")
    if failed := run(["diff", NAME, OLD, NEW]):
        return failed
    console.rule("3. Know")
    if failed := run(["relabel", "plan", "--policy", f"{NAME}@{NEW}", "--share", "0.1", *TABLES]):
        return failed
    plan_id = newest_plan(spark)
    console.rule("4. Pay, for what the change touches and a tenth of the rest")
    if failed := run(["relabel", "apply", plan_id, "--carry", *TABLES], (0, 6)):
        return failed
    console.rule("5. Compare, beside how often the model disagrees with itself")
    compare = ["relabel", "compare", f"{NAME}@{OLD}", f"{NAME}@{NEW}", "--noise-share", "0.1", "--html", str(REPORT)]
    if failed := run([*compare, *TABLES]):
        return failed
    console.rule("6. Promote: the gate first, then one row switches every reader")
    promoted = run(["relabel", "promote", f"{NAME}@{NEW}", *TABLES], (0, 7))
    if is_refused(spark):
        # The demo model is small and misses a case or two; a person may decide that this is no reason to wait.
        promoted = run(["relabel", "promote", f"{NAME}@{NEW}", "--force", "--reason", "demo model", *TABLES])
    if promoted:
        return promoted
    console.rule("7. Roll back, for nothing")
    return run(["relabel", "promote", f"{NAME}@{OLD}", *TABLES])


def is_refused(spark: Any) -> bool:
    """Whether the new version does not rule yet."""
    rows = spark.sql("SELECT policy_version FROM policy_activations ORDER BY activated_at DESC LIMIT 1")
    return bool(rows.first()[0] != NEW)


def newest_plan(spark: Any) -> str:
    """The plan just made."""
    rows = spark.sql("SELECT plan_id FROM plans ORDER BY created_at DESC LIMIT 1")
    return str(rows.first()[0])


def run(words: list[str], good: tuple[int, ...] = (0,)) -> int:
    """Run a command as a person would; 0 if it ended as it should, else its exit code."""
    console.print(f"$ safeguard {shlex.join(words)}", style="bold")
    code = run_command(words)
    return 0 if code in good else code


if __name__ == "__main__":
    sys.exit(main())
