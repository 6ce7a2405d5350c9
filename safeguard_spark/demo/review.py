"""`make demo-review`: a sample of the demo's labels is reviewed in a browser, and reported.

Continues with the tables of `make demo`, or labels the table first. The reviewer is a script that knows the right
answers; it sees the console as a person does, in a real browser, and presses keys.
"""

import csv
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from safeguard_spark.config.load import load_config
from safeguard_spark.demo.__main__ import COMMAND, CONFIG, FOLDER, make_posts, prepare_files
from safeguard_spark.demo.relabel import TABLES, run
from safeguard_spark.terminal import aligned

NAME = "marketplace"
SIZE = 240  # items: some minutes of a script's time, and a day of a person's
CHROMIUM = Path("/usr/bin/chromium")
PAGE, FIGURES = FOLDER / "review.html", FOLDER / "review.csv"
ITEMS, POSTS = (f"delta.`{(FOLDER / name).absolute()}`" for name in ("tables/review_items", "posts"))

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """Run the demo. Returns 0, or the exit code of the first command that failed."""
    start = time.monotonic()
    if problem := _missing():
        console.print(problem)
        return 2
    prepare_files()
    from safeguard_spark.spark.session import session

    spark = session(load_config(Path(CONFIG), {}, []))
    if not (FOLDER / "posts").is_dir():
        make_posts(spark)
    console.rule("1. The table")
    failed = run(COMMAND, (0, 6)) or _review(spark)
    console.print(f"\nDemo finished in {time.monotonic() - start:.0f} s. Docs: docs/reviewing.md, docs/reporting.md")
    spark.stop()
    return failed


def _missing() -> str:
    """What the demo needs and this machine lacks."""
    try:
        import playwright  # noqa: F401
    except ModuleNotFoundError:
        return "The demo's reviewer needs playwright: make setup"
    return "" if CHROMIUM.exists() else f"The demo's reviewer needs {CHROMIUM}: apt-get install chromium"


def _review(spark: Any) -> int:
    """From the sample to the report. Returns 0, or the exit code of the command that failed."""
    console.rule("2. Draw: a random sample with known probabilities, and a queue of what may be wrong")
    draw = ["review", "sample", "--policy", NAME, "--size", str(SIZE), "--queue", "unreadable", "--queue-size", "10"]
    if failed := run([*draw, *TABLES]):
        return failed
    console.rule("3. Review: a script that knows the answers, in a real browser, by keyboard")
    answers = {row.item_id: row.gold_violation for row in spark.sql(f"""
        SELECT i.item_id, p.gold_violation FROM {ITEMS} i
        JOIN {POSTS} p ON p.id = i.content_id""").collect()}  # fmt: skip
    with _serving() as url:
        judged, seconds = review_by_keyboard(url, NAME, answers)
    if judged:
        console.print(f"{judged} items judged, {seconds / judged:.1f} s each. A person takes longer.")
    console.rule("4. Report: what the decisions say of the whole table")
    days = spark.sql(f"SELECT min(date(drawn_at)), max(date(drawn_at)) FROM {ITEMS}").first()
    shared = ["--config", CONFIG, "--output", f"{FOLDER}/tables"]
    files = ["--html", str(PAGE), "--csv", str(FIGURES)]
    report = ["report", "--from", str(days[0]), "--to", str(days[1]), "--policy", NAME, *files]
    if failed := run([*report, *shared]):
        return failed
    console.rule("5. The corrected rate next to the true one")
    known = spark.sql(f"""
        SELECT avg(int(p.gold_violation)) AS rate, count(*) AS posts,
          count_if(l.violation IS NULL) AS unread, count_if(l.violation <> p.gold_violation) AS wrong
        FROM labels_current l JOIN {POSTS} p ON p.id = l.content_id WHERE l.policy = '{NAME}'""").first()  # fmt: skip
    console.print(comparison(FIGURES, known.asDict()), style="bold")
    return 0


def comparison(figures: Path, known: Mapping[str, Any]) -> str:
    """What the report says of the newest sample, next to the truth.

    `figures` is the report's CSV; `known` has the true rate, and how many posts there are, unread and wrongly labelled.
    """
    rows = dict[str, dict[str, str]]()
    for row in csv.DictReader(figures.read_text(encoding="utf-8").splitlines()):
        if row["sample"]:
            rows.setdefault(row["indicator"], row)
    model, corrected = rows["violation_rate_model"], rows["violation_rate"]
    value, low, high = (float(corrected[name]) for name in ("value", "low", "high"))
    lines = [
        (f"by the model, which judged {int(model['n']):,} of {known['posts']:,} posts", f"{float(model['value']):.2%}"),
        (f"corrected, by {int(corrected['n']):,} decisions", f"{value:.2%}, between {low:.2%} and {high:.2%}"),
        ("true, which only a demo knows", f"{known['rate']:.2%}"),
    ]
    return "\n".join([
        "Share of posts that violate the policy:",
        *aligned([(f"  {name}", figure) for name, figure in lines], left=(0, 1)),
        f"Wrong labels: {known['wrong']:,}. Posts without a verdict: {known['unread']:,}.",
        "The demo's model was trained on posts like these. On others a model errs more, and the first two lines lie "
        "further apart.",
        f"The report as a page with pictures: {PAGE}",
    ])  # fmt: skip


@contextmanager
def _serving() -> Iterator[str]:
    """The console in a process of its own, as `safeguard review serve` starts it; its address."""
    command = [sys.executable, "-m", "safeguard_spark", "review", "serve", "--config", CONFIG, "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        match = next((found for line in process.stderr if (found := re.search(r"http://\S+", line))), None)
        if match is None:
            raise SystemExit("The console did not start.")
        yield match[0]
    finally:
        process.send_signal(signal.SIGINT)  # decisions are appended to their table before it ends
        process.wait(60)


def review_by_keyboard(url: str, policy: str, answers: Mapping[str, bool]) -> tuple[int, float]:
    """Judge every item that the console shows, with its right answer by item id. Returns how many, and the seconds."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page, judged, start = browser.new_page(), 0, time.monotonic()
        page.goto(f"{url}queue/{policy}")
        while item := page.locator("#decide [name=item_id]").all():
            page.keyboard.press("v" if answers[item[0].get_attribute("value") or ""] else "s")
            with page.expect_navigation():
                page.keyboard.press("Enter")
            if page.locator("#reason[required]").count():  # the label says the opposite
                page.keyboard.type("by the known answer")
                with page.expect_navigation():
                    page.keyboard.press("Control+Enter")
            else:
                with page.expect_navigation():
                    page.keyboard.press("Enter")
            judged += 1
        browser.close()
        return judged, time.monotonic() - start


if __name__ == "__main__":
    sys.exit(main())
