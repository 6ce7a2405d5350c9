"""The models of the bench. Weights are random where they are not shipped: the engine replays its answers."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safeguard_spark.demo import model, shape, tokenizer, weights
from safeguard_spark.engines import hardware
from tests.bench.workload import ROOT
from tests.engine import laptop

CPU_ENV, NICENESS = laptop.ENV, int(laptop.ENGINE["niceness"])
CPU_ARGS: dict[str, Any] = {
    "max_model_len": 2560,
    "max_num_seqs": 128,
    "max_num_batched_tokens": 4096,  # vLLM's default differs between its server and its class
    **{name: laptop.ENGINE["args"][name] for name in ("enforce_eager", "distributed_executor_backend")},
    **hardware.arguments(),
}
LLAMA: dict[str, Any] = {  # 18M parameters in addition to the vocabulary's 51M
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 256, "intermediate_size": 1024,
    "num_hidden_layers": 17, "num_attention_heads": 8, "num_key_value_heads": 8, "head_dim": 32,
    "vocab_size": shape.VOCABULARY, "tie_word_embeddings": True, "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu", "bos_token_id": 199_998,
    "eos_token_id": 200_002, "pad_token_id": 199_999, "dtype": "bfloat16",
}  # fmt: skip
GPT_OSS_20B: dict[str, Any] = {  # the published config.json of openai/gpt-oss-20b, which safeguard-20b shares
    "head_dim": 64, "hidden_size": 2880, "initial_context_length": 4096, "intermediate_size": 2880,
    "layer_types": ["sliding_attention", "full_attention"] * 12, "num_attention_heads": 64, "num_hidden_layers": 24,
    "num_key_value_heads": 8, "num_local_experts": 32, "sliding_window": 128,
    "quantization_config": {
        "quant_method": "mxfp4",
        "modules_to_not_convert": [
            "model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head",
        ],
    },
    "experts_per_token": 4, "num_experts_per_tok": 4,
}  # fmt: skip


@dataclass(frozen=True)
class Model:
    """A folder vLLM can load, and how: the same for every contender."""

    name: str
    folder: str
    args: dict[str, Any]
    env: dict[str, str] = field(default_factory=dict)
    niceness: int = 0  # of the server's HTTP process, where there is one


def model_of(name: str, cache: Path) -> Model:
    """The model `demo`, `llama` or `gpt-oss-20b`; made below `cache` where it is not shipped."""
    if name == "demo" and weights.SHIPPED.exists():
        return Model(name, str(model.model_path()), CPU_ARGS, CPU_ENV, NICENESS)
    dummy = {"load_format": "dummy"}
    if name == "gpt-oss-20b":
        gpu = {
            "max_model_len": 4096, "max_num_seqs": 512, "max_num_batched_tokens": 8192,
            "gpu_memory_utilization": 0.4,  # two engines share the GPU: the limit's and a contender's
        }  # fmt: skip
        return Model(name, _folder(cache / name, {**shape.config(), **GPT_OSS_20B}), gpu | dummy)
    config = {"demo": shape.config, "llama": lambda: LLAMA}[name]()
    return Model(name, _folder(cache / name, config), CPU_ARGS | dummy, CPU_ENV, NICENESS)


def _folder(folder: Path, config: dict[str, Any]) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    if not (folder / "tokenizer_config.json").exists():  # written last
        tokenizer.write(folder)
    return str(folder)


def environment(model: Model) -> dict[str, str]:
    """The environment of the engine's process, the same for every contender."""
    return {**model.env, "PYTHONPATH": str(ROOT), "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
