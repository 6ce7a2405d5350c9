"""Ctrl-C and SIGTERM anywhere in any command: exit code 6, one sentence, and the JSON object with --json."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from safeguard_spark.cli import app
from safeguard_spark.errors import TableError
from tests.unit.samples import write_policy

pytestmark = pytest.mark.unit

# A shell's background job, and so perhaps the whole test run, ignores SIGINT; Python then does not handle it.
PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from safeguard_spark.cli.app import main
main()
"""
SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
RESUMED = "Interrupted. Issue the same command again to resume."
ANEW = "Interrupted. There is nothing to resume: the same command begins anew."


def started(folder: Path, *argv: str) -> "subprocess.Popen[str]":
    program = [sys.executable, "-c", PROGRAM, *argv]
    return subprocess.Popen(program, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def interrupted(process: "subprocess.Popen[str]", number: signal.Signals) -> tuple[str, str]:
    process.send_signal(number)
    return ended(process)


def ended(process: "subprocess.Popen[str]") -> tuple[str, str]:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 6
    return out, err


@SIGNALS
@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["check"], ANEW),
        (["label", "--json"], RESUMED),
        (["label", "--dry-run"], ANEW),
        (["relabel", "compare", "A", "B", "--json"], RESUMED),
        (["relabel", "plan", "--policy", "A"], ANEW),
    ],
    ids=str,
)
def test_a_command_that_reads_its_configuration(
    tmp_path: Path, command: list[str], message: str, number: signal.Signals
) -> None:
    os.mkfifo(tmp_path / "conf.yaml")
    process = started(tmp_path, *command, "--config", "conf.yaml")
    # This opens when the command opens it to read. It is closed after the signal, since a signal that comes just before
    # the command's call of read() interrupts nothing by itself.
    with (tmp_path / "conf.yaml").open("w"):
        process.send_signal(number)
    out, err = ended(process)
    assert err == f"{message}\n"
    expected = {"run_id": None, "status": "partial", "exit_code": 6, "message": message}
    assert json.loads(out) == expected if "--json" in command else out == ""


@pytest.mark.parametrize("argv", [["check"], ["list", "--json"], ["--help"]], ids=str)
def test_a_pipe_whose_reader_has_ended_is_no_error_of_ours(tmp_path: Path, argv: list[str]) -> None:
    write_policy(tmp_path / "policies")
    reader, writer = os.pipe()
    os.close(reader)
    program = [sys.executable, "-c", PROGRAM, *argv]
    done = subprocess.run(program, cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode in (0, 1), done.stderr) == (True, "")


@SIGNALS
def test_a_command_that_waits_for_the_model(tmp_path: Path, number: signal.Signals) -> None:
    write_policy(tmp_path / "policies")
    script = "engine.args={latency_s: 1, calls_file: calls}"
    process = started(tmp_path, "verify", "market", "--set", "engine.kind=scripted", "--set", script, "--json")
    while not (tmp_path / "calls").exists():  # appears when the first of three calls has ended
        assert process.poll() is None
        time.sleep(0.02)
    out, err = interrupted(process, number)
    assert (err, json.loads(out)["status"]) == (f"{ANEW}\n", "partial")


def test_every_command_that_keeps_its_work_exists() -> None:
    commands = typer.main.get_command(app.app)
    for name in app.RESUMABLE:
        found = commands
        for word in name.split():
            found = found.commands[word]  # type: ignore[attr-defined]


# A call to a JVM that is busy, as PySpark makes it.
CALL = """
import signal, socket, sys
from py4j.clientserver import ClientServer, JavaParameters, PythonParameters
from safeguard_spark.cli import app
signal.signal(signal.SIGINT, signal.default_int_handler)
app._start_logging("warning", tracebacks="--debug" in sys.argv)
signal.signal(signal.SIGTERM, signal.default_int_handler)
jvm = socket.create_server(("127.0.0.1", 0))
java = JavaParameters(port=jvm.getsockname()[1])
python = PythonParameters(port=0, daemonize=True, daemonize_connections=True)
client = ClientServer(java, python)
try:
    print("calls", flush=True)
    client.jvm.java.lang.System.currentTimeMillis()
except KeyboardInterrupt:
    print("ended")
"""


@SIGNALS
@pytest.mark.parametrize("options", [[], ["--debug"]], ids=str)
def test_a_call_to_the_jvm_shows_a_traceback_only_on_request(
    tmp_path: Path, options: list[str], number: signal.Signals
) -> None:
    program = [sys.executable, "-c", CALL, *options]
    process = subprocess.Popen(program, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "calls\n"
    time.sleep(0.5)  # until it waits for the reply
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert out == "ended\n"
    assert err.count("Traceback") == len(options) and (options or err == "")


def test_what_fails_because_of_an_interrupt_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_policy(tmp_path / "policies")

    def run(*_: object, **__: object) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:  # the same signal ended the JVM: its calls fail in their turn
            try:
                raise ConnectionError("the JVM has gone")
            except ConnectionError as error:
                raise TableError("A file could not be written.") from error

    monkeypatch.setattr("safeguard_spark.authoring.check.check_paths", run)
    assert app.run_command(["check"]) == 6
    assert capsys.readouterr().err == f"{ANEW}\n"


def test_the_log_of_a_library_is_one_line_without_its_traceback(tmp_path: Path) -> None:
    call = "import logging\ntry:\n    int('secret')\nexcept ValueError:\n    logging.exception('It failed.')"
    program = f"from safeguard_spark.cli import app\napp._start_logging('warning', tracebacks=False)\n{call}"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr.endswith("Z ERROR It failed.\n") and done.stderr.count("\n") == 1
