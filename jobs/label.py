"""Label a table of content under one or more policies.

spark-submit --packages io.delta:delta-spark_4.2_2.13:4.4.0 \
    --conf spark.sql.extensions=io.delta.sql.DeltaSparkSessionExtension \
    --conf spark.sql.catalog.spark_catalog=org.apache.spark.sql.delta.catalog.DeltaCatalog \
    jobs/label.py --config conf/cluster.yaml --source lake.posts --id-column id --text-column body \
    --policy spam@1.1.0 --output lake.trust --json
"""

import sys
from collections.abc import Sequence

from safeguard_spark.cli.app import run_command


def main(argv: Sequence[str]) -> int:
    """The job; returns its exit code (0 complete, 6 partial: issue the same command again)."""
    return run_command(["label", *argv])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
