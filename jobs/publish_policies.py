"""Register policies in MLflow and pin them in policies/lock, in the pipeline that runs after a merge.

spark-submit jobs/publish_policies.py --config conf/cluster.yaml --policies policies --alias shadow

Needs no Spark: `python jobs/publish_policies.py …` and `safeguard publish …` do the same. Safe to repeat.
Exit code 3 if a policy has errors or has changed.
"""

import sys

from safeguard_spark.cli.app import run_command

if __name__ == "__main__":
    if code := run_command(["publish", *sys.argv[1:]]):  # a notebook takes any SystemExit for a failure
        sys.exit(code)
