"""Several drivers at once, and drivers that die."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import yaml
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.spark import commit_log
from safeguard_spark.spark.commit_log import LabelScope, append_labels
from safeguard_spark.spark.tables import Tables
from tests.build import SCRIPT, policy_text, posts
from tests.soak.job import CONF
from tests.spark.lake import Lake

pytestmark = pytest.mark.spark


def test_two_runs_at_once_label_every_row_once(lake: Lake) -> None:
    lake.write(posts(150))
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(lake.label, run={"chunk_rows": 50}) for _ in range(2)]
        results = [run.result() for run in runs]
    rows = lake.read("labels").groupBy("content_id").count().collect()
    assert len(rows) == 150 and {row["count"] for row in rows} == {1}
    assert sum(result.written for result in results) == 150
    for result in results:
        others = result.pending - result.written
        assert (f"that another run labelled meanwhile: {others}." in str(result.message)) == (others > 0)
    assert lake.label().pending == 0


@pytest.mark.slow
def test_the_next_run_commits_what_a_killed_driver_had_staged_and_labels_the_rest(lake: Lake) -> None:
    lake.write(posts(400))
    args = {**SCRIPT, "calls_file": str(lake.folder / "calls"), "latency_s": 0.01}
    values = {
        "engine": {"kind": "scripted", "args": args},
        "tracking": {"enabled": False},
        "run": {"chunk_rows": 50},
        "spark": {"master": "local[2]", "conf": CONF},
    }
    (lake.folder / "conf.yaml").write_text(yaml.safe_dump(values))
    (lake.folder / "policy.md").write_text(policy_text())
    driver = subprocess.Popen(
        [sys.executable, "jobs/label.py", "--config", str(lake.folder / "conf.yaml"), "--source", str(lake.posts),
         "--text-column", "body", "--policy", str(lake.folder / "policy.md"), "--output", str(lake.tables)],
        start_new_session=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    staged = lake.tables / "_staging"
    deadline = time.monotonic() + 300
    while not list(staged.glob("*/0/results/*/_SUCCESS")) and time.monotonic() < deadline:
        assert driver.poll() is None
        time.sleep(0.05)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    before = lake.calls()
    second = lake.label(run={"chunk_rows": 50})
    rows = lake.read("labels").groupBy("content_id").agg(F.count("*").alias("n")).collect()
    assert len(rows) == 400 and {row["n"] for row in rows} == {1}
    assert second.pending < 400  # completely staged chunks were committed, not paid for again
    assert before + lake.calls() <= 400 + 2 * 50  # two chunks are in flight at most
    assert {row.status for row in lake.read("runs").collect()} == {"complete", "died"}
    assert not list(staged.iterdir())


def test_a_commit_that_another_driver_makes_while_the_last_one_is_looked_for_doubles_no_label(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.write(posts(5))
    lake.label()
    tables = Tables(lake.spark, str(lake.tables))
    planned_on, drivers = tables.version(schema.LABELS), ["first", "second"]
    scope = LabelScope("posts", "s", None, None)
    rows = tables.read(schema.LABELS, planned_on).withColumn("content_id", F.concat(F.lit("new-"), "content_id"))

    def append() -> None:
        run_id = drivers.pop()
        append_labels(tables, rows.withColumn("run_id", F.lit(run_id)), run_id, 0, planned_on, scope)

    def last_commit(*arguments: Any) -> commit_log.Commit | None:
        if drivers:
            append()
        return found(*arguments)

    found = commit_log.last_commit
    monkeypatch.setattr(commit_log, "last_commit", last_commit)
    append()
    new = lake.read("labels").where("content_id LIKE 'new-%'").groupBy("content_id", "run_id").count().collect()
    assert len(new) == 5 and {(row["run_id"], row["count"]) for row in new} == {("first", 1)}
