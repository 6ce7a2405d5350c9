"""An S3 server on loopback, and a label job whose source, tables and staging are on it."""

import contextlib
import re
import shutil
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safeguard_spark.spark.jars import S3_LOG_STORE
from tests.build import until
from tests.cluster.standalone import REPOSITORY
from tests.soak.job import CONF, LabelJob

BUCKET = "lake"
KEY = "testing"  # moto asks for none in particular
HADOOP_AWS = "org.apache.hadoop:hadoop-aws:3.5.0"  # of Spark's own Hadoop
RESOLVED = HADOOP_AWS.replace(":", "_", 1).replace(":", "-")  # its file
S3_CONF = {
    **CONF,
    "spark.jars.packages": HADOOP_AWS,
    "spark.jars.ivySettings": str(REPOSITORY / "safeguard_spark" / "spark" / "ivysettings.xml"),
    "spark.delta.logStore.s3a.impl": S3_LOG_STORE,
    "spark.hadoop.fs.s3a.path.style.access": "true",
    "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
    "spark.hadoop.fs.s3a.access.key": KEY,
    "spark.hadoop.fs.s3a.secret.key": KEY,
    "spark.hadoop.fs.s3a.endpoint.region": "us-east-1",
}


def reason_to_skip() -> str | None:
    """Why Spark cannot have S3 here; None if it can."""
    if any(Path("~").expanduser().glob(f".ivy2*/jars/{RESOLVED}.jar")):
        return None
    conf = {name: S3_CONF[name] for name in ("spark.jars.packages", "spark.jars.ivySettings")}
    settings = "".join(f".config({name!r}, {value!r})" for name, value in conf.items())
    program = f"from pyspark.sql import SparkSession as S; S.builder.master('local[1]'){settings}.getOrCreate()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    return f"{HADOOP_AWS} cannot be resolved: no Maven repository answers" if done.returncode else None


def on_class_path() -> dict[str, str | None]:
    """Settings in place of the packages, of which every start would copy 700 MB. Once Spark has resolved them."""
    jars = [
        jar
        for name in (RESOLVED, "software.amazon.")
        for jar in Path("~").expanduser().glob(f".ivy2*/jars/{name}*.jar")
    ]
    return {"spark.jars.packages": None, "spark.driver.extraClassPath": ":".join(map(str, jars))}


@dataclass(frozen=True)
class S3:
    """A running server. `log` has a line for each of its requests: method, path, If-None-Match, status."""

    url: str
    log: Path

    @property
    def client(self) -> Any:
        """A boto3 client of it."""
        import boto3

        return boto3.client(
            "s3", endpoint_url=self.url, aws_access_key_id=KEY, aws_secret_access_key=KEY, region_name="us-east-1"
        )

    def writes(self, prefix: str) -> Counter[tuple[str, str]]:
        """How often commits below a prefix were written, by the condition and the status of the answer."""
        lines = [line.split() for line in self.log.read_text().splitlines()]
        commit = re.compile(rf"/{BUCKET}/{prefix}.*/_delta_log/\d{{20}}\.json")
        return Counter((line[2], line[3]) for line in lines if line[0] == "PUT" and commit.fullmatch(line[1]))

    def keys(self, prefix: str = "") -> list[str]:
        """The names of all objects below a prefix."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", ())]

    def download(self, prefix: str, folder: Path) -> None:
        """Replace a folder by a copy of what is below a prefix."""
        shutil.rmtree(folder, ignore_errors=True)
        for key in self.keys(prefix):
            file = folder / key.removeprefix(prefix).lstrip("/")
            if not key.endswith("/"):
                file.parent.mkdir(parents=True, exist_ok=True)
                self.client.download_file(BUCKET, key, str(file))


@contextlib.contextmanager
def running(log: Path) -> Iterator[S3]:
    """A server with one bucket."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with log.open("wb") as out:
        requests = log.with_suffix(".requests")
        command = [sys.executable, "-m", "tests.cluster.s3_server", str(port), str(requests)]
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=REPOSITORY)
    try:
        server = S3(f"http://127.0.0.1:{port}", requests)
        until(lambda: _answers(port), 60)
        server.client.create_bucket(Bucket=BUCKET)
        yield server
    finally:
        process.terminate()
        process.wait(10)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class S3Job(LabelJob):
    """A label job on S3. `tables` is a local copy of the label tables, made by `fetch`."""

    def __init__(
        self, s3: S3, folder: Path, name: str, conf: dict[str, str | None] | None = None, prefix: str = "",
        **settings: Any,
    ) -> None:  # fmt: skip
        self.s3, self.prefix, self.spark_files = s3, prefix or name, folder / name / "spark"
        local: dict[str, str | None] = {
            "spark.hadoop.fs.s3a.endpoint": s3.url, "spark.local.dir": str(self.spark_files),
        }  # fmt: skip
        named = {**S3_CONF, **local, **(conf or {})}
        all_conf = {key: value for key, value in named.items() if value is not None}
        sections = {"spark": {"master": "local[2]", "conf": all_conf}}
        super().__init__(folder / name, policies=["market"], sections=sections, **settings)

    def add(self, count: int) -> None:
        """Add contents, and put the source on S3."""
        super().add(count)
        for file in self.posts.glob("*.parquet"):
            self.s3.client.upload_file(str(file), BUCKET, f"{self.prefix}/posts/{file.name}")

    def start(self, *options: str) -> "subprocess.Popen[str]":
        """Start a run, without what a killed one left: a copy of all packages, 700 MB."""
        shutil.rmtree(self.spark_files, ignore_errors=True)
        return super().start(*options)

    def end(self) -> None:
        """Kill all processes that are still running, and delete what they left."""
        super().end()
        shutil.rmtree(self.spark_files, ignore_errors=True)

    def command(self, *options: str) -> list[str]:
        """The command, with the source and the output on S3."""
        local = super().command(*options)
        places = {str(self.posts): "posts", str(self.tables): "tables"}
        return [f"s3a://{BUCKET}/{self.prefix}/{places[word]}" if word in places else word for word in local]

    def manifests(self) -> list[str]:
        """The manifests of runs that have not ended."""
        return [key for key in self.s3.keys(f"{self.prefix}/tables/_staging/") if key.endswith("/manifest.json")]

    def fetch(self) -> None:
        """Copy the label tables here."""
        self.s3.download(f"{self.prefix}/tables", self.tables)
