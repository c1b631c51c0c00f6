"""The weight conversions of llama.cpp's converter, written for tests as plain loops and slices.

Each architecture has the shapes of its modules in transformers, the shapes of the base's tensors,
and a function from weights by module to weights by tensor. Source: the classes of llama.cpp's
`conversion/`, with loops in place of its reshapes, as an independent implementation.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tests.support import row_loops as loops
from tests.support.hand_headers import (
    N_EMBD,
    N_EXPERT,
    N_EXPERT_FF,
    N_FF,
    N_HEAD,
    N_HEAD_KV,
    N_KV,
    HandArchitecture,
    Shapes,
    Weights,
)
from tests.support.row_loops import permuted

ATTENTION = {
    "q_proj": ("attn_q", (N_EMBD, N_EMBD)),
    "k_proj": ("attn_k", (N_KV, N_EMBD)),
    "v_proj": ("attn_v", (N_KV, N_EMBD)),
    "o_proj": ("attn_output", (N_EMBD, N_EMBD)),
}
GATED = {
    "gate_proj": ("ffn_gate", (N_FF, N_EMBD)),
    "up_proj": ("ffn_up", (N_FF, N_EMBD)),
    "down_proj": ("ffn_down", (N_EMBD, N_FF)),
}


def _plain(
    name: str, names: Mapping[str, tuple[str, tuple[int, ...]]], **more: str
) -> HandArchitecture:
    """Return an architecture whose weights are only renamed."""
    return HandArchitecture(
        name,
        {module: shape for module, (_, shape) in names.items()},
        dict(names.values()),
        lambda weights: {names[module][0]: weight for module, weight in weights.items()},
        **more,
    )


_LLAMA = {
    **{f"self_attn.{name}": entry for name, entry in ATTENTION.items()},
    **{f"mlp.{name}": entry for name, entry in GATED.items()},
}
_QKV_ROWS = N_EMBD + 2 * N_KV
_DENSE = {
    "mlp.dense_h_to_4h": ("ffn_up", (N_FF, N_EMBD)),
    "mlp.dense_4h_to_h": ("ffn_down", (N_EMBD, N_FF)),
}


def _rotary(weights: Weights) -> Weights:
    out = {_LLAMA[module][0]: weight for module, weight in weights.items() if module in _LLAMA}
    out["attn_q"] = permuted(out["attn_q"], N_HEAD)
    out["attn_k"] = permuted(out["attn_k"], N_HEAD_KV)
    return out


def _rotary_llama(name: str) -> HandArchitecture:
    return HandArchitecture(
        name,
        {module: shape for module, (_, shape) in _LLAMA.items()},
        dict(_LLAMA.values()),
        _rotary,
    )


def _experts(weights: Weights, list_name: str = "mlp.experts") -> Weights:
    gate_up = weights[f"{list_name}.gate_up_proj"]
    return {
        "ffn_gate_exps": gate_up[:, :N_EXPERT_FF],
        "ffn_up_exps": gate_up[:, N_EXPERT_FF:],
        "ffn_down_exps": weights[f"{list_name}.down_proj"],
    }


_EXPERT_MODULES: Shapes = {
    "mlp.experts.gate_up_proj": (N_EXPERT, 2 * N_EXPERT_FF, N_EMBD),
    "mlp.experts.down_proj": (N_EXPERT, N_EMBD, N_EXPERT_FF),
}
_EXPERT_TENSORS: Shapes = {
    "ffn_gate_exps": (N_EXPERT, N_EXPERT_FF, N_EMBD),
    "ffn_up_exps": (N_EXPERT, N_EXPERT_FF, N_EMBD),
    "ffn_down_exps": (N_EXPERT, N_EMBD, N_EXPERT_FF),
}
_ATTENTION_MODULES = {f"self_attn.{name}": shape for name, (_, shape) in ATTENTION.items()}
_ATTENTION_TENSORS = dict(ATTENTION.values())


def _mixtral(weights: Weights) -> Weights:
    out = _renamed_attention(weights) | _experts(weights)
    out["attn_q"] = permuted(out["attn_q"], N_HEAD)
    out["attn_k"] = permuted(out["attn_k"], N_HEAD_KV)
    return out


def _renamed_attention(weights: Weights) -> Weights:
    return {
        tensor: weights[f"self_attn.{module}"]
        for module, (tensor, _) in ATTENTION.items()
        if f"self_attn.{module}" in weights
    }


def _gpt_oss(weights: Weights) -> Weights:
    gate_up = weights["mlp.experts.gate_up_proj"]
    return _renamed_attention(weights) | {
        "ffn_gate_exps": gate_up[:, ::2],
        "ffn_up_exps": gate_up[:, 1::2],
        "ffn_down_exps": weights["mlp.experts.down_proj"],
    }


NOPE, VALUE, LATENT = 5, 7, 9
"""Sizes of latent attention: a head's keys without their rotary part, its values, the latent."""


