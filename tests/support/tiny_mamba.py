"""Tiny random bases with a recurrent state instead of a KV cache."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from tests.support.tiny_models import CHATML, add_tokenizer, vocabulary

N_EMBD, N_INNER, N_STATE, N_CONV, RANK_DT, N_LAYER = 64, 128, 8, 4, 4, 2


def write_mamba_base(path: Path, seed: int = 0) -> Path:
    """Write a random base of the mamba architecture and return its path.

    Source: the tensors that llama.cpp's `mamba.cpp` loads.
    """
    rng = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "mamba")
    writer.add_type("model")
    writer.add_context_length(512)
    writer.add_embedding_length(N_EMBD)
    writer.add_block_count(N_LAYER)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_ssm_conv_kernel(N_CONV)
    writer.add_ssm_inner_size(N_INNER)
    writer.add_ssm_state_size(N_STATE)
    writer.add_ssm_time_step_rank(RANK_DT)
    add_tokenizer(writer, add_bos=False, chat_template=CHATML)
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (len(vocabulary()), N_EMBD),
        "output.weight": (len(vocabulary()), N_EMBD),
    }
    ones = {"output_norm.weight": (N_EMBD,)}
    for layer in range(N_LAYER):
        prefix = f"blk.{layer}."
        ones[f"{prefix}attn_norm.weight"] = (N_EMBD,)
        ones[f"{prefix}ssm_d"] = (N_INNER,)
        shapes[f"{prefix}ssm_in.weight"] = (2 * N_INNER, N_EMBD)
        shapes[f"{prefix}ssm_conv1d.weight"] = (N_INNER, N_CONV)
        shapes[f"{prefix}ssm_conv1d.bias"] = (N_INNER,)
        shapes[f"{prefix}ssm_x.weight"] = (RANK_DT + 2 * N_STATE, N_INNER)
        shapes[f"{prefix}ssm_dt.weight"] = (N_INNER, RANK_DT)
        shapes[f"{prefix}ssm_dt.bias"] = (N_INNER,)
        shapes[f"{prefix}ssm_out.weight"] = (N_EMBD, N_INNER)
        decay = -np.tile(np.arange(1, N_STATE + 1, dtype=np.float32), (N_INNER, 1))
        writer.add_tensor(f"{prefix}ssm_a", decay)
    for name, length in ones.items():
        writer.add_tensor(name, np.ones(length, dtype=np.float32))
    for name, shape in shapes.items():
        values = rng.standard_normal(shape, dtype=np.float32) * np.float32(shape[-1] ** -0.5)
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
