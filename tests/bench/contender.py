"""A contender in a process of its own: started once, then told again and again to label a table.

    python -m tests.bench.contender KIND MODEL-JSON SETTING-JSON REPLY-FD

Orders come as JSON lines on stdin, replies leave as JSON lines on REPLY-FD; what libraries print goes to the log.
"""

import importlib
import json
import os
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tests.bench.models import Model

KINDS = {
    "limit": "tests.bench.limit:Limit",
    "job": "tests.bench.job:LabelJob",
    "seam": "tests.bench.seam:Seam",
    "udf": "tests.bench.batch_udf:BatchUdf",
    "ray": "tests.bench.ray_data:RayData",
    "daft": "tests.bench.daft_provider:DaftProvider",
}


@dataclass
class Done:
    """What a run came to. `output_tokens` must be the same for every contender."""

    rows: int
    output_tokens: int
    prompt_tokens: int = 0
    cached_tokens: int = 0
    engine_starts: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    wall_s: float = 0.0


class Contender(Protocol):
    """A way to label a table."""

    def __init__(self, model: Model, setting: dict[str, Any], folder: Path) -> None: ...

    def run(self, table: Path, setting: dict[str, Any]) -> Done:
        """Label a Parquet table of (id, body)."""
        ...

    def close(self) -> None:
        """End what was started."""
        ...


def opened(kind: str, model: Model, setting: dict[str, Any], folder: Path) -> Contender:
    """A contender by its kind."""
    module, _, name = KINDS[kind].partition(":")
    made: Contender = getattr(importlib.import_module(module), name)(model, setting, folder)
    return made


def main() -> None:
    """Serve orders until stdin ends."""
    kind, model, setting, folder, reply = sys.argv[1:]
    contender = opened(kind, Model(**json.loads(model)), json.loads(setting), Path(folder))
    with os.fdopen(int(reply), "w", buffering=1) as replies:
        for line in sys.stdin:
            order = json.loads(line)
            began = time.monotonic()
            done = contender.run(Path(order.pop("table")), order)
            done.wall_s = done.wall_s or time.monotonic() - began
            replies.write(json.dumps(asdict(done)) + "\n")
    contender.close()


if __name__ == "__main__":
    main()
