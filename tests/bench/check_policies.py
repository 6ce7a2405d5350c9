"""How long `safeguard check` takes for many policies: python -m tests.bench.check_policies [COUNT]

Each policy is a shipped one under a name of its own, with its cases, so lengths and numbers of cases are real. What is
timed is the command a user types, in a process of its own, start of Python included. On two cores shared with other
work (load 4 to 6) 100 policies took 1.1 to 1.2 s of processor, and 1.2 to 3.9 s by the clock.
"""

import resource
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

from safeguard_spark.authoring.checks.text import token_count
from safeguard_spark.policy.document import load_policy
from safeguard_spark.policy.ref import all_policy_files

SHIPPED = Path(__file__).parents[2] / "policies"
REPEATS = 3


def copy_policies(folder: Path, count: int) -> int:
    """Copy shipped policies under `count` names; returns how many tokens their texts have together."""
    tokens = 0
    for number, file in enumerate(islice(cycle(all_policy_files(SHIPPED)), count)):
        policy = load_policy(file)
        target = folder / f"{policy.name}-{number}" / policy.version
        shutil.copytree(file.parent, target)
        text = file.read_text(encoding="utf-8")
        (target / file.name).write_text(text.replace(f"name: {policy.name}", f"name: {policy.name}-{number}", 1))
        tokens += token_count(policy.body)
    return tokens


def processor_s() -> float:
    """Processor time of all children so far: what other work on the machine does not change."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(argv: list[str]) -> int:
    """Print the time of each repeat; returns 0."""
    count = int(argv[0]) if argv else 100
    with tempfile.TemporaryDirectory() as folder:
        tokens = copy_policies(Path(folder), count)
        command = [
            sys.executable,
            "-c",
            "from safeguard_spark.cli.app import main; main()",
            "check",
            "--policies",
            folder,
        ]
        for _ in range(REPEATS):
            begun, used = time.perf_counter(), processor_s()
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds, used = time.perf_counter() - begun, processor_s() - used
            print(
                f"{seconds:.2f} s ({used:.2f} s of processor) for {count} policies, {tokens:,} tokens: {done.stdout}",
                end="",
            )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
