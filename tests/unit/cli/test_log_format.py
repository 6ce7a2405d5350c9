"""`--log-format json`: every line on stderr is a JSON object, whatever prints it; stdout stays as it is."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from safeguard_spark import run_context
from safeguard_spark.cli.logs import JsonLines
from tests.unit.commands import Safeguard
from tests.unit.samples import write_policy

pytestmark = pytest.mark.unit
PROGRAM = """
import logging, sys, warnings
from safeguard_spark import run_context
from safeguard_spark.cli import app

@app.app.command("work")
def work() -> None:
    with run_context.working_on_run("r9"), run_context.working_on_chunk(4):
        logging.getLogger("safeguard_spark.spark").warning("two\\nlines, %d %%", 7)
        print("progress 1\\rprogress 2", end="", file=sys.stderr)
    warnings.warn("old thing")
    print("result")

app.main(sys.argv[1:])
"""


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("argv", [["--log-format", "json", "work"], ["work", "--log-format=json"]], ids=str)
def test_log_lines_progress_and_warnings_name_the_run_and_the_chunk(argv: list[str]) -> None:
    done = subprocess.run([sys.executable, "-W", "default", "-c", PROGRAM, *argv], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "result\n")
    lines = objects(done.stderr)
    assert all(set(line) == {"time", "level", "logger", "run_id", "chunk", "message"} for line in lines)
    first, progress, *others = [(line["level"], line["run_id"], line["chunk"], line["message"]) for line in lines]
    assert first == ("WARNING", "r9", 4, "two\nlines, 7 %") and progress == ("INFO", "r9", 4, "progress 1")
    assert any("old thing" in message and (level, run) == ("WARNING", None) for level, run, _, message in others)


def test_an_error_is_an_object_and_json_results_are_unchanged(safeguard: Safeguard) -> None:
    ran = safeguard("check", "nothing", "--json", "--log-format", "json")
    (line,) = objects(ran.err)
    assert (ran.code, line["level"], line["run_id"]) == (3, "ERROR", None) and "nothing" in line["message"]
    assert json.loads(ran.out)["message"] in line["message"]
    write_policy(Path("policies"))
    assert json.loads(safeguard("check", "market", "--json", "--log-format", "json").out)["errors"] == 0
    usage = safeguard("check", "--no-such-option", "--log-format", "json")
    (line,) = objects(usage.err)
    assert (usage.code, line["level"]) == (2, "ERROR") and "--no-such-option" in line["message"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["relabel", "plan"], "--policy"),  # an option is missing
        (["check", "--max-errors", "few"], "--max-errors"),
        (["import"], "path"),
        (["relabel", "nothing"], "nothing"),
        (["list", "--config", "a", "--config", "b"], "more than once"),
        (["check", "nothing", "--debug"], "Traceback"),
    ],
    ids=" ".join,
)
def test_every_error_is_one_line_of_level_error(safeguard: Safeguard, argv: list[str], words: str) -> None:
    (line,) = objects(safeguard(*argv, "--log-format", "json").err)
    assert line["level"] == "ERROR" and line["message"].startswith("Error: ") and words in line["message"]


def test_the_format_may_come_from_the_environment_and_another_is_refused(
    safeguard: Safeguard, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = safeguard("list", "--log-format", "xml")
    assert (refused.code, refused.err) == (2, "Error: --log-format xml: give one of text, json.\n")
    monkeypatch.setenv("SAFEGUARD_LOG_FORMAT", "json")
    assert objects(safeguard("check", "nothing").err)
    assert safeguard("check", "nothing", "--log-format", "text").err.startswith("Error: ")


def test_what_is_left_of_a_line_is_written_at_the_end() -> None:
    stream = io.StringIO()
    lines = JsonLines(stream)
    with run_context.working_on_run("r1"):
        lines.write("\n\nhalf a ")
        assert stream.getvalue() == ""
        lines.write("line")
        lines.close()
    assert [(line["run_id"], line["message"]) for line in objects(stream.getvalue())] == [("r1", "half a line")]
    assert run_context.current() == (None, None)
