"""The page "Screening": its commands run, and what they print is what it says, but for what is drawn at random."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from safeguard_spark.demo import content
from tests.pages import BLOCK, DOCS, commands_of, output_of, without_times
from tests.spark.lake import Lake
from tests.unit.commands import Safeguard

pytestmark = pytest.mark.spark
PAGE = DOCS / "screening.md"
ID = "s1f3a09c24e7"  # on the page
# Which contents are audited is drawn anew in every run, and with them what depends on it.
DRAWN = (
    (re.compile(r"\d+ of them violations\. Over all its runs it keeps at least [\d.]+%"),
     "1 of them violations. Over all its runs it keeps at least 84.5%"),
    (re.compile(r"^(run +flagged.*\n)((?:.*\n)*)", re.MULTILINE), None),
    (re.compile(r"\d{8}T\d{6}-[0-9a-f]{8}"), "20260503T091500-1f0c9a3e"),
    (re.compile(r"\bp[0-9a-f]{11}\b"), "p5d1e0c7a934"),
)  # fmt: skip


def test_the_page_goes_from_labels_to_a_screen_and_back(
    lake: Lake, safeguard: Safeguard, tmp_path: Path, golden: Any
) -> None:
    shutil.copytree(DOCS.parent / "policies", tmp_path / "policies")
    content.write(tmp_path / "posts.parquet", 6_000)
    (tmp_path / "conf").mkdir()
    lake.create()
    made: list[str] = []  # the id of the screen

    def output(line: str) -> str:
        printed = output_of(safeguard, line.replace(ID, made[0]) if made else line)
        if match := re.match(r"Screen (s[0-9a-f]{11}):", printed):
            made[:] = [match[1]]
        printed = without_times(printed).replace(str(tmp_path), "/home/ada/trust")
        for drawn, instead in DRAWN:
            printed = drawn.sub(instead if instead is not None else _audits, printed)
        return printed.replace(made[0], ID) if made else printed

    def run(block: re.Match[str]) -> str:
        if block["file"]:
            # The tests' one JVM was started in another folder, so paths are absolute here.
            text = block["text"].replace("posts.parquet", f"{tmp_path}/posts.parquet")
            (tmp_path / block["file"].strip()).write_text(text.replace("./tables", f"{tmp_path}/tables"))
        if block["kind"] != "console" or "safeguard evaluate" in block["text"]:
            return block[0]
        return "```console\n" + "".join(f"$ {line}\n{output(line)}" for line in commands_of(block["text"])) + "```"

    golden(PAGE, BLOCK.sub(run, PAGE.read_text(encoding="utf-8")))


def _audits(table: re.Match[str]) -> str:
    """The table of audits with the numbers that are on the page in place of those drawn here."""
    page = re.search(r"^run +flagged.*\n(?:.*\n)*?(?=```)", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return page[0] if page else table[0]
