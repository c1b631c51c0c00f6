"""Name the transformers modules of each GGUF architecture, to convert adapters back.

Source: the models of transformers 5.23; for internlm2, exaone and xverse, whose code comes with
the model, llama.cpp's `tensor_mapping.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Naming:
    """Module paths of a causal language model in transformers."""

    layers: str
    """Path before the layer number."""
    embedding: str
    head: str
    modules: tuple[str, ...]
    """Paths after the layer number. Of two that map to the same rows, the first counts. A name that
    ends in `.weight` is a bare parameter, listed in PEFT's `target_parameters`."""
    experts: str = ""
    """The module that holds the parameters of all experts, `gate_up_proj` and `down_proj`."""


_ATTENTION: Final = "self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.o_proj"
_LLAMA: Final = f"{_ATTENTION} mlp.gate_proj mlp.up_proj mlp.down_proj"
_LATENT: Final = """
    self_attn.q_a_proj self_attn.q_b_proj self_attn.kv_a_proj_with_mqa self_attn.kv_b_proj
    self_attn.indexer.wq_b self_attn.indexer.wk self_attn.indexer.weights_proj
    """
_SHARED: Final = """
    mlp.gate.weight mlp.shared_expert_gate mlp.shared_expert.gate_proj mlp.shared_expert.up_proj
    mlp.shared_expert.down_proj
    """
_SHARED_MANY: Final = """
    mlp.gate.weight mlp.shared_experts.gate_proj mlp.shared_experts.up_proj
    mlp.shared_experts.down_proj
    """
_GRANITE: Final = "block_sparse_moe.router.weight shared_mlp.input_linear shared_mlp.output_linear"
_DENSE: Final = "mlp.dense_h_to_4h mlp.dense_4h_to_h"
_OTHER_HEADS: Final = f"self_attention.query_key_value self_attention.dense {_DENSE}"


def _model(modules: str, experts: str = "mlp.experts", inner: str = "model") -> Naming:
    names = tuple(modules.split())
    return Naming(f"{inner}.layers", f"{inner}.embed_tokens", "lm_head", names, experts)


def _transformer(modules: str, embedding: str = "wte", layers: str = "h") -> Naming:
    names = tuple(modules.split())
    return Naming(f"transformer.{layers}", f"transformer.{embedding}", "lm_head", names)


NAMINGS: Final = {
    "llama": _model(f"{_LLAMA} {_SHARED}"),
    "vision-language": _model(f"{_LLAMA} {_SHARED}", inner="model.language_model"),
    "deepseek": _model(f"{_LLAMA} {_LATENT} {_SHARED_MANY}"),
    "gpt-oss": _model(f"{_LLAMA} mlp.router.weight"),
    "phimoe": _model(f"{_LLAMA} mlp.router"),
    "afmoe": _model(
        f"{_LLAMA} {_SHARED_MANY} mlp.router.gate self_attn.gate_proj".replace(
            "mlp.gate.weight", ""
        )
    ),
    "laguna": _model(f"{_LLAMA} {_SHARED_MANY} self_attn.g_proj"),
    "gemma3n": _model(
        f"{_LLAMA} per_layer_input_gate per_layer_projection laurel.linear_left laurel.linear_right"
    ),
    "gemma4": _model(f"{_LLAMA} per_layer_input_gate per_layer_projection router.proj", "experts"),
    "granitemoe": _model(f"{_LLAMA} {_GRANITE}", "block_sparse_moe.experts"),
    "granitehybrid": _model(
        f"{_ATTENTION} {_GRANITE} mamba.in_proj mamba.out_proj", "block_sparse_moe.experts"
    ),
    "jamba": _model(
        f"""
        {_ATTENTION} mamba.in_proj mamba.x_proj mamba.dt_proj mamba.out_proj
        feed_forward.gate_proj feed_forward.up_proj feed_forward.down_proj
        feed_forward.router.weight
        """,
        "feed_forward.experts",
    ),
    "qwen3next": _model(
        f"""
        {_LLAMA} {_SHARED} linear_attn.in_proj_qkvz linear_attn.in_proj_ba linear_attn.out_proj
        """
    ),
    "qwen35": _model(
        f"""
        {_LLAMA} {_SHARED} linear_attn.in_proj_qkv linear_attn.in_proj_z linear_attn.in_proj_a
        linear_attn.in_proj_b linear_attn.out_proj
        """
    ),
    "phi2": _model(
        "self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.dense mlp.fc1 mlp.fc2"
    ),
    "phi3": _model("self_attn.qkv_proj self_attn.o_proj mlp.gate_up_proj mlp.down_proj"),
    "glm": _model(f"{_ATTENTION} mlp.gate_up_proj mlp.down_proj"),
    "starcoder2": _model(f"{_ATTENTION} mlp.c_fc mlp.c_proj"),
    "internlm2": Naming(
        "model.layers",
        "model.tok_embeddings",
        "output",
        ("attention.wqkv", "attention.wo", "feed_forward.w1", "feed_forward.w3", "feed_forward.w2"),
    ),
    "lfm2": _model(
        """
        self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.out_proj conv.in_proj
        conv.out_proj feed_forward.w1 feed_forward.w3 feed_forward.w2
        feed_forward.gate.weight
        """,
        "feed_forward.experts",
    ),
    "mamba": Naming(
        "backbone.layers",
        "backbone.embeddings",
        "lm_head",
        ("mixer.in_proj", "mixer.x_proj", "mixer.dt_proj", "mixer.out_proj"),
    ),
    "nemotron_h": Naming(
        "model.layers",
        "model.embeddings",
        "lm_head",
        (
            *("mixer.q_proj", "mixer.k_proj", "mixer.v_proj", "mixer.o_proj"),
            *("mixer.in_proj", "mixer.out_proj", "mixer.up_proj", "mixer.down_proj"),
            *(
                "mixer.gate.weight",
                "mixer.shared_experts.up_proj",
                "mixer.shared_experts.down_proj",
            ),
        ),
        "mixer.experts",
    ),
    "exaone": _transformer(
        """
        attn.attention.q_proj attn.attention.k_proj attn.attention.v_proj attn.attention.out_proj
        mlp.c_fc_0 mlp.c_fc_1 mlp.c_proj
        """
    ),
    "gpt2": _transformer("attn.c_attn attn.c_proj mlp.c_fc mlp.c_proj"),
    "mpt": _transformer("attn.Wqkv attn.out_proj ffn.up_proj ffn.down_proj", layers="blocks"),
    "bloom": _transformer(_OTHER_HEADS, "word_embeddings"),
    "falcon": _transformer(_OTHER_HEADS, "word_embeddings"),
    "gptneox": Naming(
        "gpt_neox.layers",
        "gpt_neox.embed_in",
        "lm_head",
        tuple(f"attention.query_key_value attention.dense {_DENSE}".split()),
    ),
}
