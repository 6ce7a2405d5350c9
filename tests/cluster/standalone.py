"""A standalone Spark cluster on this machine whose two workers share nothing but one folder.

A master and two workers, each on an address of its own (127.0.0.2, 127.0.0.3) and each as on a machine of its own:
another user, a private `/tmp`, no home folder, an empty environment, no virtual environment on `PATH`, GPUs with made-
up addresses, and all its cores for one executor. Only `shared`, the repository and the interpreter are visible to all.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.build import until

REPOSITORY = Path(__file__).parents[2]
FIRST_UID = 20_001
HOSTS = ("127.0.0.2", "127.0.0.3")
CORES = 2  # of each worker
NEEDED = ("unshare", "setpriv", "mount")


@dataclass(frozen=True)
class Worker:
    """A worker and its private `/tmp`, as this process sees it."""

    number: int
    host: str
    gpus: tuple[str, ...]
    private: Path
    process: "subprocess.Popen[bytes]"

    @property
    def tmp(self) -> Path:
        """The worker's own `/tmp`."""
        return self.private / "tmp"

    def executors(self) -> list[psutil.Process]:
        """The executors that run on this worker now."""
        processes = psutil.Process(self.process.pid).children(recursive=True)
        return [process for process in processes if _is_executor(process)]


@dataclass
class Cluster:
    """A running cluster. `shared` is the one folder that the driver and every worker see."""

    master: str
    shared: Path
    workers: list[Worker] = field(default_factory=list)


def reason_to_skip() -> str | None:
    """Why no such cluster can run here; None if one can."""
    if os.geteuid() != 0:
        return "a cluster of several users and mount namespaces needs root"
    if missing := [name for name in NEEDED if shutil.which(name) is None]:
        return f"{', '.join(missing)} not found"
    probe = ["unshare", "-m", "setpriv", "--reuid", str(FIRST_UID), "--regid", str(FIRST_UID), "--clear-groups", "true"]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    return f"namespaces are not allowed here: {done.stderr.strip()}" if done.returncode else None


@contextlib.contextmanager
def running(folder: Path, gpus: Sequence[tuple[str, ...]]) -> Iterator[Cluster]:
    """A cluster with a worker per tuple of GPU addresses. Its logs are in `folder`."""
    shared = folder / "shared"
    shared.mkdir(parents=True)
    shared.chmod(0o777)
    processes: list[subprocess.Popen[bytes]] = []
    try:
        log = folder / "master.log"
        master = _start(
            [*_spark_class("master.Master"), "--host", "127.0.0.1", "--port", "0", "--webui-port", "0"], log
        )
        processes.append(master)
        cluster = Cluster(_logged(log, r"Starting Spark master at (spark://\S+)"), shared)
        for number, addresses in enumerate(gpus):
            worker = _start_worker(cluster, folder / f"worker-{number}", number, addresses)
            processes.append(worker.process)
            cluster.workers.append(worker)
        for number in range(len(gpus)):
            _logged(folder / f"worker-{number}.log", r"(Successfully registered with master)")
        yield cluster
    finally:
        for process in reversed(processes):
            _end(process)


