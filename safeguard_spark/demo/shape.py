"""Shape: the demo model's dimensions, as in the `config.json` of its Hugging Face folder."""

from typing import Any

VOCABULARY = 201_088  # rows of gpt-oss's embedding, the 200,014 text tokens, the special ones and the unused
HIDDEN = 128
LAYERS = 4
HEADS = 4
KEY_HEADS = 4
HEAD_DIM = 32
EXPERTS = 4
EXPERTS_PER_TOKEN = 2
INTERMEDIATE = 64
WINDOW = 128  # gpt-oss's own sliding window
EPSILON = 1e-5
ROPE: dict[str, Any] = {  # gpt-oss's own
    "rope_type": "yarn",
    "rope_theta": 150_000.0,
    "factor": 32.0,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "truncate": False,
    "original_max_position_embeddings": 4096,
}


def layer_types() -> list[str]:
    """Attention of each layer: sliding and full in turn, sliding first, as in gpt-oss."""
    return ["sliding_attention" if layer % 2 == 0 else "full_attention" for layer in range(LAYERS)]


def config() -> dict[str, Any]:
    """What `config.json` holds."""
    return {
        "architectures": ["GptOssForCausalLM"],
        "model_type": "gpt_oss",
        "attention_bias": True,
        "attention_dropout": 0.0,
        "dtype": "bfloat16",
        "eos_token_id": 200_002,
        "pad_token_id": 199_999,
        "experts_per_token": EXPERTS_PER_TOKEN,
        "head_dim": HEAD_DIM,
        "hidden_act": "silu",
        "hidden_size": HIDDEN,
        "initial_context_length": 4096,
        "initializer_range": 0.02,
        "intermediate_size": INTERMEDIATE,
        "layer_types": layer_types(),
        "max_position_embeddings": 131_072,
        "num_attention_heads": HEADS,
        "num_experts_per_tok": EXPERTS_PER_TOKEN,
        "num_hidden_layers": LAYERS,
        "num_key_value_heads": KEY_HEADS,
        "num_local_experts": EXPERTS,
        "output_router_logits": False,
        "rms_norm_eps": EPSILON,
        "rope_parameters": ROPE,
        "rope_scaling": {key: value for key, value in ROPE.items() if key != "rope_theta"},
        "rope_theta": ROPE["rope_theta"],
        "router_aux_loss_coef": 0.0,
        "sliding_window": WINDOW,
        "swiglu_limit": 7.0,
        "tie_word_embeddings": False,
        "use_cache": True,
        "vocab_size": VOCABULARY,
    }
