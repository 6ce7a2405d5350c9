"""Maintain the label tables: erase contents, compact small files, delete old ones.

spark-submit --packages io.delta:delta-spark_4.2_2.13:4.4.0 \
    --conf spark.sql.extensions=io.delta.sql.DeltaSparkSessionExtension \
    --conf spark.sql.catalog.spark_catalog=org.apache.spark.sql.delta.catalog.DeltaCatalog \
    jobs/maintain.py erase --config conf/cluster.yaml --output lake.trust --ids 4711,4712 --vacuum --json

Exit code 6 if a running job may write erased contents again: issue the same command again.
"""

import sys

from safeguard_spark.cli.app import run_command

if __name__ == "__main__":
    if code := run_command(["maintain", *sys.argv[1:]]):  # a notebook takes any SystemExit for a failure
        sys.exit(code)
