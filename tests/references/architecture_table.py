"""The architectures whose converted adapters are compared with PEFT, and their tiny models.

Every model has 2 layers, a width of 32 and a vocabulary of 64; where a model family has grouped
queries it has 4 heads over 2, of size 8, so that a wrong order of rows shows. What differs from
the family's usual configuration differs because llama.cpp computes only one of the variants, and
says so beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

N_VOCAB, N_EMBD, N_FF, N_LAYER, N_HEAD, N_HEAD_KV, HEAD_SIZE = 64, 32, 64, 2, 4, 2, 8
N_EXPERT, N_EXPERT_USED, N_EXPERT_FF = 4, 2, 16
N_CTX = 128

DENSE = {
    "vocab_size": N_VOCAB,
    "hidden_size": N_EMBD,
    "intermediate_size": N_FF,
    "num_hidden_layers": N_LAYER,
    "num_attention_heads": N_HEAD,
    "num_key_value_heads": N_HEAD_KV,
    "max_position_embeddings": N_CTX,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
EXPERTS = {
    "num_experts_per_tok": N_EXPERT_USED,
    "moe_intermediate_size": N_EXPERT_FF,
    "shared_expert_intermediate_size": N_EXPERT_FF,
    # llama.cpp always lets the weights of the chosen experts add up to 1 (build_moe_ffn).
    "norm_topk_prob": True,
}
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
GATED = ("gate_proj", "up_proj", "down_proj")
LINEAR = (*ATTENTION, *GATED)
EXPERT_PARAMETERS = ("mlp.experts.gate_up_proj", "mlp.experts.down_proj")


@dataclass(frozen=True, slots=True)
class Architecture:
    """A tiny model of one architecture and what its adapters touch."""

    name: str
    """The folder of the stored references."""
    family: str
    """How transformers calls it: `Llama` for LlamaConfig and LlamaForCausalLM."""
    modules: tuple[str, ...] = LINEAR
    """The linear modules that get an adapter."""
    parameters: tuple[str, ...] = ()
    """The three-dimensional parameters of experts that get one (PEFT's `target_parameters`)."""
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """What differs from `DENSE` in the configuration; `...` leaves an option of `DENSE` out."""
    head: str = "ForCausalLM"
    """What the model's class is called after the family."""
    config_family: str = ""
    """The family in the configuration's name where it differs."""
    renamed: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Keys llama.cpp's converter reads that transformers 5 writes under other names."""
    enlarged: tuple[str, float] = ("", 1.0)
    """A parameter and how many times as large it makes the embeddings as in the other models.

    llama.cpp looks GELU up in steps of float16: what differs by 1e-7 before it can differ by a
    step of 1e-3 after it. Beside large embeddings such a step moves the logits by 1e-5 and not by
    5e-4, and an adapter still by more than 0.1.
    """
    final_gain: float | None = None
    """What the last norm's weights vary around, to the same end where input and output are tied."""
    experts_before: tuple[str, tuple[str, str, str]] | None = None
    """Where the experts were and what their gate, up and down were called until transformers 5.

    llama.cpp's converter of adapters knows those names alone.
    """
    is_official_right: bool = True
    """Whether convert_lora_to_gguf.py converts the plain adapter, and rightly."""

    @property
    def config_name(self) -> str:
        """The class of the configuration in transformers."""
        return f"{self.config_family or self.family}Config"

    @property
    def model_name(self) -> str:
        """The class of the model in transformers."""
        return f"{self.family}{self.head}"

    @property
    def config(self) -> dict[str, Any]:
        """The arguments of the configuration."""
        merged = {**DENSE, **self.options}
        return {key: value for key, value in merged.items() if value is not ...}


GPT_NEOX_ROPE = {"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.5}

ARCHITECTURES = (
    Architecture("llama", "Llama"),
    Architecture("mistral", "Mistral", options={"sliding_window": None, "head_dim": HEAD_SIZE}),
    Architecture("qwen2", "Qwen2", options={"tie_word_embeddings": True}),
    Architecture("qwen3", "Qwen3", options={"head_dim": HEAD_SIZE}),
    # Gemma's norms multiply by 1 plus their weight.
    Architecture("gemma", "Gemma", options={"head_dim": HEAD_SIZE}, final_gain=-1.0),
    Architecture(
        "gemma2",
        "Gemma2",
        options={"head_dim": HEAD_SIZE, "query_pre_attn_scalar": HEAD_SIZE, "sliding_window": 64},
        final_gain=-1.0,
    ),
    Architecture(
        "gemma3",
        "Gemma3",
        config_family="Gemma3Text",
        options={"head_dim": HEAD_SIZE, "query_pre_attn_scalar": HEAD_SIZE, "sliding_window": 64},
        final_gain=-1.0,
    ),
    Architecture("phi3", "Phi3", ("qkv_proj", "o_proj", "gate_up_proj", "down_proj")),
    Architecture(
        "granite",
        "Granite",
        options={
            "embedding_multiplier": 2.0,
            "residual_multiplier": 0.5,
            "attention_multiplier": 0.25,
            "logits_scaling": 2.0,
        },
    ),
    Architecture("olmo2", "Olmo2"),
    Architecture("command-r", "Cohere", options={"logit_scale": 1.0}),
    Architecture(
        "starcoder2",
        "Starcoder2",
        (*ATTENTION, "c_fc", "c_proj"),
        options={"tie_word_embeddings": False},
        enlarged=("model.embed_tokens.weight", 256.0),
    ),
    Architecture(
        "gpt2",
        "GPT2",
        ("c_attn", "c_proj", "c_fc"),
        head="LMHeadModel",
        options={
            "intermediate_size": ...,  # the converter takes four times the width
            "num_key_value_heads": ...,
            "tie_word_embeddings": False,
        },
        renamed={"n_ctx": N_CTX},
        enlarged=("transformer.wte.weight", 256.0),
        is_official_right=False,  # it transposes the pairs of a Conv1D
    ),
    Architecture(
        "gptneox",
        "GPTNeoX",
        ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"),
        options={"num_key_value_heads": ..., "rope_parameters": GPT_NEOX_ROPE},
        renamed={"rotary_pct": 0.5},
        enlarged=("gpt_neox.embed_in.weight", 256.0),
    ),
    Architecture(
        "falcon",
        "Falcon",
        ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"),
        options={
            "new_decoder_architecture": True,
            "num_kv_heads": N_HEAD_KV,
            "intermediate_size": ...,  # the converter takes four times the width
            "num_key_value_heads": ...,
            "tie_word_embeddings": False,
        },
        enlarged=("transformer.word_embeddings.weight", 256.0),
    ),
    Architecture(
        "bloom",
        "Bloom",
        ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"),
        options={
            "intermediate_size": ...,
            "num_key_value_heads": ...,
            "max_position_embeddings": ...,
        },
        enlarged=("transformer.word_embeddings_layernorm.weight", 64.0),
    ),
    Architecture(
        "mixtral",
        "Mixtral",
        ATTENTION,
        EXPERT_PARAMETERS,
        {
            "intermediate_size": N_EXPERT_FF,
            "num_local_experts": N_EXPERT,
            "num_experts_per_tok": N_EXPERT_USED,
        },
        experts_before=("block_sparse_moe", ("w1", "w3", "w2")),
    ),
    Architecture(
        "qwen3moe",
        "Qwen3Moe",
        ATTENTION,
        EXPERT_PARAMETERS,
        {**EXPERTS, "head_dim": HEAD_SIZE, "num_experts": N_EXPERT},
        experts_before=("mlp", ("gate_proj", "up_proj", "down_proj")),
    ),
    Architecture(
        "deepseek2",
        "DeepseekV2",
        (
            *("q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"),
            *(f"0.mlp.{name}" for name in GATED),
            *(f"shared_experts.{name}" for name in GATED),
        ),
        EXPERT_PARAMETERS,
        {
            "num_key_value_heads": N_HEAD,
            "first_k_dense_replace": 1,
            "n_routed_experts": N_EXPERT,
            "num_experts_per_tok": N_EXPERT_USED,
            "moe_intermediate_size": N_EXPERT_FF,
            "n_shared_experts": 1,
            "q_lora_rank": 16,
            "kv_lora_rank": 16,
            "qk_nope_head_dim": HEAD_SIZE,
            "qk_rope_head_dim": HEAD_SIZE,
            "v_head_dim": HEAD_SIZE,
            "routed_scaling_factor": 1.5,
        },
        is_official_right=False,  # it cannot split kv_b
    ),
    Architecture(
        "qwen3next",
        "Qwen3Next",
        (
            *ATTENTION,
            *(f"shared_expert.{name}" for name in GATED),
            *("in_proj_qkvz", "in_proj_ba", "out_proj"),
        ),
        EXPERT_PARAMETERS,
        {
            **EXPERTS,
            "head_dim": HEAD_SIZE,
            "num_experts": N_EXPERT,
            "layer_types": ["linear_attention", "full_attention"],
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
            "linear_key_head_dim": HEAD_SIZE,
            "linear_value_head_dim": HEAD_SIZE,
        },
        is_official_right=False,  # it cannot regroup in_proj_qkvz
    ),
    Architecture(
        "qwen35",
        "Qwen3_5",
        (*LINEAR, "in_proj_qkv", "in_proj_z", "in_proj_a", "in_proj_b", "out_proj"),
        config_family="Qwen3_5Text",
        options={
            "head_dim": HEAD_SIZE,
            "layer_types": ["linear_attention", "full_attention"],
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
            "linear_key_head_dim": HEAD_SIZE,
            "linear_value_head_dim": HEAD_SIZE,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "partial_rotary_factor": 1.0,
                "mrope_section": [2, 1, 1],
            },
        },
    ),
    Architecture("smollm3", "SmolLM3", options={"no_rope_layers": [1, 1]}),
    Architecture("stablelm", "StableLm"),
)
BY_NAME = {architecture.name: architecture for architecture in ARCHITECTURES}
