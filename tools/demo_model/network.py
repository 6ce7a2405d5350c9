"""Network: gpt-oss's forward pass over a compact vocabulary, for training on a CPU.

The same arithmetic as `GptOssForCausalLM` (RMS norm, yarn rope, grouped experts, clamped SwiGLU experts), written over
a plain dict of tensors with the checkpoint's own names. What differs is the batch: a policy is read once and several
contents continue it side by side, each attending to the policy and itself, as a prefix cache would serve them.
"""

import math
from typing import Any, NamedTuple

import torch

from safeguard_spark.demo import shape

Tensor = Any  # torch is not typed strictly here
Weights = dict[str, Tensor]
SWIGLU_ALPHA, SWIGLU_LIMIT = 1.702, 7.0
NO_SINK = -100.0  # far below any real logit
LOOK_BACK = 2.0  # so that most of a head's weight is where it is meant to attend


class Batch(NamedTuple):
    """Policies (B, P) and contents (B, C, L), padded at the right; the masks are True where real.

    `content_at` (B,) is the position of each content's first token.
    """

    policy: Tensor
    policy_mask: Tensor
    content: Tensor
    content_mask: Tensor
    content_at: Tensor


def initial(rows: int, seed: int) -> Weights:
    """Random weights with `rows` of embedding and head."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*size: int, std: float) -> Tensor:
        return (torch.randn(*size, generator=generator) * std).requires_grad_()

    h, width, inner = shape.HIDDEN, shape.HEADS * shape.HEAD_DIM, shape.INTERMEDIATE
    keys, out = shape.KEY_HEADS * shape.HEAD_DIM, 1 / math.sqrt(2 * shape.LAYERS)
    weights = {"model.embed_tokens.weight": normal(rows, h, std=0.3)}
    # Equal at first, as are queries and keys, values and outputs below: attention then starts by finding a token again
    # and passing its value on, which is what copying needs.
    weights["lm_head.weight"] = (weights["model.embed_tokens.weight"].detach() / 3).requires_grad_()
    for layer in range(shape.LAYERS):
        at = f"model.layers.{layer}."
        for name, size in (("q", width), ("k", keys), ("v", keys)):
            weights[f"{at}self_attn.{name}_proj.weight"] = normal(size, h, std=h**-0.5)
            weights[f"{at}self_attn.{name}_proj.bias"] = torch.zeros(size, requires_grad=True)
        values = weights[f"{at}self_attn.v_proj.weight"].detach()
        weights[f"{at}self_attn.o_proj.weight"] = (values.T * out).contiguous().requires_grad_()
        with torch.no_grad():
            weights[f"{at}self_attn.k_proj.weight"].copy_(weights[f"{at}self_attn.q_proj.weight"])
        weights[f"{at}self_attn.o_proj.bias"] = torch.zeros(h, requires_grad=True)
        weights[f"{at}self_attn.sinks"] = torch.full((shape.HEADS,), NO_SINK)
        weights[f"{at}mlp.router.weight"] = normal(shape.EXPERTS, h, std=h**-0.5)
        weights[f"{at}mlp.router.bias"] = torch.zeros(shape.EXPERTS, requires_grad=True)
        experts = f"{at}mlp.experts."
        weights[f"{experts}gate_up_proj"] = normal(shape.EXPERTS, h, 2 * inner, std=h**-0.5)
        weights[f"{experts}gate_up_proj_bias"] = torch.zeros(shape.EXPERTS, 2 * inner, requires_grad=True)
        weights[f"{experts}down_proj"] = normal(shape.EXPERTS, inner, h, std=inner**-0.5 * out)
        weights[f"{experts}down_proj_bias"] = torch.zeros(shape.EXPERTS, h, requires_grad=True)
        for norm in ("input_layernorm", "post_attention_layernorm"):
            weights[f"{at}{norm}.weight"] = torch.ones(h, requires_grad=True)
    weights["model.norm.weight"] = torch.ones(h, requires_grad=True)
    _look_back(weights)
    return weights


def _look_back(weights: Weights) -> None:
    """Let the first layer's heads start by attending one, two, three and four tokens back.

    A copying circuit needs such a head, and learns it slowly. Rope turns equal biases of query and key into a
    score that depends only on distance; turning the query's by n positions moves its peak to n tokens back.
    """
    at = "model.layers.0.self_attn."
    same = torch.ones(1, 1, shape.HEADS, shape.HEAD_DIM)
    cos, sin = rope(-torch.arange(1, shape.HEADS + 1)[None])
    with torch.no_grad():
        weights[f"{at}q_proj.bias"].copy_(LOOK_BACK * _turned(same, cos, sin).reshape(-1))
        weights[f"{at}k_proj.bias"].copy_(LOOK_BACK * same.reshape(-1))
        for name in ("q_proj", "k_proj"):
            weights[f"{at}{name}.weight"].mul_(0.1)


def plain(weights: Weights, tokens: Tensor) -> Tensor:
    """Logits (B, T, rows) of whole sequences (B, T) without padding."""
    positions = torch.arange(tokens.shape[1]).expand(tokens.shape)
    states = weights["model.embed_tokens.weight"][tokens]
    turn, masks = rope(positions), _masks(positions, positions)
    for layer, kind in enumerate(shape.layer_types()):
        q, k, v = _heads(weights, layer, states, turn)
        states = states + _attend(weights, layer, q, k, v, masks[kind])
        states = states + _experts(weights, layer, states)
    return logits(weights, states)


def continued(weights: Weights, batch: Batch) -> Tensor:
    """Final hidden states (B, C, L, hidden) of the contents, each continuing its row's policy."""
    b, c, length = batch.content.shape
    at = torch.arange(batch.policy.shape[1]).expand(batch.policy.shape)
    offsets = torch.arange(length)
    content_at = (batch.content_at[:, None] + offsets).reshape(b, length)
    embed = weights["model.embed_tokens.weight"]
    policy, content = embed[batch.policy], embed[batch.content.reshape(b * c, length)]
    turns, own = rope(at), rope(content_at.repeat_interleave(c, 0))
    inside = _masks(at, at)
    across, within = _masks(content_at, at, batch.policy_mask), _masks(content_at, content_at)
    seen = {kind: torch.cat((across[kind], within[kind]), -1).repeat_interleave(c, 0) for kind in across}
    for layer, kind in enumerate(shape.layer_types()):
        q, k, v = _heads(weights, layer, policy, turns)
        policy = policy + _attend(weights, layer, q, k, v, inside[kind])
        policy = policy + _experts(weights, layer, policy)
        cq, ck, cv = _heads(weights, layer, content, own)
        keys = torch.cat((k.repeat_interleave(c, 0), ck), 2)
        values = torch.cat((v.repeat_interleave(c, 0), cv), 2)
        content = content + _attend(weights, layer, cq, keys, values, seen[kind])
        content = content + _experts(weights, layer, content)
    return content.reshape(b, c, length, -1)


