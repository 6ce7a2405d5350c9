"""Label a table of content under one or more policies.

spark-submit --packages io.delta:delta-spark_4.2_2.13:4.4.0 \
    --conf spark.sql.extensions=io.delta.sql.DeltaSparkSessionExtension \
    --conf spark.sql.catalog.spark_catalog=org.apache.spark.sql.delta.catalog.DeltaCatalog \
    jobs/label.py --config conf/cluster.yaml --source lake.posts --id-column id --text-column body \
    --policy spam@1.1.0 --output lake.trust --json

Exit code 6 if work is left: issue the same command again.
"""

import sys

from safeguard_spark.cli.app import run_command

if __name__ == "__main__":
    if code := run_command(["label", *sys.argv[1:]]):  # a notebook takes any SystemExit for a failure
        sys.exit(code)
