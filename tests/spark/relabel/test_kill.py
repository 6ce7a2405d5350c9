"""Jobs killed while they apply and promote: run again, the result is the same, and no reader sees two versions."""

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


class RelabelJob:
    """jobs/relabel.py as a separate process, over a lake."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        for policy, weapons in ((OLD, "no rifles."), (NEW, "no rifles, unless they are toys.")):
            folder = lake.folder / "policies" / "market" / policy.version
            folder.mkdir(parents=True)
            (folder / "policy.md").write_text(TEXT.format(version=policy.version, weapons=weapons))
        args = {**configured(lake).engine.args.model_dump(), "latency_s": 0.01}
        values = {
            "source": {"name": "posts"},
            "engine": {"kind": "scripted", "args": args},
            "policies": str(lake.folder / "policies"),
            "tracking": {"enabled": False},
            "run": {"chunk_rows": 60},
            "relabel": {"gate": {"cases": False}},
            "spark": {"master": "local[2]", "conf": CONF},
        }
        (lake.folder / "conf.yaml").write_text(yaml.safe_dump(values))

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "jobs/relabel.py", *arguments, "--config", str(self.lake.folder / "conf.yaml"),
             "--source", str(self.lake.posts), "--text-column", "body", "--output", str(self.lake.tables)],
            start_new_session=True, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def kill(self, after: Callable[[], bool], delay_s: float, *arguments: str) -> None:
        """Start a command and kill it, JVM included, `delay_s` after `after` is true."""
        process = self.start(*arguments)
        deadline = time.monotonic() + WAIT_S
        while not after() and process.poll() is None and time.monotonic() < deadline:
            self.active_versions()
        time.sleep(delay_s)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def run(self, *arguments: str) -> int:
        process = self.start(*arguments)
        while process.poll() is None:
            self.active_versions()
        return process.returncode

    def active_versions(self) -> set[str]:
        """What a reader of labels_current sees: never more than one version."""
        rows = self.lake.spark.sql("SELECT DISTINCT policy_version FROM labels_current").collect()
        versions = {row["policy_version"] for row in rows}
        assert len(versions) == 1
        time.sleep(0.1)
        return versions


def test_apply_and_promote_killed_and_run_again_end_like_one_run_without_a_kill(lake: Lake) -> None:
    lake.write(posts(400))
    label_table(lake.spark, configured(lake), [OLD], show=False)
    plan = plan_relabel(lake.spark, configured(lake), PlanRequest(OLD, NEW, parse_scope("all"))).plan
    job, random_number = RelabelJob(lake), random.Random(os.getpid())
    lake.calls()
    staging, log = lake.tables / "_staging", lake.tables / "policy_activations" / "_delta_log"
    before = commits(log)
    job.kill(
        lambda: bool(list(staging.glob("*/0/results/*/_SUCCESS"))), random_number.uniform(0, 1.5), "apply", plan.plan_id
    )
    assert job.active_versions() == {"1.0.0"}
    assert job.run("apply", plan.plan_id) == 0
    rows = lake.read("labels").where("policy_version = '1.1.0'").groupBy("content_id").count().collect()
    assert len(rows) == 400 and {row["count"] for row in rows} == {1}
    assert 400 <= lake.calls() <= 400 + 2 * 60  # two chunks may have been in flight

    job.kill(lambda: commits(log) > before, random_number.uniform(0, 0.5), "promote", "market@1.1.0")
    assert job.run("promote", "market@1.1.0") == 0
    assert job.active_versions() == {"1.1.0"}
    versions = [row["policy_version"] for row in lake.read("policy_activations").orderBy("activated_at").collect()]
    assert versions == ["1.0.0", "1.1.0"]
    assert len(lake.current()) == 400


def commits(log: Path) -> int:
    return len(list(log.glob("*.json")))