def _deepseek2(weights: Weights) -> Weights:
    keys, values = loops.latent_heads_apart(weights["self_attn.kv_b_proj"], N_HEAD, NOPE)
    return {
        "attn_q": weights["self_attn.q_proj"],
        "attn_kv_a_mqa": weights["self_attn.kv_a_proj_with_mqa"],
        "attn_k_b": keys,
        "attn_v_b": values,
        "ffn_down_shexp": weights["mlp.shared_experts.down_proj"],
    } | _experts(weights)


N_KEYS, N_VALUES, KEY_SIZE, VALUE_SIZE = 2, 6, 4, 3
"""Head counts and head sizes of linear attention."""
_SSM = {
    "ssm.group_count": N_KEYS,
    "ssm.time_step_rank": N_VALUES,
    "ssm.state_size": KEY_SIZE,
    "ssm.inner_size": N_VALUES * VALUE_SIZE,
}
_N_INNER = N_VALUES * VALUE_SIZE
_N_MIXED = 2 * N_KEYS * KEY_SIZE + _N_INNER


def _qwen3next(weights: Weights) -> Weights:
    per_key = N_VALUES // N_KEYS * VALUE_SIZE
    sizes = (KEY_SIZE, KEY_SIZE, per_key, per_key)
    q, k, v, z = loops.parts_apart(weights["linear_attn.in_proj_qkvz"], N_KEYS, sizes)
    return {
        "attn_qkv": np.concatenate([q, k, v]),
        "attn_gate": z,
        "ssm_ba": weights["linear_attn.in_proj_ba"],
        "ssm_out": weights["linear_attn.out_proj"],
    }


def _qwen35(weights: Weights) -> Weights:
    qkv, n_before = weights["linear_attn.in_proj_qkv"], 2 * N_KEYS * KEY_SIZE
    values = loops.tiled(qkv[n_before:], N_KEYS, N_VALUES)
    return {
        "attn_qkv": np.concatenate([qkv[:n_before], values]),
        "attn_gate": loops.tiled(weights["linear_attn.in_proj_z"], N_KEYS, N_VALUES),
        "ssm_alpha": loops.tiled(weights["linear_attn.in_proj_a"], N_KEYS, N_VALUES),
        "ssm_beta": loops.tiled(weights["linear_attn.in_proj_b"], N_KEYS, N_VALUES),
        "ssm_out": loops.tiled(weights["linear_attn.out_proj"].T, N_KEYS, N_VALUES).T,
    }


