"""The shipped demo model follows policies it was not trained on, through the real engine and vLLM's server."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.demo_model import evaluate

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1000)]

# Lower than the figures in docs/demo-model.md, because few rows vary: flips are counted on 84 contents of 12 topics.
AT_LEAST = {
    "labelled": 0.99,
    "violation": 0.95,
    "rule_id": 0.95,
    "category": 0.95,
    "allowed_flips": 0.85,
    "removed_flips": 0.85,
    "demo_violation": 0.95,
    "glance_auc": 0.85,
}
AT_MOST = {"empty_policy_violations": 0.02, "allowed_others_change": 0.02, "removed_others_change": 0.02}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    pytest.importorskip("vllm", reason="vLLM is not installed")
    command = [sys.executable, "-m", "tools.demo_model.evaluate", "--policies", "6", "--contents", "14"]
    command += ["--changed", "12", "--rows", "120"]
    cache = {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}  # so that the model folder is created again
    process = subprocess.run(
        command, cwd=Path(__file__).parents[2], env={**os.environ, **cache}, capture_output=True, text=True, timeout=900
    )
    assert process.returncode == 0, process.stderr
    figures: dict[str, dict[str, float]] = json.loads(process.stdout.splitlines()[-1])
    return figures


@pytest.mark.slow
@pytest.mark.parametrize("structured", ["on", "off"])
def test_the_model_follows_policies_and_rule_ids_it_was_not_trained_on(
    measured: dict[str, dict[str, float]], structured: str
) -> None:
    figures = measured[f"structured {structured}"]

    too_low = {name: figures[name] for name, bound in AT_LEAST.items() if not figures[name] >= bound}
    too_high = {name: figures[name] for name, bound in AT_MOST.items() if not figures[name] <= bound}

    assert not too_low and not too_high


def test_the_servers_settings_on_a_laptop_need_only_the_model_folder() -> None:
    run = evaluate.settings(Path("/no/model"), structured=True)

    assert run.engine.model == "/no/model" and run.labeler.structured
    assert run.engine.name == "safeguard-demo"
