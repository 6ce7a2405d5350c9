"""How long commands take that need neither tables nor a model: what a user types, start of Python included.

Policies are shipped ones under names of their own, with their cases, so lengths and numbers of cases are real.
"""

import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import typer

from safeguard_spark.cli.app import app
from safeguard_spark.policy.document import load_policy
from safeguard_spark.policy.ref import all_policy_files
from tests.bench import speed
from tools.commands import leaf_commands

SHIPPED = Path(__file__).parents[2] / "policies"
REPEATS = 7
COUNTS = (10, 100)  # policies that are checked


def measure(folder: Path, results: Path) -> None:
    """Time each command; one JSON line each is added to `results`, and one for the slowest help of all commands."""
    lines = [_timed("`safeguard --help`", ["--help"])]
    commands = [words for words, _ in leaf_commands(typer.main.get_command(app))]
    helps = [_timed(f"`safeguard {' '.join(words)} --help`", [*words, "--help"]) for words in commands]
    lines.append(max(helps, key=lambda line: float(line["cpu_s"])))
    lines[-1]["start"] += f" (the slowest of {len(helps)})"
    for count in COUNTS:
        copy_policies(folder / str(count), count)
        lines.append(_timed(f"`safeguard check`, {count} policies", ["check", "--policies", str(folder / str(count))]))
    lines.append(_timed("`safeguard list`", ["list", "--policies", str(SHIPPED)]))
    show = ["show-prompt", "spam@1.1.0", "Free coins", "--policies", str(SHIPPED)]
    lines.append(_timed("`safeguard show-prompt`", show))
    for line in lines:
        print(line, flush=True)
        speed.add(results, line)


def copy_policies(folder: Path, count: int) -> None:
    """Copy shipped policies under `count` names."""
    for number, file in enumerate(islice(cycle(all_policy_files(SHIPPED)), count)):
        policy = load_policy(file)
        target = folder / f"{policy.name}-{number}" / policy.version
        shutil.copytree(file.parent, target)
        text = file.read_text(encoding="utf-8")
        (target / file.name).write_text(text.replace(f"name: {policy.name}", f"name: {policy.name}-{number}", 1))


def _timed(name: str, argv: Sequence[str]) -> dict[str, Any]:
    """The medians of a command's seconds: by the clock, and of processor, which other work does not change."""
    walls, processors = list[float](), list[float]()
    for _ in range(REPEATS):
        begun, used = time.perf_counter(), _processor_s()
        subprocess.run([sys.executable, "-m", "safeguard_spark", *argv], capture_output=True, check=True)
        walls.append(time.perf_counter() - begun)
        processors.append(_processor_s() - used)
    return {"start": name, "wall_s": median(walls), "least_s": min(walls), "cpu_s": median(processors), "n": REPEATS}


def _processor_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
