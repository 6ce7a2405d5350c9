"""`make bench`: how close the label job gets to the engine's own speed, and how it grows with the table.

    python -m tests.bench                                    everything: the CPU's models, or on a GPU the 20b's
                                                             shape, the limit and the job alone
    python -m tests.bench speed --models demo --rounds 2 --contenders limit job4:1,16 udf:32
    python -m tests.bench scale --rows 300000 1000000
    python -m tests.bench nightly --rows 1000000 3000000 10000000
    python -m tests.bench start                              commands without tables or a model
    python -m tests.bench report                             tables from the results so far

Results are lines in `.cache/bench/results.jsonl`; every call adds to them. `report --write` puts the tables into
docs/benchmarks.md. Ray Data and Daft take part if installed: in this environment, or in one of their own that
BENCH_RAY_PYTHON and BENCH_DAFT_PYTHON name.
"""

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from tests.bench import models, nightly, report, scale, speed, start
from tests.bench.workload import ROOT

CONTENDERS = ["limit", "job4:1,4,16", "job1:1,4", "udf:32,128", "ray", "daft"]
SIZES = [512, 2048]
GPU_CONTENDERS, GPU_SIZES = ["limit", "job4:1,16"], [8192, 65_536]  # two engines fit; the whole takes five minutes


def main() -> None:
    """Parse and run."""
    gpu = has_gpu()
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.split("\n\n")[0])
    choices = ["all", "speed", "scale", "nightly", "start", "report"]
    parser.add_argument("what", nargs="?", choices=choices, default="all")
    parser.add_argument("--models", nargs="+", default=["gpt-oss-20b"] if gpu else ["demo", "llama"])
    parser.add_argument("--contenders", nargs="+", default=GPU_CONTENDERS if gpu else CONTENDERS)
    parser.add_argument("--sizes", nargs="+", type=int, default=GPU_SIZES if gpu else SIZES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", nargs="+", type=int, default=[300_000, 1_000_000, 3_000_000])
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache/bench")
    parser.add_argument("--lock", nargs="*", type=Path, default=[], help="files to lock while Spark starts")
    parser.add_argument("--later", nargs="*", type=Path, default=[], help="files to lock at every other time")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/benchmarks.md")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that `finally` ends what was started
    options.cache.mkdir(parents=True, exist_ok=True)
    results = options.cache / "results.jsonl"
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        if options.what in ("all", "speed"):
            for name in options.models:
                model = models.model_of(name, options.cache)
                locks = (options.lock, options.later)
                speed.measure(model, options.contenders, options.sizes, options.rounds, Path(folder), results, *locks)
        if options.what in ("all", "scale"):
            scale.measure(options.rows, Path(folder), results)
        if options.what in ("all", "nightly"):
            nightly.measure(options.rows, Path(folder), results, options.lock)
        if options.what in ("all", "start"):
            start.measure(Path(folder), results)
    report.write_report(results, ROOT / "docs/benchmarks.md" if options.write or options.what == "all" else None)


def has_gpu() -> bool:
    """Whether this machine has one vLLM could use."""
    import torch

    return bool(torch.cuda.is_available())


if __name__ == "__main__":
    main()
