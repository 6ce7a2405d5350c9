"""A faulty server in the label job: in the end every row has its label, or the tables are unchanged."""

import contextlib
import stat
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from safeguard_spark.engines.processes import SERVER_ID_VARIABLE
from safeguard_spark.errors import EngineError
from safeguard_spark.result import Status
from safeguard_spark.spark.label import job
from safeguard_spark.spark.label.commit import Chunk
from safeguard_spark.spark.label.run import RunContext, Summary
from tests.build import posts
from tests.faulty_server import (
    ANSWER,
    HANG,
    Behavior,
    Call,
    FaultyServer,
    closed,
    cut,
    malformed,
    row_of,
    slow,
    status,
)
from tests.spark.lake import Lake

OWNER_VARIABLE = "FAULTS_OF"  # in the environment of a server: the test's folder
ROW = "row {n} is here"
pytestmark = pytest.mark.spark


def engine(server: FaultyServer, **settings: Any) -> dict[str, Any]:
    waits = {"deadline_s": 20.0, "patience_s": 3.0}
    return {"kind": "endpoint", "url": server.url, "model": "m", "window": 8, **waits, **settings}


def outcomes(lake: Lake) -> dict[str, list[str]]:
    """Outcomes of each id, in the order of its attempts."""
    by_id: dict[str, list[str]] = {}
    for row in lake.read("labels").orderBy("attempt").collect():
        by_id.setdefault(row.content_id, []).append(row.outcome)
    return by_id


