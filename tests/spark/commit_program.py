"""`python -m tests.spark.commit_program FOLDER WRITER`: a program that commits to a folder when it is told to.

It reads lines of a version and a moment, writes that commit at that moment with the log store of its session, and
prints "won" or "lost".
"""

import sys
import time
from functools import reduce
from typing import Any

from py4j.java_gateway import is_instance_of  # type: ignore[import-untyped]
from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]
from pyspark.sql import SparkSession

from safeguard_spark.config.load import build_config
from safeguard_spark.spark.log_store import EXISTS
from safeguard_spark.spark.session import DELTA_LOG_STORE, session
from tests.soak.job import CONF


def commit(spark: SparkSession, folder: str, writer: str) -> None:
    """Commit as told by stdin."""
    jvm: Any = spark._jvm
    conf = spark._jsparkSession.sessionState().newHadoopConf()
    name = spark.sparkContext.getConf().get("spark.delta.logStore.file.impl") or DELTA_LOG_STORE
    store = reduce(getattr, name.split("."), jvm)(conf)
    print("ready", flush=True)
    for line in sys.stdin:
        version, moment = line.split()
        action = f'{{"commitInfo": {{"timestamp": 0, "operation": "WRITE", "engineInfo": "{writer}"}}}}'
        lines, path = jvm.java.util.List.of(action), jvm.org.apache.hadoop.fs.Path(f"{folder}/{int(version):020}.json")
        time.sleep(max(0.0, float(moment) - time.time()))
        try:
            store.write(path, lines.iterator(), False, conf)
            print("won", flush=True)
        except Py4JJavaError as error:
            if not is_instance_of(spark.sparkContext._gateway, error.java_exception, EXISTS):
                raise
            print("lost", flush=True)


if __name__ == "__main__":
    values = {"engine": {"kind": "scripted"}, "spark": {"master": "local[1]", "conf": CONF}}
    commit(session(build_config(values)), *sys.argv[1:])
