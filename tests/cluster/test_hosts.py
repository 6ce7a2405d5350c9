"""The server of an executor on a host with a read-only root, a user without a name, and no home. Without Spark."""

import ipaddress
import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from safeguard_spark.demo import model
from tests.cluster.job import ANSWER_IDS, STAND_IN
from tests.cluster.network import SECOND_ADDRESS, reason_to_skip_network, second_interface
from tests.cluster.standalone import REPOSITORY, _private_mounts, reason_to_skip
from tests.engine import laptop

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(580)]
UID = 12_345

PROGRAM = """
import json, sys
from pathlib import Path
import psutil
from safeguard_spark.config.engine import VllmConfig
from safeguard_spark.engines.factory import open_engine
from tests.build import call_spec
from tests.engine_calls import requests

settings = json.loads(sys.argv[1])
with open_engine(VllmConfig(**settings), run_id="r", window=4, devices=sys.argv[2:]) as engine:
    answers = list(engine.answers(call_spec(), requests(3)))
    listening = [c.laddr.ip for c in psutil.net_connections("inet") if not c.raddr]
print(json.dumps({"failures": [answer.failure for answer in answers], "listening": listening}))
"""


def run_elsewhere(folder: Path, settings: dict[str, Any], *devices: str, lines: Sequence[str] = ()) -> dict[str, Any]:
    """Run PROGRAM as a user without a name and a home, on a read-only root with a `/tmp` of its own.

    `lines` are run by a shell before, in a mount and network namespace. What the program printed.
    """
    if reason := reason_to_skip():
        pytest.skip(reason)
    shared, private = folder / "shared", folder / "private"
    shared.mkdir(exist_ok=True)
    shared.chmod(0o777)
    (private / "tmp").mkdir(parents=True)
    (private / "tmp").chmod(0o1777)
    user = ["setpriv", "--reuid", str(UID), "--regid", str(UID), "--clear-groups"]
    program = ["env", "-i", "PATH=/usr/bin:/bin", f"PYTHONPATH={REPOSITORY}", sys.executable, "-c", PROGRAM]
    all_lines = [
        "set -eu",
        "mount --make-rprivate /",
        *lines,
        *_private_mounts(private, [shared, REPOSITORY, Path(sys.prefix).resolve(), Path(sys.base_prefix)]),
        "mount -o remount,ro,bind /",
        "cd /",
        f"exec {shlex.join([*user, *program, json.dumps(settings), *devices])}",
    ]
    command = ["unshare", "-m", *(["-n"] if lines else []), "bash", "-c", "\n".join(all_lines)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.mark.parametrize("folder", ["/tmp/w", "/tmp/" + "x" * 120])  # a path too long for a socket
def test_a_server_runs_as_a_user_without_name_and_home_on_a_read_only_root(tmp_path: Path, folder: str) -> None:
    shared = tmp_path / "shared"
    settings = {
        "model": "m", "command": [sys.executable, str(STAND_IN)], "work_dir": folder, "start_deadline_s": 60,
        "env": {"STARTS": str(shared), "ANSWER_IDS": ANSWER_IDS},
    }  # fmt: skip
    assert run_elsewhere(tmp_path, settings, "0")["failures"] == [None] * 3
    start = json.loads(next(shared.glob("0-*.json")).read_text())
    assert (start["uid"], start["env"]["HOME"]) == (UID, f"{folder}/safeguard-{UID}/home")
    assert start["env"]["USER"] == f"uid{UID}"


@pytest.mark.slow
def test_the_cpu_server_compiles_in_a_home_of_its_own_and_listens_on_loopback_alone(tmp_path: Path) -> None:
    pytest.importorskip("vllm", reason="vLLM is not installed")
    if reason := reason_to_skip_network():
        pytest.skip(reason)
    args = laptop.args(max_num_seqs=16, enforce_eager=False)
    del args["distributed_executor_backend"]  # processes of its own for the engine and the worker, which talk by ports
    (tmp_path / "shared").mkdir()
    settings = {
        "model": str(model.model_path(tmp_path / "shared")), "work_dir": "/tmp/w", "start_deadline_s": 500,
        "deadline_s": 120, "args": args, "env": {"VLLM_CPU_KVCACHE_SPACE": "1"},
    }  # fmt: skip
    hosts = tmp_path / "hosts"  # this machine's name is then the address that others see
    hosts.write_text(f"127.0.0.1 localhost\n{SECOND_ADDRESS} {Path('/etc/hostname').read_text()}\n")
    lines = [*second_interface(), f"mount --bind {shlex.quote(str(hosts))} /etc/hosts"]
    result = run_elsewhere(tmp_path, settings, lines=lines)
    assert result["failures"] == [None] * 3
    assert result["listening"] and all(ipaddress.ip_address(ip).is_loopback for ip in result["listening"])
    caches = tmp_path / "private" / "tmp" / "w" / f"safeguard-{UID}" / "home" / ".cache"
    assert any((caches / "vllm" / "torch_compile_cache").iterdir())
