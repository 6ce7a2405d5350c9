"""Check what a run needs, from the driver and the executors that spark-submit gives it. Labels nothing.

spark-submit --packages io.delta:delta-spark_4.2_2.13:4.4.0 \
    --conf spark.sql.extensions=io.delta.sql.DeltaSparkSessionExtension \
    --conf spark.sql.catalog.spark_catalog=org.apache.spark.sql.delta.catalog.DeltaCatalog \
    jobs/doctor.py --config conf/cluster.yaml

Exit code 2 if something is missing.
"""

import sys

from safeguard_spark.cli.app import run_command

if __name__ == "__main__":
    if code := run_command(["doctor", *sys.argv[1:]]):  # a notebook takes any SystemExit for a failure
        sys.exit(code)
