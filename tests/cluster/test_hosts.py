"""The server of an executor on a host with a read-only root, a user without a name, and no home. Without Spark."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.job import ANSWER_IDS, STAND_IN
from tests.cluster.standalone import REPOSITORY, _private_mounts, reason_to_skip

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]
UID = 12_345

PROGRAM = """
import json, sys
from pathlib import Path
from safeguard_spark.config.engine import VllmConfig
from safeguard_spark.engines.factory import open_engine
from tests.build import call_spec
from tests.engine_calls import requests

settings = json.loads(sys.argv[1])
with open_engine(VllmConfig(model="m", start_deadline_s=60, **settings), run_id="r", window=4, devices=["0"]) as engine:
    answers = list(engine.answers(call_spec(), requests(3)))
print(json.dumps([answer.failure for answer in answers]))
"""


@pytest.mark.parametrize("folder", ["/tmp/w", "/tmp/" + "x" * 120])  # a path too long for a socket
def test_a_server_runs_as_a_user_without_name_and_home_on_a_read_only_root(tmp_path: Path, folder: str) -> None:
    if reason := reason_to_skip():
        pytest.skip(reason)
    shared, private = tmp_path / "shared", tmp_path / "private"
    shared.mkdir()
    shared.chmod(0o777)
    (private / "tmp").mkdir(parents=True)
    (private / "tmp").chmod(0o1777)
    env = {"STARTS": str(shared), "ANSWER_IDS": ANSWER_IDS}
    settings = {"command": [sys.executable, str(STAND_IN)], "work_dir": folder, "env": env}
    user = ["setpriv", "--reuid", str(UID), "--regid", str(UID), "--clear-groups"]
    program = ["env", "-i", "PATH=/usr/bin:/bin", f"PYTHONPATH={REPOSITORY}", sys.executable, "-c", PROGRAM]
    lines = [
        "set -eu",
        "mount --make-rprivate /",
        *_private_mounts(private, [shared, REPOSITORY, Path(sys.prefix).resolve(), Path(sys.base_prefix)]),
        "mount -o remount,ro,bind /",
        "cd /",
        f"exec {shlex.join([*user, *program, json.dumps(settings)])}",
    ]
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", "\n".join(lines)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == [None] * 3
    start = json.loads(next(shared.glob("0-*.json")).read_text())
    assert (start["uid"], start["env"]["HOME"]) == (UID, f"{folder}/safeguard-{UID}/home")
    assert start["env"]["USER"] == f"uid{UID}"
