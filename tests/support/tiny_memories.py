"""Tiny random bases without a plain KV cache: windowed, recurrent and hybrid memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import gguf
import numpy as np

from tests.support.tiny_models import CHATML, add_tokenizer, vocabulary, write_adapter

N_EMBD, N_FF, N_HEAD, N_HEAD_KV, N_LAYER = 64, 96, 4, 2, 2
HEAD_SIZE = N_EMBD // N_HEAD
N_WINDOW = 24
N_INNER, N_STATE, N_CONV, N_STEP = 2 * N_EMBD, 8, 4, 4

Memory = Literal["window", "recurrent", "hybrid"]
_ARCHITECTURES = {"window": "gemma3", "recurrent": "mamba", "hybrid": "lfm2"}
TARGETS = {
    "window": ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"),
    "recurrent": ("ssm_in", "ssm_x", "ssm_dt", "ssm_out"),
    "hybrid": ("attn_q", "attn_v", "shortconv.in_proj", "shortconv.out_proj", "ffn_down"),
}
"""Linear layers that adapters of each base target."""


def write_memory_base(path: Path, memory: Memory, seed: int = 0) -> Path:
    """Write a random base and return its path.

    `window` is gemma3, whose first layer sees 24 tokens; `recurrent` is mamba; `hybrid` is lfm2, a
    short convolution in the first layer and attention in the second. Sources: the tensors that
    llama.cpp's `gemma3.cpp`, `mamba.cpp` and `lfm2.cpp` load.
    """
    rng = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, _ARCHITECTURES[memory])
    writer.add_type("model")
    writer.add_context_length(512)
    writer.add_embedding_length(N_EMBD)
    writer.add_block_count(N_LAYER)
    writer.add_layer_norm_rms_eps(1e-5)
    add_tokenizer(writer, add_bos=False, chat_template=CHATML)
    last_norm = "token_embd_norm" if memory == "hybrid" else "output_norm"
    writer.add_tensor(f"{last_norm}.weight", np.ones(N_EMBD, dtype=np.float32))
    _add(writer, rng, "token_embd", (len(vocabulary()), N_EMBD))
    {"window": _add_window, "recurrent": _add_recurrent, "hybrid": _add_hybrid}[memory](writer, rng)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_memory_adapter(path: Path, base: Path, memory: Memory, seed: int) -> Path:
    """Write a random adapter on the `TARGETS` of a base and return its path."""
    return write_adapter(path, base, seed=seed, targets=TARGETS[memory])


def _add_window(writer: Any, rng: np.random.Generator) -> None:
    writer.add_feed_forward_length(N_FF)
    writer.add_head_count(N_HEAD)
    writer.add_head_count_kv(N_HEAD_KV)
    writer.add_key_length(HEAD_SIZE)
    writer.add_value_length(HEAD_SIZE)
    writer.add_rope_freq_base(10_000.0)
    writer.add_sliding_window(N_WINDOW)
    writer.add_sliding_window_pattern(2)
    for layer in range(N_LAYER):
        prefix = f"blk.{layer}."
        _add_attention(writer, rng, prefix)
        _add_feed_forward(writer, rng, prefix)
        for name in ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"):
            _add_norm(writer, f"{prefix}{name}", N_EMBD)


def _add_recurrent(writer: Any, rng: np.random.Generator) -> None:
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_ssm_conv_kernel(N_CONV)
    writer.add_ssm_inner_size(N_INNER)
    writer.add_ssm_state_size(N_STATE)
    writer.add_ssm_time_step_rank(N_STEP)
    for layer in range(N_LAYER):
        prefix = f"blk.{layer}."
        _add_norm(writer, f"{prefix}attn_norm", N_EMBD)
        _add(writer, rng, f"{prefix}ssm_in", (2 * N_INNER, N_EMBD))
        _add(writer, rng, f"{prefix}ssm_conv1d", (N_INNER, N_CONV))
        _add(writer, rng, f"{prefix}ssm_x", (N_STEP + 2 * N_STATE, N_INNER))
        _add(writer, rng, f"{prefix}ssm_dt", (N_INNER, N_STEP))
        _add(writer, rng, f"{prefix}ssm_out", (N_EMBD, N_INNER))
        for name in ("ssm_conv1d", "ssm_dt"):
            bias = rng.standard_normal(N_INNER, dtype=np.float32) * np.float32(0.1)
            writer.add_tensor(f"{prefix}{name}.bias", bias)
        # Small rates: the state remembers tokens far back.
        rates = -np.exp(rng.uniform(-4.0, 0.0, (N_INNER, N_STATE))).astype(np.float32)
        writer.add_tensor(f"{prefix}ssm_a", rates)
        writer.add_tensor(f"{prefix}ssm_d", np.ones(N_INNER, dtype=np.float32))


def _add_hybrid(writer: Any, rng: np.random.Generator) -> None:
    writer.add_feed_forward_length(N_FF)
    writer.add_head_count(N_HEAD)
    writer.add_head_count_kv([0, N_HEAD_KV])
    writer.add_rope_freq_base(10_000.0)
    writer.add_shortconv_l_cache(N_CONV)
    for layer in range(N_LAYER):
        prefix = f"blk.{layer}."
        if layer == 0:
            _add(writer, rng, f"{prefix}shortconv.conv", (N_EMBD, N_CONV))
            _add(writer, rng, f"{prefix}shortconv.in_proj", (3 * N_EMBD, N_EMBD))
            _add(writer, rng, f"{prefix}shortconv.out_proj", (N_EMBD, N_EMBD))
        else:
            _add_attention(writer, rng, prefix)
        _add_feed_forward(writer, rng, prefix)
        for name in ("attn_norm", "ffn_norm"):
            _add_norm(writer, f"{prefix}{name}", N_EMBD)


def _add_attention(writer: Any, rng: np.random.Generator, prefix: str) -> None:
    for name, n_out in (("q", N_HEAD), ("k", N_HEAD_KV), ("v", N_HEAD_KV)):
        _add(writer, rng, f"{prefix}attn_{name}", (n_out * HEAD_SIZE, N_EMBD))
    _add(writer, rng, f"{prefix}attn_output", (N_EMBD, N_EMBD))
    for name in ("attn_q_norm", "attn_k_norm"):
        _add_norm(writer, f"{prefix}{name}", HEAD_SIZE)


def _add_feed_forward(writer: Any, rng: np.random.Generator, prefix: str) -> None:
    _add(writer, rng, f"{prefix}ffn_gate", (N_FF, N_EMBD))
    _add(writer, rng, f"{prefix}ffn_up", (N_FF, N_EMBD))
    _add(writer, rng, f"{prefix}ffn_down", (N_EMBD, N_FF))


def _add_norm(writer: Any, name: str, length: int) -> None:
    writer.add_tensor(f"{name}.weight", np.ones(length, dtype=np.float32))


def _add(writer: Any, rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> None:
    values = rng.standard_normal(shape, dtype=np.float32) * np.float32(shape[-1] ** -0.5)
    writer.add_tensor(f"{name}.weight", values)
