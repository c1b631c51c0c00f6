"""Further architectures whose adapters are converted, and the tiny models they are tried on.

Of these nothing is run, so a model need not be one that llama.cpp computes as transformers does:
what counts is where llama.cpp's converter puts the rows and columns of every weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from tests.references.architecture_table import (
    DENSE,
    HEAD_SIZE,
    N_EMBD,
    N_EXPERT,
    N_EXPERT_FF,
    N_FF,
)

EXPERTS = {
    **dict.fromkeys(
        ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), N_EXPERT
    ),
    **dict.fromkeys(("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k"), 2),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), N_EXPERT_FF),
    **dict.fromkeys(("n_shared_experts", "num_shared_experts", "moe_num_shared_experts"), 1),
    **dict.fromkeys(("n_group", "topk_group", "first_k_dense_replace", "num_dense_layers"), 1),
    **dict.fromkeys(("moe_layer_start_index", "moe_layer_interval", "decoder_sparse_step"), 1),
    "expert_layer_period": 2,
    "expert_layer_offset": 1,
    "mlp_only_layers": [],
}
"""What the configurations call their experts; each takes what it knows."""
LATENT = {
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": HEAD_SIZE,
    "qk_rope_head_dim": HEAD_SIZE,
    "v_head_dim": HEAD_SIZE,
    "num_key_value_heads": 4,
}
INDEXER = {**LATENT, "index_n_heads": 2, "index_head_dim": 16, "index_topk": 8}
MAMBA = {
    **dict.fromkeys(("mamba_d_state", "state_size", "ssm_state_size", "mamba_d_head"), 8),
    **dict.fromkeys(("mamba_n_heads", "mamba_num_heads", "num_heads"), 8),
    **dict.fromkeys(("mamba_n_groups", "n_groups"), 1),
    **dict.fromkeys(("mamba_expand", "expand"), 2),
    **dict.fromkeys(("mamba_dt_rank", "time_step_rank", "mamba_d_conv"), 4),
    **dict.fromkeys(("chunk_size", "mamba_chunk_size", "mamba_head_dim", "head_dim"), 8),
    "mamba_d_ssm": 64,
    "use_mamba_kernels": False,
}
HEADS = {"head_dim": HEAD_SIZE}
ALTERNATING = {**HEADS, "layer_types": ["sliding_attention", "full_attention"]}
LINEAR_ATTENTION = {
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
}
MULTIPLIERS = {
    "ssm_multipliers": [1.1, 1.2, 0.9, 0.8, 1.3],
    "key_multiplier": 0.7,
    "mlp_multipliers": [0.9, 1.1],
    "attention_out_multiplier": 0.8,
    "ssm_out_multiplier": 1.2,
    "ssm_in_multiplier": 1.3,
    "embedding_multiplier": 2.0,
    "lm_head_multiplier": 0.5,
    "mamba_rms_norm": False,
}


SECTIONS = {
    "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 1, 1]}
}
TOWER = {
    **dict.fromkeys(("hidden_size", "embed_dim", "out_hidden_size", "mm_hidden_size"), N_EMBD),
    **dict.fromkeys(("num_hidden_layers", "depth"), 2),
    **dict.fromkeys(("num_attention_heads", "num_heads"), 4),
    "intermediate_size": N_FF,
    "deepstack_visual_indexes": [1],
    "fullatt_block_indexes": [1],
    "num_position_embeddings": 16,
    "patch_size": 4,
    "image_size": 16,
    "window_size": 8,
}
"""What the configurations of vision towers call their sizes; each takes what it knows."""


@dataclass(frozen=True, slots=True)
class Further:
    """A tiny model; every linear module but the head gets an adapter, and every expert."""

    name: str
    family: str
    """transformers' `<family>ForCausalLM` and, but for the next field, `<family>Config`."""
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Beside those of `DENSE`; a configuration takes what it knows."""
    config_family: str = ""
    renamed: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Keys llama.cpp's converter reads that transformers 5 writes under other names."""
    left_out: tuple[str, ...] = ()
    """Parts of the names of modules without an adapter."""

    @property
    def all_options(self) -> dict[str, Any]:
        """The options of the configuration, known to it or not."""
        return {**DENSE, **self.options}


