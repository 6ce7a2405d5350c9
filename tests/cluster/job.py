"""A label job on the cluster: its tables in the folder that all machines share, and the stand-in as its engine."""

import json
import sys
from pathlib import Path
from typing import Any

from tests.cluster.standalone import CORES, HOSTS, REPOSITORY, Cluster
from tests.faulty_server import SAFE, completion_ids
from tests.soak.job import CONF, LabelJob

STAND_IN = Path(__file__).with_name("stand_in.py")
ANSWER_IDS = json.dumps(completion_ids(json.dumps(SAFE)))
IVY = REPOSITORY / "safeguard_spark" / "spark" / "ivysettings.xml"
EVERY_EXECUTOR = {  # a run waits for all of them, and none waits for data that another has
    "spark.cores.max": str(len(HOSTS) * CORES), "spark.scheduler.minRegisteredResourcesRatio": "1.0",
    "spark.scheduler.maxRegisteredResourcesWaitingTime": "120s", "spark.locality.wait": "0s",
}  # fmt: skip
CLUSTER_CONF = {
    **CONF, **EVERY_EXECUTOR,
    "spark.driver.host": "127.0.0.1", "spark.executor.memory": "700m", "spark.jars.ivySettings": str(IVY),
    "spark.hadoop.fs.permissions.umask-mode": "000",
    "spark.executor.resource.gpu.amount": "1", "spark.task.resource.gpu.amount": "0.5",
    "spark.executor.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}  # fmt: skip


class ClusterJob(LabelJob):
    """A job on a cluster. `env` is the stand-in's; `engine` and `conf` are added to those sections."""

    def __init__(
        self, cluster: Cluster, name: str, *, env: dict[str, str] | None = None, engine: dict[str, Any] | None = None,
        conf: dict[str, str | None] | None = None, chunk_rows: int = 5000, **sections: Any,
    ) -> None:  # fmt: skip
        self.cluster, self.starts = cluster, cluster.shared / name / "starts"
        self.starts.mkdir(parents=True)
        self.starts.chmod(0o777)
        settings = {
            "kind": "vllm", "model": "stand-in", "command": [sys.executable, str(STAND_IN)], "deadline_s": 600,
            "start_deadline_s": 60, "work_dir": "/tmp/engines",
            "env": {"ANSWER_IDS": ANSWER_IDS, "STARTS": str(self.starts), **(env or {})},
            **(engine or {}),
        }  # fmt: skip
        all_conf = {key: value for key, value in {**CLUSTER_CONF, **(conf or {})}.items() if value is not None}
        all_sections = {"engine": settings, "spark": {"master": cluster.master, "conf": all_conf}, **sections}
        super().__init__(
            cluster.shared / name, chunk_rows=chunk_rows, policies=["market"], sections=all_sections, umask=0
        )

    def run(self, *options: str) -> tuple[int, dict[str, Any]]:
        """Run the job to its end; its exit code and its result, empty if it printed none."""
        self.start(*options)
        code = self.wait()
        lines = (self.folder / "out").read_text().splitlines()
        return code, json.loads(lines[-1]) if lines else {}

    def started(self) -> list[dict[str, Any]]:
        """What each start of the stand-in left: `gpus`, `uid`, `pid`, `argv`, `env`; the oldest first."""
        files = sorted(self.starts.glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
        return [json.loads(file.read_text()) for file in files]
