#!/bin/bash
# submit.sh JOB [ARGUMENT…]: one of our jobs on YARN, with the package and vLLM in an archive of a virtual environment.
#   venv-pack -o safeguard.tar.gz; hdfs dfs -put safeguard.tar.gz /apps/safeguard/
#   deploy/yarn/submit.sh label --config conf.yaml --source lake.posts --text-column body --policy spam@active --json
# The driver runs here, in PYSPARK_DRIVER_PYTHON, which has this package, and reads the policies here. Not run on YARN by our tests.
set -euo pipefail

job=$1
shift
here=$(cd "$(dirname "$0")/../.." && pwd)
archive=${ARCHIVE:-hdfs:///apps/safeguard/safeguard.tar.gz}

exec spark-submit --master yarn --deploy-mode client \
  --packages io.delta:delta-spark_4.2_2.13:4.4.0 \
  --archives "$archive#environment" \
  --conf spark.sql.extensions=io.delta.sql.DeltaSparkSessionExtension \
  --conf spark.sql.catalog.spark_catalog=org.apache.spark.sql.delta.catalog.DeltaCatalog \
  --conf spark.pyspark.python=./environment/bin/python \
  --conf "spark.pyspark.driver.python=${PYSPARK_DRIVER_PYTHON:-python3}" \
  --conf spark.executor.resource.gpu.amount=1 \
  --conf spark.executor.resource.gpu.discoveryScript=./environment/bin/safeguard-gpus \
  --conf spark.executor.memory=8g --conf spark.executor.memoryOverhead=24g \
  --conf spark.yarn.maxAppAttempts=1 \
  "$here/jobs/$job.py" "$@"
