"""Measure how right the labels of policies are on golden sets.

spark-submit --packages io.delta:delta-spark_4.2_2.13:4.4.0 \
    --conf spark.sql.extensions=io.delta.sql.DeltaSparkSessionExtension \
    --conf spark.sql.catalog.spark_catalog=org.apache.spark.sql.delta.catalog.DeltaCatalog \
    jobs/evaluate.py --config conf/cluster.yaml --policy hate@1.1.0 --set hatecheck --output lake.trust --json

Exit code 7 if a line of the gate is not met; 6 if labels are missing: issue the same command again.
"""

import sys

from safeguard_spark.cli.app import run_command

if __name__ == "__main__":
    sys.exit(run_command(["evaluate", *sys.argv[1:]]))