def _start_worker(cluster: Cluster, private: Path, number: int, gpus: tuple[str, ...]) -> Worker:
    (private / "tmp" / "work").mkdir(parents=True)
    (private / "tmp").chmod(0o1777)
    (private / "tmp" / "work").chmod(0o777)
    script = private / "tmp" / "gpus"
    script.write_text(f"#!/bin/sh\necho '{json.dumps({'name': 'gpu', 'addresses': list(gpus)})}'\n")
    script.chmod(0o755)
    host, uid = HOSTS[number], FIRST_UID + number
    conf = {
        "spark.worker.resource.gpu.amount": str(len(gpus)),
        "spark.worker.resource.gpu.discoveryScript": "/tmp/gpus",
    }
    env = {
        "PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "SPARK_HOME": str(_spark_home()),
        "PYTHONPATH": str(REPOSITORY), "VLLM_PORT": "tcp://10.0.0.1:8000", "VLLM_SERVER_DEV_MODE": "1",
        "JAVA_HOME": str(_java_home()), "SPARK_LOCAL_IP": host, "SPARK_DAEMON_MEMORY": "256m", "SPARK_CONF_DIR": "/tmp",
        "SPARK_WORKER_OPTS": " ".join(f"-D{name}={value}" for name, value in conf.items()), "SPARK_NO_DAEMONIZE": "1",
    }  # fmt: skip
    worker = [
        *_spark_class("worker.Worker"), "--host", host, "--cores", str(CORES), "--memory", "2g", "--webui-port", "0",
        "--work-dir", "/tmp/work", cluster.master,
    ]  # fmt: skip
    user = ["setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups"]
    environment = ["env", "-i", *(f"{name}={value}" for name, value in env.items())]
    users = private / "passwd"  # Hadoop's client, and so the JVM, does not start without a user name
    users.write_text(f"{Path('/etc/passwd').read_text()}worker{number}:x:{uid}:{uid}::/nonexistent:/usr/sbin/nologin\n")
    users.chmod(0o644)
    lines = [
        "set -eu",
        "mount --make-rprivate /",
        f"mount --bind {shlex.quote(str(users))} /etc/passwd",
        *_private_mounts(private, [cluster.shared, REPOSITORY, Path(sys.prefix).resolve(), Path(sys.base_prefix)]),
        "cd /tmp/work",
        "umask 000",  # the users have no group in common: files in `shared` are for all
        f"exec {shlex.join([*user, *environment, *worker])}",
    ]
    process = _start(["unshare", "-m", "bash", "-c", "\n".join(lines)], private.with_name(f"{private.name}.log"))
    return Worker(number, host, gpus, private, process)


def _private_mounts(private: Path, visible: Sequence[Path]) -> Iterator[str]:
    """Shell lines that put private folders in place of `/tmp`, and of folders that only root may enter.

    What is `visible` stays where it is.
    """
    hidden = {Path("/tmp")}
    for path in visible:
        closed = [parent for parent in path.parents if not parent.stat().st_mode & 0o001]
        hidden |= {closed[-1]} if closed and not closed[-1].is_relative_to("/tmp") else set()
    for top in sorted(hidden):
        place = f"{private}{top}" if top != Path("/tmp") else str(private / "tmp")
        yield f"mkdir -p {shlex.quote(place)}"
        for path in visible:
            if path.is_relative_to(top):
                inside = shlex.quote(f"{place}/{path.relative_to(top)}")
                yield f"mkdir -p {inside} && mount --rbind {shlex.quote(str(path))} {inside}"
        yield f"mount --rbind {shlex.quote(place)} {shlex.quote(str(top))}"


def _spark_home() -> Path:
    import pyspark

    return Path(pyspark.__file__).parent


def _java_home() -> Path:
    java = os.environ.get("JAVA_HOME") or Path(shutil.which("java") or "").resolve().parents[1]
    return Path(java)


def _spark_class(name: str) -> list[str]:
    return [str(_spark_home() / "bin" / "spark-class"), f"org.apache.spark.deploy.{name}"]


def _start(command: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    env = {
        **os.environ, "SPARK_HOME": str(_spark_home()), "SPARK_DAEMON_MEMORY": "256m", "SPARK_NO_DAEMONIZE": "1",
        "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_MASTER_OPTS": "-Dspark.master.rest.enabled=false",
    }  # fmt: skip
    with log.open("wb") as out:
        return subprocess.Popen(command, stdout=out, stderr=out, env=env, start_new_session=True)


def _logged(log: Path, pattern: str) -> str:
    """What a pattern's group matches in a log, once it is there."""
    until(lambda: re.search(pattern, log.read_text(errors="replace")), 60)
    match = re.search(pattern, log.read_text(errors="replace"))
    assert match is not None
    return match[1]


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a process and all that it started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        tree = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
        for started in reversed(tree):
            with contextlib.suppress(psutil.NoSuchProcess):
                started.send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs(tree, timeout=10)
        for started in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                started.kill()
    process.wait(10)


def _is_executor(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return "CoarseGrainedExecutorBackend" in " ".join(process.cmdline())
    return False
