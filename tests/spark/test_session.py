"""A session that would give wrong results or pay twice is refused; how many label tasks can run at once."""

import subprocess
import sys

import pytest

from safeguard_spark.errors import ConfigError
from safeguard_spark.spark.session import SNAPSHOT_PARTITIONS, check
from safeguard_spark.spark.shared import refuse_driver_local
from tests.spark.lake import Lake

pytestmark = pytest.mark.spark

SCRIPT = """
import sys
from safeguard_spark.config.load import build_config
from safeguard_spark.spark.executors import executors, task_slots
from safeguard_spark.spark.session import session

conf = {"spark.driver.memory": "512m", "spark.task.cpus": sys.argv[2]}
config = build_config({"engine": {"kind": "scripted"}, "spark": {"master": sys.argv[1], "conf": conf}})
spark = session(config)
spark.range(4).repartition(4).count()  # executors register while the plan is made
print(*task_slots(spark, executors(spark)))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("master", "task_cpus", "slots"),
    [("local[3]", 1, (3, 3)), ("local-cluster[2,2,1024]", 1, (4, 2)), ("local-cluster[2,2,1024]", 2, (2, 1))],
)
def test_slots_are_counted_per_executor(master: str, task_cpus: int, slots: tuple[int, int]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, master, str(task_cpus)], capture_output=True, text=True, check=True, timeout=200
    )
    assert tuple(map(int, done.stdout.split()[-2:])) == slots


PACKAGES = """
from safeguard_spark.config.load import build_config
from safeguard_spark.spark.session import session

conf = {"spark.driver.memory": "512m", "spark.jars.packages": "io.delta:delta-storage:4.4.0"}
spark = session(build_config({"engine": {"kind": "scripted"}, "spark": {"master": "local[1]", "conf": conf}}))
print(spark.conf.get("spark.jars.packages"))
"""


def test_packages_of_the_configuration_are_added_to_deltas() -> None:
    done = subprocess.run([sys.executable, "-c", PACKAGES], capture_output=True, text=True, check=True, timeout=200)
    packages = done.stdout.split()[-1].split(",")
    assert [name.split(":")[1].partition("_")[0] for name in packages] == ["delta-spark", "delta-storage"]


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("spark.speculation", "true", "every slow call would be paid for twice. Start Spark with it off"),
        ("spark.executor.pyspark.memory", "1g", "limits the address space of the engine. Start Spark without it"),
    ],
)
def test_a_setting_that_breaks_labelling_is_refused(lake: Lake, key: str, value: str, sentence: str) -> None:
    conf, rejects = lake.spark.conf, "spark.sql.legacy.setCommandRejectsSparkCoreConfs"
    check(lake.spark)
    conf.set(rejects, "false")
    conf.set(key, value)
    try:
        with pytest.raises(ConfigError, match=sentence):
            check(lake.spark)
    finally:
        conf.unset(key)
        conf.unset(rejects)
    check(lake.spark)


def test_the_session_of_another_program_reads_deltas_log_with_few_tasks_unless_it_says_otherwise(lake: Lake) -> None:
    conf = lake.spark.conf
    before = conf.get(SNAPSHOT_PARTITIONS)
    check(lake.spark)
    assert conf.get(SNAPSHOT_PARTITIONS) == before
    conf.unset(SNAPSHOT_PARTITIONS)
    try:
        check(lake.spark)
        assert conf.get(SNAPSHOT_PARTITIONS) == "4"
    finally:
        conf.set(SNAPSHOT_PARTITIONS, str(before))


def test_in_cluster_deploy_mode_runs_are_not_logged_to_a_file(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    files = ({}, {"uri": "sqlite:////tmp/mlflow.db"})
    others = ({"uri": "http://mlflow:5000"}, {"uri": "databricks"}, {"enabled": False})
    for tracking in (*files, *others):
        refuse_driver_local(lake.spark, lake.config(tracking={"enabled": True, **tracking}))
    conf = lake.spark.sparkContext._conf
    before = conf.get("spark.submit.deployMode")
    conf.set("spark.submit.deployMode", "cluster")
    try:
        for tracking in others:
            refuse_driver_local(lake.spark, lake.config(tracking={"enabled": True, **tracking}))
        for tracking in files:
            with pytest.raises(ConfigError, match=r"Set tracking\.uri to an MLflow server"):
                refuse_driver_local(lake.spark, lake.config(tracking={"enabled": True, **tracking}))
    finally:
        conf.set("spark.submit.deployMode", before)
