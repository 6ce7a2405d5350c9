"""The page "Writing a policy", executed: what its commands print, and what the page says they print."""

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.unit.commands import Safeguard

PAGE = Path(__file__).parents[1] / "docs" / "writing-a-policy.md"
BLOCK = re.compile(r"^```(?P<kind>\w+)(?P<file> \S+)?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?P<argv>safeguard .*?)(?P<rest> [|>] .*)?")
FOLDER = "/home/ada/trust"  # the folder's name on the page


def executed(safeguard: Safeguard, folder: Path, chdir: Callable[[str], None], *, with_tables: bool) -> str:
    """The page with the output that its commands have in `folder`; blocks that need tables are left as they are."""

    def output_of(line: str) -> str:
        if line.startswith("cd "):
            chdir(line[3:])
            return ""
        command = COMMAND.fullmatch(line)
        if command is None:
            return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout
        ran = safeguard(*shlex.split(command["argv"])[1:])
        piped = subprocess.run(
            ["bash", "-c", f"cat{command['rest'] or ''}"], input=ran.out.encode(), capture_output=True
        )
        return (piped.stdout.decode() + ran.err).replace(str(folder), FOLDER)

    def run(block: re.Match[str]) -> str:
        if block["file"]:
            file = Path(block["file"].strip())
            assert file.is_file()
            file.write_text(block["text"])
        if block["kind"] != "console" or ("$ safeguard label" in block["text"] and not with_tables):
            return block[0]
        commands = [line for line in block["text"].split("\n") if line.startswith("$ ")]
        return "```console\n" + "".join(f"{line}\n{output_of(line[2:])}" for line in commands) + "```"

    return BLOCK.sub(run, PAGE.read_text(encoding="utf-8"))
