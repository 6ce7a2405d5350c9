"""The page "Screening": its commands run, and what they print is what it says, but for what is random or takes time."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from safeguard_spark.demo import content
from tests.pages import BLOCK, DOCS, commands_of, output_of, without_times
from tests.spark.lake import Lake
from tests.unit.commands import Safeguard

pytestmark = [pytest.mark.spark, pytest.mark.slow]
PAGE = DOCS / "screening.md"
ID = "s1f3a09c24e7"  # on the page
SCREENED = re.compile(r"\(labelled ([\d,]+), screened ([\d,]+)\)")
# Which contents are audited is drawn anew in every run, and with them what depends on it; rates are the machine's.
VARYING = (
    re.compile(r"[\d,]+ prompt tokens"),
    re.compile(r"[\d,]+(?: \([^)]*\))? tokens generated, .* engine-hours \(by .*\)"),
    re.compile(r"\d+ of them violations\. Over all its runs it keeps at least [\d.]+%"),
    re.compile(r"(?<=^all) {2,}\d.*"),
    re.compile(r"^\d{8}T\d{6}-[0-9a-f]{8} .*"),
    re.compile(r"\bp[0-9a-f]{11}\b"),
)


def test_the_page_goes_from_labels_to_a_screen_and_back(
    lake: Lake, safeguard: Safeguard, tmp_path: Path, golden: Any
) -> None:
    shutil.copytree(DOCS.parent / "policies", tmp_path / "policies")
    content.write(tmp_path / "posts.parquet", 6_000)
    (tmp_path / "conf").mkdir()
    lake.create()
    text = PAGE.read_text(encoding="utf-8")
    on_page = {_comparable(line): line for line in text.splitlines()}
    labelled, screened = _counts(text)
    words = {str(tmp_path): "/home/ada/trust"}  # of this run, and what the page has in their place

    def output(line: str) -> str:
        id_here = next((here for here, there in words.items() if there == ID), ID)
        printed = without_times(output_of(safeguard, line.replace(ID, id_here)))
        if made := re.match(r"Screen (s[0-9a-f]{11}):", printed):
            words[made[1]] = ID
        if SCREENED.search(printed):
            here = _counts(printed)
            assert sum(map(_number, here)) == 3_000 and _number(here[1]) > 1_000
            words.update(zip(here, (labelled, screened), strict=True))
        for here, there in words.items():
            printed = printed.replace(here, there)
        return "".join(f"{on_page.get(_comparable(line), line)}\n" for line in printed.splitlines())

    def run(block: re.Match[str]) -> str:
        if block["file"]:
            # The tests' one JVM was started in another folder, so paths are absolute here.
            settings = block["text"].replace("posts.parquet", f"{tmp_path}/posts.parquet")
            (tmp_path / block["file"].strip()).write_text(settings.replace("./tables", f"{tmp_path}/tables"))
        if block["kind"] != "console" or any(word in block["text"] for word in ("safeguard evaluate", "--strata")):
            return block[0]
        return "```console\n" + "".join(f"$ {line}\n{output(line)}" for line in commands_of(block["text"])) + "```"

    golden(PAGE, BLOCK.sub(run, text))


def _comparable(line: str) -> str:
    for varying in VARYING:
        line = varying.sub("…", line)
    return line


def _counts(text: str) -> tuple[str, str]:
    """How many labels of the run with a screen are the model's, and how many the screen's."""
    match = SCREENED.search(text)
    assert match
    return match[1], match[2]


def _number(text: str) -> int:
    return int(text.replace(",", ""))
