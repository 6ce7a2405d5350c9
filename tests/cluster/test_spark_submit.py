"""The line of docs/clusters.md for a standalone cluster, as spark-submit runs it, with source and tables on S3."""

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.find_spark_home import _find_spark_home

from safeguard_spark.spark.jars import LOG_STORES_JAR
from tests.cluster.job import CLUSTER_CONF, ClusterJob
from tests.cluster.s3 import BUCKET, S3, S3_CONF, reason_to_skip, running
from tests.cluster.standalone import REPOSITORY, Cluster
from tests.soak.conserved import read

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(1200)]


def documented_line() -> list[str]:
    """The words of the line from `spark-submit` on."""
    page = (REPOSITORY / "docs" / "clusters.md").read_text(encoding="utf-8")
    [line] = re.findall(
        r"^PYSPARK_PYTHON=\S+ (spark-submit --master spark:.*?)\n```", page, flags=re.DOTALL | re.MULTILINE
    )
    return shlex.split(line.replace("\\\n", " "))


class SubmittedJob(ClusterJob):
    """A job that spark-submit starts, with what only this machine needs added to the documented line."""

    max_run_s = 500.0  # two executors fetch 700 MB of packages from the driver

    def __init__(self, cluster: Cluster, s3: S3) -> None:
        super().__init__(cluster, "submitted", env={"DELAY_S": "0.2"}, spark={})
        self.s3 = s3

    def add(self, count: int) -> None:
        super().add(count)
        for file in self.posts.glob("*.parquet"):
            self.s3.client.upload_file(str(file), BUCKET, f"posts/{file.name}")

    def command(self, *options: str) -> list[str]:
        here = {
            "--master": self.cluster.master, "--jars": str(LOG_STORES_JAR),
            "--config": str(self.folder / "conf.yaml"), "--policy": str(self.folder / "market.md"),
        }  # fmt: skip
        _, *words = documented_line()
        assert here.keys() <= {*words}
        words = [here.get(before, word) for before, word in zip(["", *words], words, strict=False)]
        added = {**S3_CONF, **CLUSTER_CONF, "spark.hadoop.fs.s3a.endpoint": self.s3.url}
        left_out = ("spark.jars.packages", "spark.task.resource.gpu.amount")  # which the line does without
        conf = [word for name, value in added.items() if name not in left_out for word in ("--conf", f"{name}={value}")]
        script = words.index("jobs/label.py")  # of two settings the later one counts: these workers have 2 GB
        return [f"{_find_spark_home()}/bin/spark-submit", *words[:script], *conf, *words[script:], *options]

    def fetch(self) -> None:
        """Copy the label tables here."""
        self.s3.download("trust", self.tables)


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3]:
    if reason := reason_to_skip():
        pytest.skip(reason)
    with running(tmp_path / "log") as server:
        yield server


def test_the_documented_line_labels_every_content_over_two_workers_and_then_finds_nothing(
    cluster: Cluster, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = {"PYSPARK_PYTHON": sys.executable, "PYTHONPATH": REPOSITORY, "SPARK_HOME": _find_spark_home()}
    for name, value in env.items():
        monkeypatch.setenv(name, str(value))
    job = SubmittedJob(cluster, s3)
    job.add(400)
    try:
        results = [job.run() for _ in range(2)]
    finally:
        job.end()
    job.fetch()
    labels = read(job, "labels")
    assert [(code, result["status"], result["written"]) for code, result in results] == [
        (0, "complete", 400), (0, "complete", 0),
    ]  # fmt: skip
    assert len(labels) == len({row["content_id"] for row in labels}) == 400
    assert sorted({start["uid"] for start in job.started()}) == [20_001, 20_002]
