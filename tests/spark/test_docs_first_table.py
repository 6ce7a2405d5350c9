"""The page "Your first table": its commands label a Parquet file through a real HTTP server, and print what it says."""

import json
import re
import shutil
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from tests.faulty_server import Call, FaultyServer
from tests.pages import DOCS, commands_of, output_of, without_times
from tests.spark.lake import Lake
from tests.unit.commands import Safeguard

pytestmark = pytest.mark.spark
PAGE = DOCS / "first-table.md"
BLOCK = re.compile(r"^```(?P<kind>console|python)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
URL = "http://localhost:8000"  # what the page calls the server
POSTS = [
    ("p1", "Free coins! Send this to ten friends"),
    ("p2", "Does the museum open on Monday?"),
    ("p3", "1,000 followers for 9 dollars, delivered overnight"),
    ("p4", "Does the museum open on Monday?"),
]
RULES = {"followers": ("SP4", "fake-engagement"), "coins": ("SP2", "scam")}


def answer(call: Call) -> str:
    """What the small test server of the page answers: a rule by a keyword, else safe."""
    rule, category = next((found for word, found in RULES.items() if word in call.text), (None, "none"))
    verdict = {"violation": int(rule is not None), "category": category, "rule_ids": [rule] if rule else []}
    return json.dumps({**verdict, "confidence": "high", "rationale": "A keyword of the script."})


def test_the_page_labels_a_parquet_file_through_an_endpoint(
    lake: Lake, safeguard: Safeguard, tmp_path: Path, golden: Any
) -> None:
    for folder in ("conf", "policies"):
        shutil.copytree(DOCS.parent / folder, tmp_path / folder)
    # The tests' one JVM was started in another folder, so paths are absolute here.
    posts, config = tmp_path / "posts.parquet", tmp_path / "conf" / "endpoint.yaml"
    config.write_text(config.read_text(encoding="utf-8").replace("./tables", f"{tmp_path}/tables"), encoding="utf-8")
    lake.spark.createDataFrame(POSTS, "id STRING, body STRING").coalesce(1).write.parquet("file:" + str(tmp_path / "p"))
    next((tmp_path / "p").glob("part-*.parquet")).rename(posts)

    def output(line: str) -> str:
        return without_times(output_of(safeguard, line.replace(URL, server.url).replace(posts.name, str(posts))))

    def run(block: re.Match[str]) -> str:
        if block["kind"] == "python":
            table = StringIO()
            with redirect_stdout(table):
                exec(block["text"], {})
            tables.append(table.getvalue())
            return block[0]
        return "```console\n" + "".join(f"$ {line}\n{output(line)}" for line in commands_of(block["text"])) + "```"

    tables: list[str] = []
    with FaultyServer(text_of=answer) as server:
        printed = BLOCK.sub(run, PAGE.read_text(encoding="utf-8"))
    (table,) = tables
    printed = re.sub(r"(?<=^```text\n).*?(?=^```$)", table.strip() + "\n", printed, flags=re.MULTILINE | re.DOTALL)
    golden(PAGE, printed)
    assert len(server.calls) == 3  # p4 repeats p2
