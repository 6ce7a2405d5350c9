"""`safeguard doctor` names what a deployment lacks, on the driver and on its executors, and is quiet otherwise."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from safeguard_spark.cli.app import run_command
from tests.faulty_server import FaultyServer
from tests.spark.lake import Lake

pytestmark = pytest.mark.spark


def write(file: Path, **values: Any) -> Path:
    file.write_text(yaml.safe_dump(values))
    return file


def missing(output: str) -> list[tuple[str, str]]:
    """Where something is missing, and in which check."""
    rows = json.loads(output.splitlines()[-1])
    return [(row["where"].split()[0], row["check"]) for row in rows if not row["ok"]]


def test_what_is_there_and_what_is_missing(
    lake: Lake, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    lake.write([("a", "a table")])
    (lake.folder / "policies").mkdir()
    with FaultyServer() as server:
        file = write(
            lake.folder / "conf.yaml",
            engine={"kind": "endpoint", "url": server.url, "model": "m"},
            output=str(lake.tables),
            policies=str(lake.folder / "policies"),
            source={"location": str(lake.posts), "text_column": "body"},
        )
        assert run_command(["doctor", "--config", str(file), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["where"].split()[0], row["check"], row["ok"]) for row in rows] == [
        ("driver", "python", True), ("driver", "policy registry", True), ("driver", "java and spark", True),
        ("driver", "tracking", True), ("driver", "output", True), ("driver", "source", True),
        ("executor", "python", True), ("executor", "temporary folder", True), ("executor", "endpoint", True),
    ]  # fmt: skip
    assert f"{server.url} answers" in rows[-1]["text"]
    assert not lake.tables.exists()

    # The server is gone now, the source has no such column, and there is no such folder of policies.
    wrong = ["--text-column", "bodi", "--policies", str(lake.folder / "nowhere")]
    assert run_command(["doctor", "--config", str(file), *wrong]) == 2
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if line.startswith("MISSING")]
    for line, where, remedy in zip(
        lines,
        ("driver    policy registry", "driver    source", "executor driver on "),
        (
            "Correct tracking.uri or policies.",
            "did you mean body",
            "cannot be reached: connection refused; check engine",
        ),
        strict=True,
    ):
        assert " ".join(where.split()) in " ".join(line.split()) and remedy in line
    assert printed.endswith("checks, 3 missing.\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("output", "text"),
    [("{}/out", "out is a file"), ("{}/out/in", "cannot be written"), ("/proc/out", "cannot be written")],
)
def test_an_output_that_cannot_be_written_is_named(
    output: str, text: str, lake: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(lake.folder / "conf.yaml", engine={"kind": "scripted"}, tracking={"enabled": False}, policies=".")
    (lake.folder / "out").write_text("")
    command = ["doctor", "--config", str(file), "--output", output.format(lake.folder), "--json"]
    assert run_command(command) == 2
    printed = capsys.readouterr().out
    assert missing(printed) == [("driver", "output")] and text in printed


@pytest.mark.slow
def test_an_old_java_and_a_registry_that_is_down_are_named_together(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").write_text("")
    (tmp_path / "release").write_text('JAVA_VERSION="11.0.2"\n')
    file = write(tmp_path / "conf.yaml", engine={"kind": "scripted"}, tracking={"uri": "http://127.0.0.1:9"})
    done = subprocess.run(
        [sys.executable, "-m", "safeguard_spark", "doctor", "--config", str(file), "--json"],
        env={**os.environ, "JAVA_HOME": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert missing(done.stdout) == [("driver", "policy registry"), ("driver", "java and spark")]
    assert "MLflow at http://127.0.0.1:9 cannot be reached" in done.stdout and "Set JAVA_HOME" in done.stdout
