"""The page "Writing a policy" is executed: its commands print exactly the output below them."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from safeguard_spark.authoring.diagnostics import CHECKS
from safeguard_spark.policy.document import Gate, Policy
from tests.unit.commands import Safeguard

pytestmark = pytest.mark.unit
PAGE = Path(__file__).parents[3] / "docs" / "writing-a-policy.md"
FORMAT = PAGE.with_name("policy-format.md")
BLOCK = re.compile(r"^```(?P<kind>\w+)(?P<file> \S+)?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?P<argv>safeguard .*?)(?P<rest> [|>] .*)?")
FOLDER = "/home/ada/trust"  # the folder's name on the page


def test_every_command_on_the_page_prints_the_output_on_the_page(
    safeguard: Safeguard,
    empty_store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    Path("mlflow.db").write_bytes(empty_store.read_bytes())

    def output_of(line: str) -> str:
        if line.startswith("cd "):
            monkeypatch.chdir(line[3:])
            return ""
        command = COMMAND.fullmatch(line)
        if command is None:
            return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout
        ran = safeguard(*shlex.split(command["argv"])[1:])
        piped = subprocess.run(
            ["bash", "-c", f"cat{command['rest'] or ''}"], input=ran.out.encode(), capture_output=True
        )
        return (piped.stdout.decode() + ran.err).replace(str(tmp_path), FOLDER)

    def run(block: re.Match[str]) -> str:
        if block["file"]:
            file = Path(block["file"].strip())
            assert file.is_file()
            file.write_text(block["text"])
        if block["kind"] != "console":
            return block[0]
        commands = [line for line in block["text"].split("\n") if line.startswith("$ ")]
        return "```console\n" + "".join(f"{line}\n{output_of(line[2:])}" for line in commands) + "```"

    page = PAGE.read_text(encoding="utf-8")
    executed = BLOCK.sub(run, page)
    if request.config.getoption("--rewrite-golden"):
        PAGE.write_text(executed, encoding="utf-8")
    assert executed == PAGE.read_text(encoding="utf-8")


def test_the_format_page_has_every_key_and_every_check() -> None:
    page = FORMAT.read_text(encoding="utf-8")
    keys = [key for key in (*Policy.model_fields, *Gate.model_fields) if key != "body"]
    assert [key for key in keys if f"`{key}`" not in page] == []
    rows = [f"| `{code}` | {check.level.value} | {check.summary}" for code, check in CHECKS.items()]
    assert [row for row in rows if row not in page.replace("\\|", "|")] == []
