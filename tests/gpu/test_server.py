"""vLLM's server on an NVIDIA GPU, with the demo model: every question has a verdict, and nearly all are right."""

import shutil

import pytest

from safeguard_spark.config.load import build_config
from safeguard_spark.demo import model
from safeguard_spark.labelling.verdict import Outcome
from tools.demo_model import evaluate, exam

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(shutil.which("nvidia-smi") is None, reason="there is no NVIDIA GPU"),
    pytest.mark.timeout(900),
]


def test_a_server_on_a_gpu_answers_like_one_on_the_cpu() -> None:
    run = build_config({
        "server_id": {
            "kind": "vllm", "model": str(model.model_path()), "model_name": "demo",
            "args": {"max_model_len": 2560, "max_num_seqs": 128, "gpu_memory_utilization": 0.5},
        },
        "labeler": {"max_prompt_tokens": 2048, "max_tokens": 512},
    })  # fmt: skip
    questions = exam.exam(policies=6, contents=14, changed=1).plain
    verdicts = evaluate.ask(run, questions)
    assert [verdict.outcome for verdict in verdicts.values()].count(Outcome.labelled) >= 0.99 * len(questions)
    right = [exam.right(question, verdicts[question]) for question in questions]
    assert sum(all(parts) for parts in right) >= 0.95 * len(questions)
