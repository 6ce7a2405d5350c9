"""Pages of the documentation, executed: their commands and Python, and what these print in place of what is there."""

import contextlib
import io
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.unit.commands import Safeguard

DOCS = Path(__file__).parents[1] / "docs"
COMMAND = re.compile(r"safeguard (?P<argv>.*?)(?P<rest> [|>] .*)?")


def output_of(safeguard: Safeguard, line: str) -> str:
    """What a line for a shell prints; our own commands, up to a pipe, are called in this process."""
    command = COMMAND.fullmatch(line)
    if command is None:
        return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout
    ran = safeguard(*shlex.split(command["argv"]))
    piped = subprocess.run(["bash", "-c", f"cat{command['rest'] or ''}"], input=ran.out.encode(), capture_output=True)
    return piped.stdout.decode() + ran.err


def commands_of(text: str) -> list[str]:
    """The commands of a console block."""
    return [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]


def without_times(text: str) -> str:
    """Without the lines of progress and of MLflow, and with 12 s for every duration."""
    lines = [line for line in text.splitlines(keepends=True) if not re.search(r"rows/s|waiting for|MLflow at", line)]
    return re.sub(r"\b\d+ s\b", "12 s", "".join(lines))


# Writing a policy

WRITING = DOCS / "writing-a-policy.md"
GERMAN = DOCS / "eine-richtlinie-schreiben.md"
BLOCK = re.compile(r"^```(?P<kind>\w+)(?P<file> \S+)?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
FOLDER = "/home/ada/trust"  # the folder's name on the page


def writing_page(
    safeguard: Safeguard, folder: Path, chdir: Callable[[str], None], *, with_tables: bool, page: Path = WRITING
) -> str:
    """The page with the output that its commands have in `folder`; blocks that need tables are left as they are."""

    def printed(line: str) -> str:
        if line.startswith("cd "):
            chdir(line[3:])
            return ""
        return output_of(safeguard, line).replace(str(folder), FOLDER)

    def run(block: re.Match[str]) -> str:
        if block["file"]:
            file = Path(block["file"].strip())
            assert file.is_file()
            file.write_text(block["text"])
        if block["kind"] != "console" or ("$ safeguard label" in block["text"] and not with_tables):
            return block[0]
        return "```console\n" + "".join(f"$ {line}\n{printed(line)}" for line in commands_of(block["text"])) + "```"

    return BLOCK.sub(run, page.read_text(encoding="utf-8"))


# Python

PYTHON = DOCS / "python.md"
FIRST_ON_SPARK = "## Label a table\n"
PYTHON_BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n.*?^```\n)?", re.MULTILINE | re.DOTALL)


def python_page(*, on_spark: bool) -> str:
    """The page, in the part with or without Spark each block followed by exactly what it prints."""
    names: dict[str, Any] = {}

    def run(block: re.Match[str]) -> str:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block["code"], PYTHON.name, "exec"), names)
        text = printed.getvalue().rstrip("\n")
        return f"```python\n{block['code']}```\n" + (f"\n```text\n{text}\n```\n" if text else "")

    before, heading, after = PYTHON.read_text(encoding="utf-8").partition(FIRST_ON_SPARK)
    executed = PYTHON_BLOCK.sub(run, after if on_spark else before)
    assert executed.count("```text") >= 4
    return before + heading + executed if on_spark else executed + heading + after
