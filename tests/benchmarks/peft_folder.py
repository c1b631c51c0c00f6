"""Write a PEFT adapter and its base, in the shape of a real pair and with random weights.

The base is a GGUF file with a complete header and a hole in place of the weights, which nothing
reads; beside it is the configuration that llama.cpp's converter uses instead.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from tests.benchmarks.models import Dimensions

MODULES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
N_MERGES_PER_TOKEN = 2


@dataclass(frozen=True, slots=True)
class PeftPair:
    """The inputs of a conversion."""

    adapter: Path
    """The folder of the adapter."""
    base: Path
    """The GGUF file."""
    config: Path
    """The folder with the configuration in transformers' format."""


def write_pair(folder: Path, dimensions: Dimensions, rank: int) -> PeftPair:
    """Write adapter, base and configuration, unless an earlier run has done it."""
    pair = PeftPair(folder / "adapter", folder / "base.gguf", folder / "config")
    done = folder / "complete"
    if not done.exists():
        pair.adapter.mkdir(parents=True, exist_ok=True)
        pair.config.mkdir(exist_ok=True)
        _write_base(pair.base, dimensions)
        _write_config(pair.config / "config.json", dimensions)
        _write_adapter(pair.adapter, dimensions, rank)
        done.touch()
    return pair


def _write_base(path: Path, d: Dimensions) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("model")
    writer.add_name("Conversion")
    writer.add_context_length(4096)
    writer.add_embedding_length(d.n_embd)
    writer.add_block_count(d.n_layer)
    writer.add_feed_forward_length(d.n_ff)
    writer.add_head_count(d.n_head)
    writer.add_head_count_kv(d.n_head_kv)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(500_000.0)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"token{n}" for n in range(d.n_vocab)])
    writer.add_token_types([gguf.TokenType.NORMAL] * d.n_vocab)
    writer.add_token_merges([f"to ken{n}" for n in range(N_MERGES_PER_TOKEN * d.n_vocab)])
    shapes: dict[str, tuple[int, ...]] = {"token_embd": (d.n_vocab, d.n_embd)}
    for layer in range(d.n_layer):
        shapes |= {f"blk.{layer}.{name}": size for name, size in d.linear().items()}
        shapes |= {f"blk.{layer}.{norm}": (d.n_embd,) for norm in ("attn_norm", "ffn_norm")}
    shapes["output_norm"] = (d.n_embd,)
    n_bytes = 0
    for name, shape in shapes.items():
        kind = np.dtype(np.float16 if len(shape) == 2 else np.float32)
        size_bytes = int(np.prod(shape)) * kind.itemsize
        writer.add_tensor_info(f"{name}.weight", shape, kind, size_bytes)
        n_bytes += gguf.GGUFWriter.ggml_pad(size_bytes, writer.data_alignment)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    with path.open("r+b") as file:
        start = gguf.GGUFWriter.ggml_pad(file.seek(0, 2), writer.data_alignment)
        file.truncate(start + n_bytes)


def _write_config(path: Path, d: Dimensions) -> None:
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": d.n_vocab,
        "hidden_size": d.n_embd,
        "intermediate_size": d.n_ff,
        "num_hidden_layers": d.n_layer,
        "num_attention_heads": d.n_head,
        "num_key_value_heads": d.n_head_kv,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
    }
    path.write_text(json.dumps(config), encoding="utf-8")


def _write_adapter(folder: Path, d: Dimensions, rank: int) -> None:
    """Write the adapter in bfloat16, as trainers do."""
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": "meta-llama/Llama-3.2-1B",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": 2 * rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": [module.rpartition(".")[2] for module in MODULES.values()],
    }
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    shapes = {}
    for layer in range(d.n_layer):
        for name, (n_out, n_in) in d.linear().items():
            module = f"base_model.model.model.layers.{layer}.{MODULES[name]}"
            shapes[f"{module}.lora_A.weight"] = (rank, n_in)
            shapes[f"{module}.lora_B.weight"] = (n_out, rank)
    header: dict[str, Any] = {}
    offset = 0
    for name, shape in shapes.items():
        end = offset + 2 * shape[0] * shape[1]
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    rng = np.random.default_rng(0)
    with (folder / "adapter_model.safetensors").open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for shape in shapes.values():
            values = 0.05 * rng.standard_normal(shape, dtype=np.float32)
            file.write((values.view(np.uint32) >> 16).astype(np.uint16).tobytes())
