"""Tiny random bases with latent attention (MLA), where llama.cpp applies LoRA to few tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import gguf
import numpy as np

from tests.support.tiny_models import CHATML, add_tokenizer, vocabulary

N_EMBD, N_FF, N_HEAD, N_LAYER = 64, 128, 4, 2
N_ROPE, N_NOPE, N_VALUE = 8, 16, 16
RANK_Q, RANK_KV = 24, 32

Architecture = Literal["plm", "deepseek2"]


def write_latent_base(path: Path, architecture: Architecture, seed: int = 0) -> Path:
    """Write a random base with dense feed-forward layers and return its path.

    Sources: the tensors that llama.cpp's `plm.cpp` and `deepseek2.cpp` load; deepseek2 in its
    absorbed form, with one matrix per head in `attn_k_b` and `attn_v_b`.
    """
    rng = np.random.default_rng(seed)
    is_deepseek = architecture == "deepseek2"
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type("model")
    writer.add_context_length(256)
    writer.add_embedding_length(N_EMBD)
    writer.add_block_count(N_LAYER)
    writer.add_feed_forward_length(N_FF)
    writer.add_head_count(N_HEAD)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_rope_dimension_count(N_ROPE)
    writer.add_kv_lora_rank(RANK_KV)
    if is_deepseek:
        writer.add_head_count_kv(1)
        writer.add_q_lora_rank(RANK_Q)
        writer.add_key_length(RANK_KV + N_ROPE)
        writer.add_value_length(RANK_KV)
        writer.add_key_length_mla(N_NOPE + N_ROPE)
        writer.add_value_length_mla(N_VALUE)
        writer.add_leading_dense_block_count(N_LAYER)
        writer.add_expert_feed_forward_length(N_FF)
        writer.add_expert_shared_count(1)
        writer.add_expert_weights_scale(1.0)
    else:
        writer.add_head_count_kv(N_HEAD)
        writer.add_key_length(N_NOPE + N_ROPE)
        writer.add_value_length(N_VALUE)
    add_tokenizer(writer, add_bos=False, chat_template=CHATML)

    shapes: dict[str, tuple[int, ...]] = {"token_embd": (len(vocabulary()), N_EMBD)}
    norms = {"output_norm": N_EMBD}
    if is_deepseek:
        shapes["output"] = (len(vocabulary()), N_EMBD)
    for layer in range(N_LAYER):
        prefix = f"blk.{layer}."
        norms |= {f"{prefix}attn_norm": N_EMBD, f"{prefix}ffn_norm": N_EMBD}
        norms[f"{prefix}attn_kv_a_norm"] = RANK_KV
        shapes[f"{prefix}attn_kv_a_mqa"] = (RANK_KV + N_ROPE, N_EMBD)
        shapes[f"{prefix}attn_output"] = (N_EMBD, N_HEAD * N_VALUE)
        shapes[f"{prefix}ffn_up"] = (N_FF, N_EMBD)
        shapes[f"{prefix}ffn_down"] = (N_EMBD, N_FF)
        if is_deepseek:
            norms[f"{prefix}attn_q_a_norm"] = RANK_Q
            shapes[f"{prefix}ffn_gate"] = (N_FF, N_EMBD)
            shapes[f"{prefix}attn_q_a"] = (RANK_Q, N_EMBD)
            shapes[f"{prefix}attn_q_b"] = (N_HEAD * (N_NOPE + N_ROPE), RANK_Q)
            shapes[f"{prefix}attn_k_b"] = (N_HEAD, RANK_KV, N_NOPE)
            shapes[f"{prefix}attn_v_b"] = (N_HEAD, N_VALUE, RANK_KV)
        else:
            shapes[f"{prefix}attn_q"] = (N_HEAD * (N_NOPE + N_ROPE), N_EMBD)
            shapes[f"{prefix}attn_kv_b"] = (N_HEAD * (N_NOPE + N_VALUE), RANK_KV)
    for name, length in norms.items():
        writer.add_tensor(f"{name}.weight", np.ones(length, dtype=np.float32))
    for name, shape in shapes.items():
        _add_random(writer, rng, f"{name}.weight", shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_random(writer: Any, rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> None:
    values = rng.standard_normal(shape, dtype=np.float32) * np.float32(shape[-1] ** -0.5)
    writer.add_tensor(name, values)
