"""Plan, apply, compare and promote another version of a policy.

spark-submit --packages io.delta:delta-spark_4.2_2.13:4.4.0 \
    --conf spark.sql.extensions=io.delta.sql.DeltaSparkSessionExtension \
    --conf spark.sql.catalog.spark_catalog=org.apache.spark.sql.delta.catalog.DeltaCatalog \
    jobs/relabel.py plan --policy spam@1.1.0 --scope touched \
    --config conf/cluster.yaml --source lake.posts --text-column body --output lake.trust --json

Exit code 6 if the budget ran out: issue the same command again; 7 if the gate is not met.
"""

import sys

from safeguard_spark.cli.app import run_command

if __name__ == "__main__":
    if code := run_command(["relabel", *sys.argv[1:]]):  # a notebook takes any SystemExit for a failure
        sys.exit(code)
