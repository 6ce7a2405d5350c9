"""The page "Evaluating": its files are written, its commands run, and what they print is what it says."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.pages import DOCS, commands_of, output_of, without_times
from tests.spark.lake import Lake
from tests.unit.commands import Safeguard

pytestmark = [pytest.mark.spark, pytest.mark.slow]
PAGE = DOCS / "evaluating.md"
BLOCK = re.compile(r"^```(?P<kind>\w+)(?P<file> \S+)?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
EVALUATION = re.compile(r"e\d{8}T\d{6}-[0-9a-f]{8}")


def test_the_page_goes_from_a_set_to_a_gate(lake: Lake, safeguard: Safeguard, tmp_path: Path, golden: Any) -> None:
    for folder in ("conf", "policies", "sets"):
        shutil.copytree(DOCS.parent / folder, tmp_path / folder)
    # The tests' one JVM was started in another folder, so paths are absolute here.
    config = tmp_path / "conf" / "endpoint.yaml"
    config.write_text(config.read_text(encoding="utf-8").replace("./tables", f"{tmp_path}/tables"), encoding="utf-8")
    lake.create()

    def output(line: str) -> str:
        printed = without_times(output_of(safeguard, line)).replace(str(tmp_path), "/home/ada/trust")
        return EVALUATION.sub("e20260503T091500-1f0c9a3e", printed)

    def run(block: re.Match[str]) -> str:
        if block["file"]:
            file = tmp_path / block["file"].strip()
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block["text"], encoding="utf-8")
        if block["kind"] != "console":
            return block[0]
        return "```console\n" + "".join(f"$ {line}\n{output(line)}" for line in commands_of(block["text"])) + "```"

    golden(PAGE, BLOCK.sub(run, PAGE.read_text(encoding="utf-8")))