@dataclass(frozen=True, slots=True)
class VisionLanguage(Further):
    """A model with a vision tower, whose linear modules get an adapter too, to be left out."""

    tower: str = ""
    """The family of the tower's configuration."""


MAMBA_HEAD = ("out_proj",)
"""What PEFT refuses to adapt in models with a state space, of which kernels read the weight."""

FURTHER = (
    Further("afmoe", "Afmoe", {**EXPERTS, **ALTERNATING}),
    Further("apertus", "Apertus"),
    Further("arcee", "Arcee"),
    Further("cohere2", "Cohere2", ALTERNATING, renamed={"rotary_pct": 1.0}),
    Further("cohere2moe", "Cohere2Moe", {**EXPERTS, **HEADS}),
    Further("deepseek3", "DeepseekV3", {**EXPERTS, **LATENT}),
    Further("deepseek32", "DeepseekV32", {**EXPERTS, **INDEXER}),
    Further("dots1", "Dots1", {**EXPERTS, **HEADS}),
    Further("ernie4_5", "Ernie4_5", HEADS),
    Further("ernie4_5-moe", "Ernie4_5_Moe", {**EXPERTS, **HEADS}),
    Further("exaone4", "Exaone4", {**ALTERNATING, "sliding_window": 64}),
    Further("exaone-moe", "ExaoneMoe", {**EXPERTS, **HEADS}),
    Further("falcon-h1", "FalconH1", {**MAMBA, **MULTIPLIERS}, "", HEADS, MAMBA_HEAD),
    Further("falcon-mamba", "FalconMamba", MAMBA, left_out=MAMBA_HEAD),
    Further(
        "gemma3n",
        "Gemma3n",
        {
            **ALTERNATING,
            "hidden_size_per_layer_input": 8,
            "vocab_size_per_layer_input": 64,
            "num_kv_shared_layers": 0,
            "laurel_rank": 4,
            "altup_num_inputs": 4,
            "activation_sparsity_pattern": [0.0, 0.0],
            "intermediate_size": [N_FF, N_FF],
        },
        "Gemma3nText",
        left_out=("altup", "per_layer_model_projection"),
    ),
    Further(
        "gemma4",
        "Gemma4",
        {
            **ALTERNATING,
            "global_head_dim": HEAD_SIZE,
            "hidden_size_per_layer_input": 0,
            "num_kv_shared_layers": 0,
        },
        "Gemma4Text",
    ),
    Further("glm", "Glm", HEADS),
    Further("glm4", "Glm4", HEADS),
    Further("glm4moe", "Glm4Moe", {**EXPERTS, **HEADS}),
    Further("glm-dsa", "GlmMoeDsa", {**EXPERTS, **INDEXER}),
    Further(
        "gpt-bigcode",
        "GPTBigCode",
        {"n_embd": 32, "n_head": 4, "n_layer": 2, "n_positions": 128, "n_inner": 128},
    ),
    Further("gpt-oss", "GptOss", {**EXPERTS, **ALTERNATING}, left_out=("router",)),
    Further("granite-swa", "GraniteSWA"),
    Further(
        "granitehybrid",
        "GraniteMoeHybrid",
        {**EXPERTS, **MAMBA, "shared_intermediate_size": 16, "layer_types": ["mamba", "attention"]},
        renamed={"layer_types": ["mamba", "attention"]},
        left_out=(*MAMBA_HEAD, "router"),
    ),
    Further("granitemoe", "GraniteMoe", EXPERTS, left_out=("router",)),
    Further(
        "granitemoe-shared",
        "GraniteMoeShared",
        {**EXPERTS, "shared_intermediate_size": 16},
        left_out=("router",),
    ),
    Further("hunyuan-dense", "HunYuanDenseV1", HEADS),
    Further(
        "hunyuan-moe",
        "HunYuanMoEV1",
        {**EXPERTS, **HEADS},
        renamed={
            "moe_intermediate_size": [N_FF, N_FF],
            "moe_topk": [2, 2],
            "num_shared_expert": [1, 1],
        },
    ),
    Further("hy_v3", "HYV3", {**EXPERTS, **HEADS}),
    Further("jais2", "Jais2"),
    Further(
        "jamba",
        "Jamba",
        {**EXPERTS, **MAMBA, "attn_layer_period": 2, "attn_layer_offset": 1},
        left_out=(*MAMBA_HEAD, "router"),
    ),
    Further("laguna", "Laguna", {**EXPERTS, **HEADS}, left_out=("router",)),
    Further("lfm2", "Lfm2", {"layer_types": ["conv", "full_attention"]}),
    Further("lfm2moe", "Lfm2Moe", {**EXPERTS, "layer_types": ["conv", "full_attention"]}),
    Further(
        "llama4",
        "Llama4",
        {
            **EXPERTS,
            **HEADS,
            "intermediate_size_mlp": N_FF,
            "no_rope_layers": [1, 1],
            "moe_layers": [1],
            "interleave_moe_layer_step": 2,
        },
        "Llama4Text",
        left_out=("router",),
    ),
    Further("mamba", "Mamba", MAMBA, left_out=MAMBA_HEAD),
    Further("mamba2", "Mamba2", MAMBA, left_out=MAMBA_HEAD),
    Further("mellum", "Mellum", {**EXPERTS, **HEADS}),
    Further("minicpm3", "MiniCPM3", LATENT),
    Further("minimax-m2", "MiniMaxM2", {**EXPERTS, **HEADS}, renamed={"rotary_dim": HEAD_SIZE}),
    Further(
        "mpt",
        "Mpt",
        {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 128, "expansion_ratio": 2},
        renamed={"architectures": ["MPTForCausalLM"]},
    ),
    Further("nemotron", "Nemotron"),
    Further("nemotron_h", "NemotronH", {**EXPERTS, **MAMBA}, left_out=MAMBA_HEAD),
    Further("olmo", "Olmo"),
    Further("olmo3", "Olmo3", ALTERNATING),
    Further("olmoe", "Olmoe", EXPERTS),
    Further("phi2", "Phi"),
    Further(
        "phimoe",
        "Phimoe",
        EXPERTS,
        renamed={"architectures": ["PhiMoEForCausalLM"], "original_max_position_embeddings": 64},
        left_out=("router",),
    ),
    Further("qwen2moe", "Qwen2Moe", EXPERTS),
    Further("qwen35moe", "Qwen3_5Moe", {**EXPERTS, **HEADS, **LINEAR_ATTENTION}, "Qwen3_5MoeText"),
    Further("seed_oss", "SeedOss", HEADS),
    Further("solar-open", "SolarOpen", {**EXPERTS, **HEADS}),
    Further("youtu", "Youtu", LATENT),
    VisionLanguage(
        "gemma3-vision",
        "Gemma3",
        {**HEADS, "query_pre_attn_scalar": HEAD_SIZE, "sliding_window": 64},
        "Gemma3Text",
        tower="SiglipVision",
    ),
    VisionLanguage("glm4v", "Glm4v", HEADS, "Glm4vText", tower="Glm4vVision"),
    VisionLanguage("llava", "Llava", {}, "Llama", tower="CLIPVision"),
    VisionLanguage("qwen2vl", "Qwen2VL", SECTIONS, "Qwen2VLText", tower="Qwen2VLVision"),
    VisionLanguage("qwen25vl", "Qwen2_5_VL", SECTIONS, "Qwen2_5_VLText", tower="Qwen2_5_VLVision"),
    VisionLanguage(
        "qwen3vl", "Qwen3VL", {**HEADS, **SECTIONS}, "Qwen3VLText", tower="Qwen3VLVision"
    ),
    VisionLanguage(
        "qwen35-vision",
        "Qwen3_5",
        {**HEADS, **LINEAR_ATTENTION},
        "Qwen3_5Text",
        tower="Qwen3_5Vision",
    ),
)
