"""`python -m tests.matrix [SPARK ...]`: the jobs on every Spark that platforms bring, each with the Delta of its time.

Each version gets an environment of its own in a temporary folder, with the other packages as requirements/dev.lock has
them, and runs TESTS there. Spark 3.5 must be refused in one sentence. The first run downloads 400 MB for
each version; later ones take the packages from uv's cache, and Delta's jars from Ivy's.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
DELTA_OF = {"4.0.5": "4.0.1", "4.1.1": "4.1.0", "4.2.0": "4.4.0"}
TOO_OLD = "3.5.9"
TESTS = (  # the label job, the SQL function, tables and commits that lose to others, a comparison
    "tests/spark/label/test_label.py",
    "tests/spark/label/test_udf.py",
    "tests/spark/test_tables.py",
    "tests/spark/relabel/test_relabel.py::test_a_comparison_shows_the_flips_of_the_changed_rule_next_to_noise",
)
REFUSAL = f"Error: Spark {TOO_OLD} is too old. Use Spark 4.0 or newer, with the Delta Lake of its version.\n"
LABEL = "import sys; from safeguard_spark.cli.app import main; main(['label', *sys.argv[1:]])"


def main(argv: Sequence[str]) -> int:
    """Run the matrix. Returns 0 if every version behaves."""
    versions = (TOO_OLD, *DELTA_OF)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("versions", nargs="*", metavar="SPARK", help=f"of {', '.join(versions)}; default: all")
    requested = parser.parse_args(argv).versions or versions
    if unknown := {*requested} - {*versions}:
        parser.error(f"{', '.join(sorted(unknown))}: give versions of {', '.join(versions)}")
    failed = []
    for spark in requested:
        start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="matrix-") as folder:
            python = environment(Path(folder), spark)
            passed = is_refused(python) if spark == TOO_OLD else passes_tests(python)
        print(f"Spark {spark}: {'passed' if passed else 'FAILED'}, {time.monotonic() - start:.0f} s", flush=True)
        failed += [] if passed else [spark]
    return int(bool(failed))


def environment(folder: Path, spark: str) -> Path:
    """The Python of a new environment with a version of Spark."""
    (folder / "constraints.txt").write_text("\n".join(pins(spark)), encoding="utf-8")
    uv = Path(sys.executable).with_name("uv")
    packages = ["--requirements", "pyproject.toml", "--constraints", str(folder / "constraints.txt")]
    packages += ["--extra", "cluster"]
    if spark != TOO_OLD:
        packages += ["--extra", "spark", "--extra", "tracking", "--extra", "dev"]
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder / "venv"], check=True)
    python = folder / "venv/bin/python"
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", python, *packages, f"pyspark=={spark}"], cwd=ROOT, check=True
    )
    return python


def pins(spark: str) -> list[str]:
    """Every version of the lock, except of Spark and Delta."""
    lock = (ROOT / "requirements/dev.lock").read_text(encoding="utf-8")
    locked = re.findall(r"^(\S+==\S+(?: ;[^\\]*)?)", lock, re.MULTILINE)
    others = [pin for pin in locked if pin.partition("==")[0] not in ("pyspark", "py4j", "delta-spark")]
    return [*others, f"delta-spark=={DELTA_OF[spark]}"] if spark in DELTA_OF else others


def passes_tests(python: Path) -> bool:
    """Whether the tests pass in an environment."""
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "spark and not slow", *TESTS]
    return subprocess.run(command, cwd=ROOT, env=variables()).returncode == 0


def is_refused(python: Path) -> bool:
    """Whether a job in an environment ends at once with the sentence about its Spark."""
    options = ["--config", "conf/local.yaml", "--source", "posts", "--output", "tables", "--policy", "spam@1.1.0"]
    done = subprocess.run(
        [python, "-c", LABEL, *options], cwd=ROOT, env=variables(), capture_output=True, text=True, timeout=60
    )
    print(done.stderr, end="", flush=True)
    return (done.returncode, done.stdout, done.stderr) == (2, "", REFUSAL)


def variables() -> dict[str, str]:
    """The environment variables of a job: this checkout is imported, and no other Spark is used."""
    return {**{k: v for k, v in os.environ.items() if k != "SPARK_HOME"}, "PYTHONPATH": str(ROOT)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
