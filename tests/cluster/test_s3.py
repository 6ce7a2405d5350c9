"""The label job with source, tables and staging on S3."""

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.s3 import BUCKET, S3, S3Job, on_class_path, reason_to_skip, running
from tests.cluster.standalone import REPOSITORY
from tests.soak.conserved import assert_labelled_once
from tests.soak.kill import kill_process

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(500)]


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    if reason := reason_to_skip():
        pytest.skip(reason)
    with running(tmp_path_factory.mktemp("s3") / "log") as server:
        yield server


@pytest.fixture
def job(s3: S3, tmp_path: Path) -> Iterator[Callable[..., S3Job]]:
    jobs: list[S3Job] = []

    def make(name: str, **settings: Any) -> S3Job:
        jobs.append(S3Job(s3, tmp_path, name, **settings))
        return jobs[-1]

    yield make
    for made in jobs:
        made.end()


def test_a_run_is_refused_until_a_log_store_is_named(job: Callable[..., S3Job]) -> None:
    undecided = job("undecided", conf={"spark.delta.logStore.s3a.impl": None})
    undecided.add(10)
    undecided.start()
    assert undecided.wait() == 2
    assert "Set spark.delta.logStore.s3a.impl=safeguard.S3LogStore" in undecided.stderr_tail()
    assert not undecided.s3.keys("undecided/tables")


def program(job: S3Job, *words: str) -> "subprocess.Popen[str]":
    """A program of s3_programs with the session of a job."""
    command = [sys.executable, "-m", "tests.cluster.s3_programs", str(job.folder / "conf.yaml"), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)


def test_a_log_store_that_does_not_keep_programs_apart_is_refused(s3: S3, job: Callable[..., S3Job]) -> None:
    for bucket in ("deaf", "off"):
        s3.client.create_bucket(Bucket=bucket)
    delta, ours = "io.delta.storage", "safeguard.S3LogStore"
    expected = {
        f"{ours} s3a://{BUCKET}/tables": "accepted",
        f"{delta}.S3SingleDriverLogStore s3a://{BUCKET}/tables": "accepted",
        f"{delta}.GCSLogStore s3a://{BUCKET}/tables": "does not keep two programs apart",
        f"{delta}.S3DynamoDBLogStore s3a://{BUCKET}/tables": "Start it with the package that has it.",
        f"{ours} s3a://off/tables": "needs conditional writes, which hadoop-aws has from 3.4.2 on",
        f"{ours} s3a://deaf/tables": "ignores the condition of a write",
        f"{ours} s3a://absent/tables": "s3a://absent/tables cannot be written: ",
    }
    one = job("refused", conf={"spark.hadoop.fs.s3a.bucket.off.create.conditional.enabled": "false"})
    sentences = program(one, "refuse", *expected).communicate(timeout=200)[0].splitlines()
    assert [True] * len(expected) == [
        part in sentence for part, sentence in zip(expected.values(), sentences, strict=True)
    ], sentences
    assert not s3.keys("tables")


def test_of_two_programs_that_write_a_commit_at_once_one_wins(job: Callable[..., S3Job]) -> None:
    race, rounds, start = job("race"), 200, time.time() + 40
    words = ("race", f"s3a://{BUCKET}/race", str(rounds), str(start))
    both = [program(race, *words, writer) for writer in "ab"]
    first, second = (process.communicate(timeout=300)[0].split() for process in both)
    assert len(first) == len(second) == rounds
    assert [{*pair} for pair in zip(first, second, strict=True)] == [{"won", "lost"}] * rounds
    print(f"The first program won {first.count('won')} of {rounds}")
    assert race.s3.writes("race") == {("*", "200"): rounds, ("*", "412"): rounds}


def test_a_commit_whose_answer_is_lost_is_neither_lost_nor_doubled(job: Callable[..., S3Job]) -> None:
    lost = job("lost-answer")
    out, _ = program(lost, "append", f"s3a://{BUCKET}/lost-answer/table", "5").communicate(timeout=300)
    assert out.split() == ["0", "1", "2", "3", "4"]
    assert lost.s3.writes("lost-answer") == {("*", "503"): 5, ("*", "412"): 5}


