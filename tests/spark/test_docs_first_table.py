"""The page "Your first table": its commands label a Parquet file through a real HTTP server, and print what it says."""

import json
import re
import shlex
import shutil
import subprocess
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from safeguard_spark.cli.app import run_command
from tests.faulty_server import Call, FaultyServer
from tests.spark.lake import Lake

pytestmark = pytest.mark.spark
ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "first-table.md"
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


def without_times(text: str) -> str:
    """Without the lines of progress, and with 12 s for every duration."""
    lines = [line for line in text.splitlines(keepends=True) if not re.search(r"rows/s|waiting for", line)]
    return re.sub(r"\b\d+ s\b", "12 s", "".join(lines))


def test_the_page_labels_a_parquet_file_through_an_endpoint(
    lake: Lake,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for folder in ("conf", "policies"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    # The tests' one JVM was started in another folder, so paths are absolute here.
    posts, config = tmp_path / "posts.parquet", tmp_path / "conf" / "endpoint.yaml"
    config.write_text(config.read_text(encoding="utf-8").replace("./tables", f"{tmp_path}/tables"), encoding="utf-8")
    lake.spark.createDataFrame(POSTS, "id STRING, body STRING").coalesce(1).write.parquet("file:" + str(tmp_path / "p"))
    next((tmp_path / "p").glob("part-*.parquet")).rename(posts)

    def output(line: str) -> str:
        command, _, pipe = line.removeprefix("safeguard ").partition(" | ")
        capsys.readouterr()
        code = run_command(shlex.split(command.replace(URL, server.url).replace(posts.name, str(posts))))
        printed = capsys.readouterr()
        assert code == 0, printed.err
        shown = subprocess.run(["bash", "-c", pipe or "cat"], input=printed.out, capture_output=True, text=True)
        return without_times(shown.stdout + printed.err)

    def run(block: re.Match[str]) -> str:
        if block["kind"] == "python":
            table = StringIO()
            with redirect_stdout(table):
                exec(block["text"], {})
            tables.append(table.getvalue())
            return block[0]
        commands = [line for line in block["text"].splitlines() if line.startswith("$ ")]
        return "```console\n" + "".join(f"{line}\n{output(line[2:])}" for line in commands) + "```"

    tables: list[str] = []
    page = PAGE.read_text(encoding="utf-8")
    with FaultyServer(text_of=answer) as server:
        printed = BLOCK.sub(run, page)
    (table,) = tables
    printed = re.sub(r"(?<=^```text\n).*?(?=^```$)", table.strip() + "\n", printed, flags=re.MULTILINE | re.DOTALL)
    if request.config.getoption("--rewrite-golden"):
        PAGE.write_text(printed, encoding="utf-8")
    else:
        assert printed == page
    assert len(server.calls) == 3  # p4 repeats p2
