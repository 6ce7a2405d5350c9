"""Register policies in MLflow and pin them in lock.json, in the pipeline that runs after a merge.

spark-submit jobs/publish_policies.py --config conf/cluster.yaml --policies policies --alias shadow

Needs no Spark: `python jobs/publish_policies.py …` and `safeguard publish …` do the same. Safe to repeat.
"""

import sys
from collections.abc import Sequence

from safeguard_spark.cli.app import run_command


def main(argv: Sequence[str]) -> int:
    """The job; returns its exit code (0 published or already there, 3 a policy has errors or has changed)."""
    return run_command(["publish", *argv])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
