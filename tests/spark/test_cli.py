"""The command line: its output, its exit codes, and that a mistake leaves the tables unchanged."""

import json
from pathlib import Path

import pytest
import yaml

from safeguard_spark.cli.app import run_command
from tests.build import SCRIPT, policy_text
from tests.spark.lake import Lake

pytestmark = pytest.mark.spark


@pytest.fixture
def command(lake: Lake) -> list[str]:
    """A valid `label` command."""
    values = {
        "engine": {"kind": "scripted", "args": {**SCRIPT, "calls_file": str(lake.folder / "calls")}},
        "tracking": {"enabled": False},
    }
    (lake.folder / "conf.yaml").write_text(yaml.safe_dump(values))
    (lake.folder / "policy.md").write_text(policy_text())
    lake.write([*((f"p{n}", f"a replica {n}" if n % 4 == 0 else f"a table {n % 30}") for n in range(80)), ("e", "")])
    return [
        "label", "--config", str(lake.folder / "conf.yaml"), "--source", str(lake.posts), "--text-column", "body",
        "--policy", str(lake.folder / "policy.md"), "--output", str(lake.tables), "--json",
    ]  # fmt: skip


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    printed: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return printed


def test_a_dry_run_changes_nothing_and_predicts_the_calls_of_the_run(
    lake: Lake, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command([*command, "--dry-run"]) == 0
    planned = last_line(capsys)
    assert not lake.tables.exists() and lake.calls() == 0
    assert run_command(command) == 0
    done = last_line(capsys)
    assert planned["status"] == "planned" and done["status"] == "complete"
    assert (planned["rows"], planned["pending"], planned["calls"]) == (81, 81, done["calls"])
    assert lake.calls() == done["calls"]
    assert planned["tokens"]["prompt"] == done["tokens"]["prompt"]  # type: ignore[index]
    documented = {
        "run_id", "status", "rows", "pending", "calls", "written", "outcomes", "engine_starts", "tokens", "seconds",
        "tables",
    }  # fmt: skip
    assert documented <= set(done)

    lake.write([("new", "a table 1"), ("newer", "a rifle")])
    versions = sorted(path.name for path in lake.tables.rglob("*") if "_staging" not in path.parts)
    assert run_command([*command, "--dry-run"]) == 0
    planned = last_line(capsys)
    assert sorted(path.name for path in lake.tables.rglob("*") if "_staging" not in path.parts) == versions
    assert (planned["pending"], planned["calls"]) == (2, 1)
    assert run_command(command) == 0
    assert last_line(capsys)["calls"] == planned["calls"]


@pytest.mark.slow
def test_a_run_for_operators_logs_objects_with_run_and_chunk_and_writes_its_metrics(
    lake: Lake, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = lake.folder / "run.prom"
    options = ["--log-format", "json", "--set", f"run.metrics_file={metrics}", "--set", "run.chunk_rows=40"]
    assert run_command([*command, *options]) == 0
    captured = capsys.readouterr()
    done = json.loads(captured.out.splitlines()[-1])
    lines = [json.loads(line) for line in captured.err.splitlines()]
    assert lines and all({"level", "run_id", "chunk", "message"} <= line.keys() for line in lines)
    text = metrics.read_text()
    assert f'safeguard_run_info{{run_id="{done["run_id"]}",status="complete"}} 1' in text
    assert f"safeguard_run_written_rows{{}} {done['written']}" in text
    refused = [*options[:3], f"run.metrics_file={lake.folder}/none/run.prom"]
    assert run_command([*command, *refused]) == 2
    (error,) = [json.loads(line) for line in capsys.readouterr().err.splitlines() if '"ERROR"' in line]
    assert "run.metrics_file" in error["message"] and lake.calls() == done["calls"]


MISTAKES = [
    (["--source", "/nowhere"], 4, "does not exist"),
    (["--text-column", "bodi"], 4, "did you mean body"),
    (
        ["--set", "engine.kind=endpoint", "--set", "engine.url=http://127.0.0.1:9", "--set", "engine.model=m"],
        5, "127.0.0.1:9",
    ),
    (["--set", "engine.kind=vllm", "--set", "engine.model=./nowhere"], 5, "./nowhere"),
]  # fmt: skip


def without(command: list[str], option: str) -> list[str]:
    """The command without an option that takes one value, which is not given twice."""
    at = command.index(option)
    return [*command[:at], *command[at + 2 :]]


def test_a_mistake_is_one_message_and_leaves_the_tables_unchanged(
    lake: Lake, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(command) == 0
    capsys.readouterr()
    before = files(lake.tables)
    lake.write([("new", "a table of a kind not seen")])
    for options, code, message in MISTAKES:
        others = command if options[0] == "--set" else without(command, options[0])
        assert (run_command([*others, *options]), options) == (code, options)
        captured = capsys.readouterr()
        assert message in captured.err and "Traceback" not in captured.err, captured.err
        lines = [line for line in captured.err.splitlines() if line.startswith("Error")]
        assert len(lines) == 1, captured.err
        assert files(lake.tables) == before, options


def test_a_policy_with_a_syntax_error_is_named_at_its_line(
    lake: Lake, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    broken = lake.folder / "broken.md"
    broken.write_text("---\nname: x\nversion: 1.0.0\nrules: [{id: M1\n---\nbody\n")
    assert run_command([*command, "--policy", str(broken)]) == 3
    assert "broken.md" in capsys.readouterr().err
    assert not lake.tables.exists()


def files(folder: Path) -> list[str]:
    """All files in a folder except hidden files and views, which every run rewrites."""
    return sorted(str(p) for p in folder.rglob("*") if p.is_file() and not p.name.startswith((".", "views")))