def test_a_commit_that_the_disk_has_no_room_for_is_not_written_in_part(job: Callable[..., S3Job]) -> None:
    path = f"s3a://{BUCKET}/full/_delta_log/00000000000000000000.json"
    out, _ = program(job("full"), "full", path).communicate(timeout=300)
    assert out.split() == ["failed", "False", "False"]


def test_a_run_labels_every_content_once_without_hadoops_marker(job: Callable[..., S3Job]) -> None:
    one = job("one", conf={"spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false"}, chunk_rows=60)
    one.add(100)
    one.start()
    assert one.wait() == 0, one.stderr_tail()
    one.fetch()
    assert_labelled_once(one)
    staged = "one/tables/_staging/"
    assert [key for key in one.s3.keys(staged) if key != staged] == []  # the marker of the folder itself


def kill_or_wait(driver: S3Job, moment: str, delay_s: float) -> int | None:
    """Start a run, and kill it some time after its plan or its first call. Its exit code, if it ended before."""
    calls, manifests, process = driver.calls(), set(driver.manifests()), driver.start()

    def is_reached() -> bool:
        return driver.calls() > calls if moment == "call" else bool(set(driver.manifests()) - manifests)

    while process.poll() is None and not is_reached():
        time.sleep(0.2)
    try:
        return process.wait(delay_s)
    except subprocess.TimeoutExpired:
        kill_process(driver, "machine")
    commits = [key for key in driver.s3.keys(f"{driver.prefix}/tables/labels/_delta_log/") if key.endswith(".json")]
    print(
        f"Killed {delay_s:.1f} s after the {moment}: {driver.calls() - calls} calls, {len(commits)} commits of labels"
    )
    return None


def assert_nothing_staged(job: S3Job) -> None:
    keys = [key for key in job.s3.keys(f"{job.prefix}/tables/_staging/") if not key.endswith("/")]
    assert not keys, keys


@pytest.mark.timeout(1800)
def test_ten_runs_killed_at_random_moments_label_every_content_once(job: Callable[..., S3Job]) -> None:
    one, rng, num_kills = job("killed", conf=on_class_path(), chunk_rows=100, latency_s=0.05), random.Random(5), 0
    while num_kills < 10:
        one.add(40)
        code = kill_or_wait(one, "plan", rng.uniform(0, 20))
        assert code in (None, 0, 6), one.stderr_tail()
        num_kills += code is None
    codes = one.run_until_done()
    one.fetch()
    print(f"Then exit codes {codes}: {one.rows()} contents, {one.calls()} calls")
    assert_labelled_once(one)
    assert_nothing_staged(one)


@pytest.mark.timeout(1800)
def test_two_drivers_killed_at_random_moments_label_every_content_once(job: Callable[..., S3Job]) -> None:
    settings: dict[str, Any] = {"conf": on_class_path(), "chunk_rows": 40, "latency_s": 0.05}
    first, second = job("pair", **settings), job("pair-2", prefix="pair", **settings)
    rng, codes = random.Random(7), list[int | None]()
    with ThreadPoolExecutor(2) as threads:
        while codes.count(None) < 10:
            first.add(60)
            moments = [rng.choice(("plan", "call")) for _ in range(2)]
            delays_s = [rng.uniform(0, 20) for _ in range(2)]
            codes += threads.map(kill_or_wait, (first, second), moments, delays_s)
    assert {*codes} <= {None, 0, 6}, first.stderr_tail() + second.stderr_tail()
    last = first.run_until_done()
    first.fetch()
    writes = first.s3.writes("pair")
    calls = first.calls() + second.calls()
    print(f"Exit codes {codes}, then {last}: {first.rows()} contents, {calls} calls, commits {dict(writes)}")
    assert_labelled_once(first)
    assert {condition for condition, _ in writes} == {"*"}
    assert_nothing_staged(first)