def _other_heads(name: str, prefix: str, keys: tuple[str, str]) -> HandArchitecture:
    layers, embedding = keys
    fused = f"{prefix}.query_key_value"
    n_rows = _QKV_ROWS if name == "falcon" else 3 * N_EMBD
    modules: Shapes = {
        fused: (n_rows, N_EMBD),
        f"{prefix}.dense": (N_EMBD, N_EMBD),
        **{module: shape for module, (_, shape) in _DENSE.items()},
    }

    def convert(weights: Weights) -> Weights:
        if name == "falcon":
            qkv = np.concatenate(loops.groups_apart(weights[fused], N_HEAD, N_HEAD_KV))
        else:
            qkv = loops.heads_apart(weights[fused], N_HEAD)
        return {
            "attn_qkv": qkv,
            "attn_output": weights[f"{prefix}.dense"],
            "ffn_up": weights["mlp.dense_h_to_4h"],
            "ffn_down": weights["mlp.dense_4h_to_h"],
        }

    tensors: Shapes = {
        "attn_qkv": (n_rows, N_EMBD),
        "attn_output": (N_EMBD, N_EMBD),
        **dict(_DENSE.values()),
    }
    return HandArchitecture(name, modules, tensors, convert, layers, embedding)


def _internlm2(weights: Weights) -> Weights:
    q, k, v = loops.groups_apart(weights["attention.wqkv"], N_HEAD, N_HEAD_KV)
    return {
        "attn_q": permuted(q, N_HEAD),
        "attn_k": permuted(k, N_HEAD_KV),
        "attn_v": v,
        "ffn_down": weights["feed_forward.w2"],
    }