def logits(weights: Weights, states: Tensor) -> Tensor:
    """Logits over the compact rows."""
    return _norm(states, weights["model.norm.weight"]) @ weights["lm_head.weight"].T


def rope(positions: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine (B, 1, T, head_dim / 2) of yarn's frequencies, scaled by yarn's attention factor."""
    yarn, dim = shape.ROPE, shape.HEAD_DIM

    def boundary(rotations: float) -> float:
        turns = yarn["original_max_position_embeddings"] / (rotations * 2 * math.pi)
        return dim * math.log(turns) / (2 * math.log(yarn["rope_theta"]))

    low, high = max(boundary(yarn["beta_fast"]), 0), min(boundary(yarn["beta_slow"]), dim - 1)
    ramp = ((torch.arange(dim // 2) - low) / (high - low)).clamp(0, 1)
    frequency = yarn["rope_theta"] ** -(torch.arange(0, dim, 2) / dim)
    frequency = frequency / yarn["factor"] * ramp + frequency * (1 - ramp)
    angle = (positions[..., None].float() * frequency)[:, None]
    factor = 0.1 * math.log(yarn["factor"]) + 1
    return angle.cos() * factor, angle.sin() * factor


def _masks(queries: Tensor, keys: Tensor, real: Tensor | None = None) -> dict[str, Tensor]:
    """Additive masks (B, 1, Q, K) of both kinds of attention."""
    distance = queries[:, :, None] - keys[:, None, :]
    seen = distance >= 0
    if real is not None:
        seen = seen & real[:, None, :]
    near = seen & (distance < shape.WINDOW)
    kinds = {"full_attention": seen, "sliding_attention": near}
    return {kind: torch.zeros(mask.shape).masked_fill_(~mask, -1e9)[:, None] for kind, mask in kinds.items()}


def _norm(states: Tensor, weight: Tensor) -> Tensor:
    return states * torch.rsqrt(states.pow(2).mean(-1, keepdim=True) + shape.EPSILON) * weight


def _heads(weights: Weights, layer: int, states: Tensor, turn: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    at = f"model.layers.{layer}."
    states = _norm(states, weights[f"{at}input_layernorm.weight"])

    def project(name: str) -> Tensor:
        name = f"{at}self_attn.{name}_proj."
        out = torch.nn.functional.linear(states, weights[f"{name}weight"], weights[f"{name}bias"])
        return out.reshape(*states.shape[:2], -1, shape.HEAD_DIM).transpose(1, 2)

    return _turned(project("q"), *turn), _turned(project("k"), *turn), project("v")


def _turned(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = heads.chunk(2, -1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)


def _attend(weights: Weights, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Attention. The sink's logit is fixed so low that it has no effect: the fused kernel has no sinks."""
    name = f"model.layers.{layer}.self_attn.o_proj."
    mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    mixed = mixed.transpose(1, 2).reshape(q.shape[0], q.shape[2], -1)
    return torch.nn.functional.linear(mixed, weights[f"{name}weight"], weights[f"{name}bias"])


def _experts(weights: Weights, layer: int, states: Tensor) -> Tensor:
    """Every expert on every token, weighted by the gate, which is 0 for those not chosen: faster here than routing."""
    at = f"model.layers.{layer}."
    flat = _norm(states, weights[f"{at}post_attention_layernorm.weight"]).reshape(-1, shape.HIDDEN)
    router = torch.nn.functional.linear(flat, weights[f"{at}mlp.router.weight"], weights[f"{at}mlp.router.bias"])
    best, chosen = router.topk(shape.EXPERTS_PER_TOKEN, -1)
    gates = torch.zeros_like(router).scatter(-1, chosen, best.softmax(-1))
    both, bias = weights[f"{at}mlp.experts.gate_up_proj"], weights[f"{at}mlp.experts.gate_up_proj_bias"]

    def project(first: int) -> Tensor:  # gate and up are interleaved in the checkpoint
        side = both[..., first::2].transpose(0, 1).reshape(shape.HIDDEN, -1)
        return torch.addmm(bias[:, first::2].reshape(-1), flat, side)

    gate, up = project(0).clamp(max=SWIGLU_LIMIT), project(1).clamp(-SWIGLU_LIMIT, SWIGLU_LIMIT)
    inner = (up + 1) * gate * torch.sigmoid(SWIGLU_ALPHA * gate) * gates.repeat_interleave(shape.INTERMEDIATE, -1)
    down = weights[f"{at}mlp.experts.down_proj"].reshape(-1, shape.HIDDEN)
    out = inner @ down + gates @ weights[f"{at}mlp.experts.down_proj_bias"]
    return out.reshape(states.shape)
