"""Jobs killed while they apply and promote: issued again, the end is the same, and no reader sees two versions."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from safeguard_spark.relabel.scope import parse_scope
from safeguard_spark.spark.label.job import label_table
from safeguard_spark.spark.relabel.planner import PlanRequest, plan_relabel
from tests.soak.job import CONF
from tests.spark.lake import Lake
from tests.spark.relabelling import NEW, OLD, TEXT, configured, posts

pytestmark = [pytest.mark.spark, pytest.mark.slow]

WAIT_S = 120


class Job:
    """jobs/relabel.py as a process of its own, over a lake."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        for policy, weapons in ((OLD, "no rifles."), (NEW, "no rifles, unless they are toys.")):
            folder = lake.folder / "policies" / "market" / policy.version
            folder.mkdir(parents=True)
            (folder / "policy.md").write_text(TEXT.format(version=policy.version, weapons=weapons))
        args = {**configured(lake).engine.args, "latency_s": 0.01}
        values = {
            "engine": {"kind": "scripted", "args": args},
            "policies": str(lake.folder / "policies"),
            "tracking": {"enabled": False},
            "run": {"chunk_rows": 60},
            "relabel": {"gate": {"cases": False}},
            "spark": {"master": "local[2]", "conf": CONF},
        }
        (lake.folder / "conf.yaml").write_text(yaml.safe_dump(values))

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "jobs/relabel.py", *words, "--config", str(self.lake.folder / "conf.yaml"),
             "--source", str(self.lake.posts), "--text-column", "body", "--output", str(self.lake.tables)],
            start_new_session=True, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def killed(self, after: Callable[[], bool], delay_s: float, *words: str) -> None:
        """Begin a command and kill it, JVM included, some time after something is seen."""
        process = self.begin(*words)
        deadline = time.monotonic() + WAIT_S
        while not after() and process.poll() is None and time.monotonic() < deadline:
            self.look()
        time.sleep(delay_s)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def done(self, *words: str) -> int:
        process = self.begin(*words)
        while process.poll() is None:
            self.look()
        return process.returncode

    def look(self) -> set[str]:
        """What a reader of labels_current sees: never more than one version."""
        rows = self.lake.spark.sql("SELECT DISTINCT policy_version FROM labels_current").collect()
        seen = {row["policy_version"] for row in rows}
        assert len(seen) == 1
        time.sleep(0.1)
        return seen


def test_apply_and_promote_killed_and_issued_again_end_as_if_nothing_had_been(lake: Lake) -> None:
    lake.write(posts(400))
    label_table(lake.spark, configured(lake), [OLD], show=False)
    made = plan_relabel(lake.spark, configured(lake), PlanRequest(OLD, NEW, parse_scope("all"))).plan
    job, draw = Job(lake), random.Random(os.getpid())
    lake.calls()
    staging, log = lake.tables / "_staging", lake.tables / "policy_activations" / "_delta_log"
    before = commits(log)
    job.killed(lambda: bool(list(staging.glob("*/0/results/*/_SUCCESS"))), draw.uniform(0, 1.5), "apply", made.plan_id)
    assert job.look() == {"1.0.0"}
    assert job.done("apply", made.plan_id) == 0
    rows = lake.read("labels").where("policy_version = '1.1.0'").groupBy("content_id").count().collect()
    assert len(rows) == 400 and {row["count"] for row in rows} == {1}
    assert 400 <= lake.calls() <= 400 + 2 * 60  # what two chunks in flight may cost

    job.killed(lambda: commits(log) > before, draw.uniform(0, 0.5), "promote", "market@1.1.0")
    assert job.done("promote", "market@1.1.0") == 0
    assert job.look() == {"1.1.0"}
    ruled = [row["policy_version"] for row in lake.read("policy_activations").orderBy("activated_at").collect()]
    assert ruled == ["1.0.0", "1.1.0"]
    assert len(lake.current()) == 400


def commits(log: Path) -> int:
    return len(list(log.glob("*.json")))
