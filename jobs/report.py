"""Report a period: rates by the model and corrected, quality of the labels, reviews, versions, cost.

spark-submit --packages io.delta:delta-spark_4.2_2.13:4.4.0 \
    --conf spark.sql.extensions=io.delta.sql.DeltaSparkSessionExtension \
    --conf spark.sql.catalog.spark_catalog=org.apache.spark.sql.delta.catalog.DeltaCatalog \
    jobs/report.py --config conf/cluster.yaml --output lake.trust --from 2026-11-01 --to 2026-11-30 --csv november.csv
"""

import sys

from safeguard_spark.cli.app import run_command

if __name__ == "__main__":
    if code := run_command(["report", *sys.argv[1:]]):  # a notebook takes any SystemExit for a failure
        sys.exit(code)
