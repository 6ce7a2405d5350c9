"""Peak memory against table size: `python -m tests.bench.memory --rows 10000 1000000`. Prints one JSON object per size.

The whole label job with the scripted engine, in the chat dialect, so that the pipeline alone sets the speed.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from tests.bench.no_op import timed
from tests.build import policy_text

BATCH = 10_000


def main(argv: Sequence[str]) -> int:
    """Label tables of several sizes and print what each took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--chunk-rows", type=int, default=20_000)
    parser.add_argument("--master", default="local[2]")
    options = parser.parse_args(argv)
    for rows in options.rows:
        with tempfile.TemporaryDirectory(prefix="memory-") as name:
            folder = Path(name)
            make(folder, rows, options.chunk_rows)
            print(json.dumps(timed(folder, options.master)), flush=True)
    return 0


def make(folder: Path, rows: int, chunk_rows: int) -> None:
    """A content table of `rows` texts of 300 characters, and the configuration to label it."""
    (folder / "policy.md").write_text(policy_text(text="No replicas."))
    settings = {
        "engine": {"kind": "scripted", "dialect": "chat", "args": {"words": {"replica": "M1"}}},
        "source": {"location": str(folder / "posts.parquet"), "text_column": "body"},
        "output": str(folder / "tables"),
        "run": {"chunk_rows": chunk_rows},
        "tracking": {"enabled": False},
    }
    (folder / "conf.yaml").write_text(yaml.safe_dump(settings))
    schema = pa.schema([("id", pa.string()), ("body", pa.string())])
    with pq.ParquetWriter(folder / "posts.parquet", schema) as writer:
        for batch in _batches(rows):
            writer.write_batch(batch)


def _batches(rows: int) -> Iterator[pa.RecordBatch]:
    for start in range(0, rows, BATCH):
        numbers = range(start, min(rows, start + BATCH))
        texts = [f"{'A replica' if n % 7 == 0 else 'A table'}, number {n}. {f'word{n} ' * 30}"[:300] for n in numbers]
        yield pa.RecordBatch.from_pydict({"id": [f"post-{n}" for n in numbers], "body": texts})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
