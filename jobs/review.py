"""Draw what people judge, export what they decided, and show what it says so far.

spark-submit --packages io.delta:delta-spark_4.2_2.13:4.4.0 \
    --conf spark.sql.extensions=io.delta.sql.DeltaSparkSessionExtension \
    --conf spark.sql.catalog.spark_catalog=org.apache.spark.sql.delta.catalog.DeltaCatalog \
    jobs/review.py sample --config conf/cluster.yaml --policy marketplace --output lake.trust --json
"""

import sys

from safeguard_spark.cli.app import run_command

if __name__ == "__main__":
    if code := run_command(["review", *sys.argv[1:]]):  # a notebook takes any SystemExit for a failure
        sys.exit(code)
