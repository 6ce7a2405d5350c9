"""What a run tells: its log lines, and its bar if the network drops the tasks' reports."""

import logging

import pytest

from tests.build import posts
from tests.spark.lake import Lake

pytestmark = pytest.mark.spark


def test_without_reports_the_bar_moves_with_the_chunks_and_the_log_tells_each_step(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    lake.write(posts(40, "a replica {n}"))
    lake.create()
    conf, rejects = lake.spark.conf, "spark.sql.legacy.setCommandRejectsSparkCoreConfs"
    host, setting = conf.get("spark.driver.host"), conf.get(rejects)
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then draws the bar as on a terminal
    monkeypatch.setenv("COLUMNS", "220")
    conf.set(rejects, "false")
    conf.set("spark.driver.host", "203.0.113.1")  # a network for documentation: nothing routes there
    try:
        with caplog.at_level(logging.INFO, "safeguard_spark"):
            result = lake.label(run={"chunk_rows": 20}, show=True)
    finally:
        conf.set("spark.driver.host", host)
        conf.set(rejects, setting)
    drawn = capsys.readouterr().err
    assert "40/40" in drawn and "no progress reports arrive" in drawn
    assert "waiting for the engine" not in drawn

    lines = [record.getMessage() for record in caplog.records if record.name.startswith("safeguard_spark.spark.label")]
    run = f"Run {result.run_id}"
    assert lines[0].startswith(f"{run} begins: file:{lake.posts} under market@1.0.0")
    assert lines[1] == f"{run}: All rows are read."
    assert lines[2].startswith(f"{run}, market@1.0.0: 40 rows, 40 pending, at most 40 calls ")
    assert lines[-1] == f"{run} ends: complete, 40 labels written."
    chunks = len([line for line in lines if "is labelled" in line])
    assert chunks == len([line for line in lines if "is committed" in line]) >= 2
    assert all(line.startswith(run) for line in lines) and "replica" not in caplog.text