def _granitemoe(weights: Weights) -> Weights:
    shared = weights["shared_mlp.input_linear"]
    return _experts(weights, "block_sparse_moe.experts") | {
        "attn_q": permuted(weights["self_attn.q_proj"], N_HEAD),
        "ffn_gate_shexp": shared[: len(shared) // 2],
        "ffn_up_shexp": shared[len(shared) // 2 :],
        "ffn_down_shexp": weights["shared_mlp.output_linear"],
    }


_STARCODER2 = {
    **{f"self_attn.{name}": entry for name, entry in ATTENTION.items()},
    "mlp.c_fc": GATED["up_proj"],
    "mlp.c_proj": GATED["down_proj"],
}
_PHI3 = {
    "self_attn.qkv_proj": ("attn_qkv", (_QKV_ROWS, N_EMBD)),
    "self_attn.o_proj": ATTENTION["o_proj"],
    "mlp.gate_up_proj": ("ffn_up", (2 * N_FF, N_EMBD)),
    "mlp.down_proj": GATED["down_proj"],
}
_GPT2 = {
    "attn.c_attn": ("attn_qkv", (3 * N_EMBD, N_EMBD)),
    "attn.c_proj": ("attn_output", (N_EMBD, N_EMBD)),
    "mlp.c_fc": GATED["up_proj"],
    "mlp.c_proj": GATED["down_proj"],
}

_RENAMED = "command-r cohere2 gemma gemma2 gemma3 olmo2 qwen2 qwen3 stablelm"

HAND_ARCHITECTURES = {
    **{name: _rotary_llama(name) for name in ("llama", "mistral3", "granite", "olmo", "smollm3")},
    **{name: _plain(name, _LLAMA) for name in _RENAMED.split()},
    "starcoder2": _plain("starcoder2", _STARCODER2),
    "phi3": _plain("phi3", _PHI3),
    "gpt2": _plain("gpt2", _GPT2, layers="transformer.h", embedding="transformer.wte"),
    "bloom": _other_heads(
        "bloom", "self_attention", ("transformer.h", "transformer.word_embeddings")
    ),
    "gptneox": _other_heads("gptneox", "attention", ("gpt_neox.layers", "gpt_neox.embed_in")),
    "falcon": _other_heads(
        "falcon", "self_attention", ("transformer.h", "transformer.word_embeddings")
    ),
    "mixtral": HandArchitecture(
        "llama",
        _ATTENTION_MODULES | _EXPERT_MODULES,
        _ATTENTION_TENSORS | _EXPERT_TENSORS,
        _mixtral,
    ),
    "qwen3moe": HandArchitecture(
        "qwen3moe",
        _ATTENTION_MODULES | _EXPERT_MODULES,
        _ATTENTION_TENSORS | _EXPERT_TENSORS,
        lambda weights: _renamed_attention(weights) | _experts(weights),
    ),
    "gpt-oss": HandArchitecture(
        "gpt-oss",
        _ATTENTION_MODULES | _EXPERT_MODULES,
        _ATTENTION_TENSORS | _EXPERT_TENSORS,
        _gpt_oss,
    ),
    "granitemoe": HandArchitecture(
        "granitemoe",
        {
            "self_attn.q_proj": (N_EMBD, N_EMBD),
            "block_sparse_moe.experts.gate_up_proj": (N_EXPERT, 2 * N_EXPERT_FF, N_EMBD),
            "block_sparse_moe.experts.down_proj": (N_EXPERT, N_EMBD, N_EXPERT_FF),
            "shared_mlp.input_linear": (2 * N_FF, N_EMBD),
            "shared_mlp.output_linear": (N_EMBD, N_FF),
        },
        {
            "attn_q": (N_EMBD, N_EMBD),
            **_EXPERT_TENSORS,
            "ffn_gate_shexp": (N_FF, N_EMBD),
            "ffn_up_shexp": (N_FF, N_EMBD),
            "ffn_down_shexp": (N_EMBD, N_FF),
        },
        _granitemoe,
    ),
    "deepseek2": HandArchitecture(
        "deepseek2",
        {
            "self_attn.q_proj": (N_EMBD, N_EMBD),
            "self_attn.kv_a_proj_with_mqa": (LATENT + 2, N_EMBD),
            "self_attn.kv_b_proj": (N_HEAD * (NOPE + VALUE), LATENT),
            "mlp.shared_experts.down_proj": (N_EMBD, N_EXPERT_FF),
            **_EXPERT_MODULES,
        },
        {
            "attn_q": (N_EMBD, N_EMBD),
            "attn_kv_a_mqa": (LATENT + 2, N_EMBD),
            "attn_k_b": (N_HEAD, LATENT, NOPE),
            "attn_v_b": (N_HEAD, VALUE, LATENT),
            "ffn_down_shexp": (N_EMBD, N_EXPERT_FF),
            **_EXPERT_TENSORS,
        },
        _deepseek2,
    ),
    "qwen3next": HandArchitecture(
        "qwen3next",
        {
            "linear_attn.in_proj_qkvz": (_N_MIXED + _N_INNER, N_EMBD),
            "linear_attn.in_proj_ba": (2 * N_VALUES, N_EMBD),
            "linear_attn.out_proj": (N_EMBD, _N_INNER),
        },
        {
            "attn_qkv": (_N_MIXED, N_EMBD),
            "attn_gate": (_N_INNER, N_EMBD),
            "ssm_ba": (2 * N_VALUES, N_EMBD),
            "ssm_out": (N_EMBD, _N_INNER),
        },
        _qwen3next,
        keys=_SSM,
    ),
    "qwen35": HandArchitecture(
        "qwen35",
        {
            "linear_attn.in_proj_qkv": (_N_MIXED, N_EMBD),
            "linear_attn.in_proj_z": (_N_INNER, N_EMBD),
            "linear_attn.in_proj_a": (N_VALUES, N_EMBD),
            "linear_attn.in_proj_b": (N_VALUES, N_EMBD),
            "linear_attn.out_proj": (N_EMBD, _N_INNER),
        },
        {
            "attn_qkv": (_N_MIXED, N_EMBD),
            "attn_gate": (_N_INNER, N_EMBD),
            "ssm_alpha": (N_VALUES, N_EMBD),
            "ssm_beta": (N_VALUES, N_EMBD),
            "ssm_out": (N_EMBD, _N_INNER),
        },
        _qwen35,
        keys=_SSM,
    ),
    "internlm2": HandArchitecture(
        "internlm2",
        {"attention.wqkv": (_QKV_ROWS, N_EMBD), "feed_forward.w2": (N_EMBD, N_FF)},
        {
            "attn_q": (N_EMBD, N_EMBD),
            "attn_k": (N_KV, N_EMBD),
            "attn_v": (N_KV, N_EMBD),
            "ffn_down": (N_EMBD, N_FF),
        },
        _internlm2,
        embedding="model.tok_embeddings",
        head="output",
    ),
}
