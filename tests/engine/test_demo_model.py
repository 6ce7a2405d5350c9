"""The shipped demo model reads the policy, asked by the real engine through vLLM's server, on what it never saw."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.demo_model import evaluate

pytestmark = pytest.mark.engine

# Below what docs/demo-model.md states by what so few rows vary: flips are of 84 contents of 12 topics.
AT_LEAST = {
    "labelled": 0.99,
    "violation": 0.95,
    "rule_id": 0.95,
    "category": 0.95,
    "allowed_flips": 0.85,
    "removed_flips": 0.85,
    "demo_violation": 0.95,
}
AT_MOST = {"empty_policy_violations": 0.02, "allowed_others_change": 0.02, "removed_others_change": 0.02}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    pytest.importorskip("vllm", reason="vLLM is not installed")
    command = [sys.executable, "-m", "tools.demo_model.evaluate", "--policies", "6", "--contents", "14"]
    command += ["--changed", "12", "--rows", "120"]
    cache = {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}  # the folder is made anew
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], env={**os.environ, **cache}, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("structured", ["on", "off"])
def test_the_model_follows_policies_and_rule_ids_it_never_saw(
    measured: dict[str, dict[str, float]], structured: str
) -> None:
    found = measured[f"structured {structured}"]

    too_low = {name: found[name] for name, least in AT_LEAST.items() if not found[name] >= least}
    too_high = {name: found[name] for name, most in AT_MOST.items() if not found[name] <= most}

    assert not too_low and not too_high


def test_the_server_runs_on_a_laptops_configuration_with_the_folder_alone() -> None:
    run = evaluate.settings(Path("/no/model"), structured=True)

    assert run.engine.model == "/no/model" and run.labeler.structured
    assert run.engine.name == "safeguard-demo"