def files(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*") if path.is_file()}


def test_a_server_that_fails_once_in_every_way_loses_no_row(lake: Lake) -> None:
    lake.write(posts(60, ROW))
    behaviors = [status(500), status(429, "1"), closed(), cut(), malformed(), status(503), malformed(b"[]")]
    seen: set[int] = set()

    def script(call: Call) -> Behavior:
        row = row_of(call.text)
        if row % 6 or row in seen:
            return ANSWER
        seen.add(row)
        return behaviors[row // 6 % len(behaviors)]

    with FaultyServer(script) as server:
        result = lake.label(engine=engine(server))
        assert (result.status, result.outcomes) == (Status.complete, {"labelled": 60})
        assert len(server.calls) == 60 + 10
    assert {row.rationale for row in lake.read("labels").collect()} == {f"row {n}" for n in range(60)}


@pytest.mark.slow
def test_rows_that_hang_or_are_refused_fail_alone_and_are_tried_again(lake: Lake) -> None:
    lake.write(posts(30, ROW))
    bad = {3: HANG, 7: status(400), 11: status(500)}
    with FaultyServer(lambda call: bad.get(row_of(call.text), ANSWER)) as server:
        first = lake.label(engine=engine(server, deadline_s=4.0, retries=1))
        assert (first.status, first.outcomes) == (Status.partial, {"labelled": 27, "engine_failed": 3})
    with FaultyServer() as server:
        second = lake.label(engine=engine(server))
        assert (second.status, second.pending, len(server.calls)) == (Status.complete, 3, 3)
    retried = [attempts for attempts in outcomes(lake).values() if attempts != ["labelled"]]
    assert retried == [["engine_failed", "labelled"]] * 3


@pytest.mark.slow
def test_after_a_server_goes_away_the_run_is_partial_and_the_next_run_completes_it(lake: Lake) -> None:
    lake.write(posts(120, ROW))
    with FaultyServer(lambda call: slow(0.01) if call.number < 40 else closed()) as server:
        first = lake.label(engine=engine(server, deadline_s=3.0, retries=1), run={"chunk_rows": 30})
        assert first.status is Status.partial and first.outcomes["labelled"] >= 30
    with FaultyServer() as server:
        second = lake.label(engine=engine(server), run={"chunk_rows": 30})
        assert second.status is Status.complete
        assert len(server.calls) == 120 - first.outcomes["labelled"]
    assert {attempts[-1] for attempts in outcomes(lake).values()} == {"labelled"} and len(outcomes(lake)) == 120


UNUSABLE: list[tuple[dict[str, Any], str]] = [
    ({"model": "other"}, "does not serve the model m"),
    ({"script": lambda call: status(401)}, "denies access"),
    ({"lacks": ["/inference/v1/generate", "/v1/completions"]}, "does not serve the model m"),
]


def test_a_server_that_cannot_be_used_leaves_the_tables_unchanged(lake: Lake) -> None:
    lake.write(posts(5, ROW))
    with FaultyServer() as server:
        lake.label(engine=engine(server))
    lake.write([("new", "row 99 is here")])
    before = files(lake.tables)
    for options, message in UNUSABLE:
        with FaultyServer(**options) as server, pytest.raises(EngineError, match=message) as caught:
            lake.label(engine=engine(server))
        assert caught.value.exit_code == 5 and "row 99" not in str(caught.value)
        assert files(lake.tables) == before


def faulty_vllm(lake: Lake, **settings: Any) -> dict[str, Any]:
    """Settings of a vLLM engine whose server is `tests/faulty_server.py`, in the folder of the test."""
    python = lake.folder / "python"
    python.write_text(f"#!/bin/sh\nexec '{sys.executable}' '{Path(__file__).parents[2] / 'faulty_server.py'}' \"$@\"\n")
    python.chmod(0o700)
    work = {"work_dir": str(lake.folder / "w"), "python": str(python), "deadline_s": 20.0}
    env = {OWNER_VARIABLE: str(lake.folder), **settings.pop("env", {})}
    return {"kind": "vllm", "model": "m", "args": {}, "env": env, **work, **settings}


def ready_server_ids(lake: Lake) -> set[str]:
    """Ids of the servers that were ready at some time."""
    return {path.read_text() for path in (lake.folder / "w").glob("safeguard-*/*/ready")}


def servers(lake: Lake) -> list[psutil.Process]:
    """Processes of the servers that a test with this lake started."""
    processes = []
    for process in psutil.process_iter():
        try:
            env = process.environ()
            if SERVER_ID_VARIABLE in env and env.get(OWNER_VARIABLE) == str(lake.folder):
                processes.append(process)
        except psutil.Error:
            continue
    return processes


START_FAILURES = [
    ("out_of_memory", 60.0, "did not start: OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"),
    ("die_at_start", 60.0, "did not start: unrecognized arguments"),
    ("never_ready", 4.0, "was not ready within 4 s"),
]


@pytest.mark.slow
def test_a_server_that_cannot_start_gives_the_cause_and_leaves_the_tables_unchanged(lake: Lake) -> None:
    lake.write(posts(5, ROW))
    lake.label()
    lake.write([("new", "row 99 is here")])
    before = files(lake.tables)
    for misbehave, start_deadline_s, message in START_FAILURES:
        with pytest.raises(EngineError, match=message) as caught:
            server = {"env": {"MISBEHAVE": misbehave}, "start_deadline_s": start_deadline_s, "restarts": 0}
            lake.label(engine=faulty_vllm(lake, **server))
        assert caught.value.exit_code == 5 and "its log" in str(caught.value).lower()
        assert files(lake.tables) == before
        assert not servers(lake)
    for pattern in ("safeguard-*", "safeguard-*/*"):
        assert {stat.S_IMODE(path.stat().st_mode) for path in (lake.folder / "w").glob(pattern)} == {0o700}


@pytest.mark.slow
def test_after_repeated_server_deaths_the_run_is_partial_and_the_next_run_completes_it(lake: Lake) -> None:
    lake.write(posts(150, ROW))
    stop = threading.Event()

    def kill() -> None:
        while not stop.wait(0.1):
            for process in servers(lake):
                with contextlib.suppress(psutil.Error):
                    if process.environ()[SERVER_ID_VARIABLE] in ready_server_ids(lake):
                        time.sleep(1.0)  # some rows are answered
                        process.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        first = lake.label(
            engine=faulty_vllm(lake, env={"DELAY_S": "0.3"}, restarts=1, window=2), run={"chunk_rows": 50}
        )
    finally:
        stop.set()
        killer.join()
    assert first.status is Status.partial and "engine.restarts" in str(first.message)
    second = lake.label(engine=faulty_vllm(lake, restarts=1), run={"chunk_rows": 50})
    assert second.status is Status.complete and second.engine_starts == 1
    assert {attempts[-1] for attempts in outcomes(lake).values()} == {"labelled"} and len(outcomes(lake)) == 150


def test_the_answers_of_a_chunk_beside_one_that_fails_are_kept_for_the_next_run(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.write(posts(80, "a replica, number {n}"))
    label_chunk, is_answered = job._label_chunk, threading.Event()

    def failing(run: RunContext, chunk: Chunk) -> Summary:
        if chunk.number == 0:
            assert is_answered.wait(120)
            raise RuntimeError("a document that ends its worker")
        summary = label_chunk(run, chunk)
        is_answered.set()
        return summary

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="ends its worker"):
        patch.setattr(job, "_label_chunk", failing)
        lake.label(run={"chunk_rows": 40})
    paid = lake.calls()
    assert 0 < paid < 80
    assert lake.label(run={"chunk_rows": 40}).status is Status.complete
    assert paid + lake.calls() == len(lake.current()) == 80
