"""A label job with a screen, killed at random moments: every content has one label, and the audits add up."""

import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from safeguard_spark.api import load_config, load_policy
from safeguard_spark.spark.screen.make import train_screen
from tests.soak.conserved import assert_runs_agree, outcome_of, read
from tests.soak.job import LabelJob
from tests.soak.kill import Kill, kill

pytestmark = [pytest.mark.spark, pytest.mark.slow]
SEED = 3


def posts(job: LabelJob, rng: random.Random, count: int) -> list[tuple[str, str | None]]:
    """More contents like those that are there, a few of which are not judged: a screen promises nothing for others."""
    special = {11: None, 13: "zzrefuse this", 14: "zzgarbage here"}
    kinds = ("a replica", "a table", "a table", "a table")
    start = job.rows()
    return [
        (f"p{n}", special[n % 50] if n % 50 in special else f"{kinds[n % 4]}, number {rng.randrange(10**6)}")
        for n in range(start, start + count)
    ]


def test_kills_with_a_screen_lose_no_content_and_overrule_no_verdict(tmp_path: Path, spark: Any) -> None:
    job, rng = LabelJob(tmp_path, policies=["market"], chunk_rows=200), random.Random(SEED)
    try:
        job.write(posts(job, rng, 600))
        job.run_until_done()
        conf = tmp_path / "conf.yaml"
        source = {"source.location": str(job.posts), "source.text_column": "body", "output": str(job.tables)}
        config = load_config(conf, {**source, "tracking.enabled": True})
        screen = train_screen(spark, config, load_policy(tmp_path / "market.md"), 0.9, critical=False)
        conf.write_text(yaml.safe_dump({**yaml.safe_load(conf.read_text()), "screen": {"id": screen.screen_id}}))
        judged = {row["content_id"] for row in read(job, "labels")}

        for victim, moment in zip(["driver", "machine", "worker"], ["plan", "label", "commit"], strict=True):
            job.write(posts(job, rng, 200))
            planned = Kill(victim, moment, round(rng.uniform(0.0, 0.5), 3))
            print(f"seed {SEED}: {planned}: {kill(job, planned) or 'too late'}, exit code {job.wait()}")
        job.run_until_done()

        labels, texts = read(job, "labels"), job.texts()
        assert sorted(row["content_id"] for row in labels) == sorted(texts)  # one each, none lost
        assert_runs_agree(job, labels)
        screened = [row for row in labels if row["outcome"] == "screened"]
        assert len(screened) > 100
        assert {row["screen"] for row in screened} == {screen.screen_id}
        assert not judged & {row["content_id"] for row in screened}
        assert all(outcome_of(texts[row["content_id"]]) == row["outcome"] for row in labels if row not in screened)
        audits = read(job, "screen_audits")
        assert not any(row["finding"] == "broken" for row in audits)
        by_run = {row["run_id"] for row in labels if row["screen"]}
        assert {row["run_id"] for row in audits} == by_run and len(audits) == len(by_run)
        cleared = {row["work_key"] for row in labels if row["screen"]}
        assert sum(row["cleared"] for row in audits) == len(cleared)
        assert not list(job.staging.rglob("*"))
    finally:
        job.end()
