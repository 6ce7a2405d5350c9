"""Long documents: with the heap that is shipped, a table of them is labelled, and out of memory is a sentence."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from safeguard_spark.errors import ExitCode
from tests.build import policy_text
from tools import rooms

pytestmark = [pytest.mark.spark, pytest.mark.slow]

# Texts that hardly compress, in one Parquet file with row groups of 120 MB, as Spark writes them.
WRITE = """
import random, sys
import pyarrow as pa
import pyarrow.parquet as pq

rows, characters, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
source = random.Random(0)
schema = pa.schema({"id": pa.string(), "body": pa.string()})
with pq.ParquetWriter(f"{folder}/documents.parquet", schema) as writer:
    for first in range(0, rows, 600):
        ids = [str(n) for n in range(first, min(rows, first + 600))]
        bodies = [source.randbytes(characters // 2).hex() for _ in ids]
        writer.write_table(pa.table({"id": ids, "body": bodies}, schema=schema))
"""


def write(folder: Path, rows: int, characters: int) -> None:
    """Write the documents."""
    subprocess.run([sys.executable, "-c", WRITE, str(rows), str(characters), str(folder)], check=True, timeout=300)


def label(folder: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    """Label the documents in a process of its own, with Spark as it is shipped but for these settings."""
    (folder / "conf.yaml").write_text("engine: {kind: scripted}\ntracking: {enabled: false}\n")
    (folder / "policy.md").write_text(policy_text())
    command = [
        sys.executable, str(rooms.ROOT / "jobs/label.py"), "--config", str(folder / "conf.yaml"), "--json",
        "--policy", str(folder / "policy.md"), "--source", str(folder / "documents.parquet"), "--text-column", "body",
        "--output", str(folder / "tables"), *(part for setting in settings for part in ("--set", setting)),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)


def test_a_gigabyte_of_long_documents_is_labelled_in_the_shipped_heap(tmp_path: Path) -> None:
    write(tmp_path, 6_000, 200_000)
    done = label(tmp_path, "labeler.max_prompt_tokens=1000000")
    assert done.returncode == ExitCode.complete, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["rows"], result["written"], result["outcomes"]) == (6_000, 6_000, {"labelled": 6_000})


def test_a_document_larger_than_the_heap_ends_in_the_sentence_that_names_the_setting(tmp_path: Path) -> None:
    write(tmp_path, 1, 400_000_000)
    done = label(tmp_path, "spark.conf.spark.driver.memory=512m")
    assert done.returncode == ExitCode.usage, done.stderr
    assert "Error: Spark is out of memory. Give it more: --set spark.conf.spark.driver.memory=8g" in done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["exit_code"] == ExitCode.usage
