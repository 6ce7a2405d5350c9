"""Plan, apply, compare and promote another version of a policy.

spark-submit --packages io.delta:delta-spark_4.2_2.13:4.4.0 \
    --conf spark.sql.extensions=io.delta.sql.DeltaSparkSessionExtension \
    --conf spark.sql.catalog.spark_catalog=org.apache.spark.sql.delta.catalog.DeltaCatalog \
    jobs/relabel.py plan --policy spam@1.1.0 --scope touched \
    --config conf/cluster.yaml --source lake.posts --text-column body --output lake.trust --json
"""

import sys
from collections.abc import Sequence

from safeguard_spark.cli.app import run_command


def main(argv: Sequence[str]) -> int:
    """The job; returns its exit code (0 done, 6 the budget ran out: issue the command again, 7 the gate is not met)."""
    return run_command(["relabel", *argv])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
