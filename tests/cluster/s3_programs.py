"""`python -m tests.cluster.s3_programs CONF NAME …`: programs that commit to S3, each in its own JVM."""

import resource
import sys
import time
from pathlib import Path
from typing import Any

from py4j.java_gateway import is_instance_of  # type: ignore[import-untyped]
from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]
from pyspark.sql import SparkSession

from safeguard_spark.config.load import load_config
from safeguard_spark.errors import SafeguardError
from safeguard_spark.spark.log_store import EXISTS, refuse_no_log_store
from safeguard_spark.spark.session import session

GAP_S = 0.15


def race(spark: SparkSession, folder: str, rounds: str, start: str, writer: str) -> None:
    """Write each commit at the same time as the other program; print whether this one won."""
    jvm: Any = spark._jvm
    conf = spark._jsparkSession.sessionState().newHadoopConf()
    store = jvm.safeguard.S3LogStore(conf)
    for number in range(int(rounds)):
        lines = jvm.java.util.ArrayList()
        lines.add(f'{{"writer": "{writer}"}}')
        path = jvm.org.apache.hadoop.fs.Path(f"{folder}/_delta_log/{number:020}.json")
        time.sleep(max(0.0, float(start) + number * GAP_S - time.time()))
        try:
            store.write(path, lines.iterator(), False, conf)
            print("won", flush=True)
        except Py4JJavaError as error:
            print(
                "lost" if is_instance_of(spark.sparkContext._gateway, error.java_exception, EXISTS) else error,
                flush=True,
            )


def append(spark: SparkSession, folder: str, times: str) -> None:
    """Append a row to a table this many times; print what is in it."""
    for number in range(int(times)):
        spark.range(number, number + 1).coalesce(1).write.format("delta").mode("append").save(folder)
    for row in spark.read.format("delta").load(folder).orderBy("id").collect():
        print(row.id)


def full(spark: SparkSession, path: str) -> None:
    """Write a commit that the disk has no room for; print how that ended, and whether there is a file."""
    jvm: Any = spark._jvm
    conf = spark._jsparkSession.sessionState().newHadoopConf()
    store, lines = jvm.safeguard.S3LogStore(conf), jvm.java.util.ArrayList()
    commit = jvm.org.apache.hadoop.fs.Path(path)
    for number in range(1000):
        lines.add(f'{{"line": {number}, "text": "{"x" * 1000}"}}')
    pid = int(jvm.java.lang.ProcessHandle.current().pid())
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (100_000, resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]))
    try:
        store.write(commit, lines.iterator(), False, conf)
        print("written")
    except Py4JJavaError as error:
        print("failed", is_instance_of(spark.sparkContext._gateway, error.java_exception, EXISTS))
    print(commit.getFileSystem(conf).exists(commit))


def refuse(spark: SparkSession, *cases: str) -> None:
    """Print the sentence for each case: the class of a log store, a space, and a folder."""
    for case in cases:
        store, folder = case.split(" ")
        spark.conf.set("spark.delta.logStore.s3a.impl", store)
        try:
            refuse_no_log_store(spark, folder)
            print("accepted")
        except SafeguardError as error:
            print(error)


if __name__ == "__main__":
    conf_file, name, *words = sys.argv[1:]
    programs = {"race": race, "append": append, "full": full, "refuse": refuse}
    programs[name](session(load_config(Path(conf_file), {}, [])), *words)
