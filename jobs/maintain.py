"""Maintain the label tables: erase contents, compact small files, delete old ones.

spark-submit --packages io.delta:delta-spark_4.2_2.13:4.4.0 \
    --conf spark.sql.extensions=io.delta.sql.DeltaSparkSessionExtension \
    --conf spark.sql.catalog.spark_catalog=org.apache.spark.sql.delta.catalog.DeltaCatalog \
    jobs/maintain.py erase --config conf/cluster.yaml --output lake.trust --ids 4711,4712 --vacuum --json
"""

import sys
from collections.abc import Sequence

from safeguard_spark.cli.app import run_command


def main(argv: Sequence[str]) -> int:
    """The job; returns its exit code (0 done, 6 a running job may write the contents again: issue it again)."""
    return run_command(["maintain", *argv])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
