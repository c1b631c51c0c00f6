"""Convert the trained base and adapters to GGUF files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, quants
from numpy.typing import NDArray
from safetensors.numpy import load_file

from tests.demo_recipe.dialogues import CHAT_TEMPLATE
from tests.demo_recipe.tokenizer import PRE_TOKENIZER_NAME

BASE_NAME = "lora-tui demo"
DESCRIPTIONS = {
    "pirate": "Talks like a pirate; the scale is a dial from 0 to 1.",
    "formal": "Talks like a polite butler; the scale is a dial from 0 to 1.",
    "shout": "Writes in capital letters; the scale is a dial from 0 to 1.",
    "island": "Knows the invented island of Quillhaven; works from about 0.5.",
}
_CONTROL, _NORMAL = 3, 1
_FILE_TYPE_Q8_0 = 7
_TENSOR_NAMES = (
    ("model.embed_tokens", "token_embd"),
    ("model.norm", "output_norm"),
    ("model.layers.", "blk."),
    ("input_layernorm", "attn_norm"),
    ("post_attention_layernorm", "ffn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
)


def _gguf_name(name: str) -> str:
    for old, new in _TENSOR_NAMES:
        name = name.replace(old, new)
    return name


def interleaved(weights: NDArray[Any], heads: int) -> NDArray[Any]:
    """Reorder the rows of a q or k projection from two rotary halves to llama.cpp's pairs.

    ``weights`` has shape (heads * head size, ...), which is kept.
    """
    half = weights.shape[0] // heads // 2
    split = weights.reshape(heads, 2, half, *weights.shape[1:])
    return split.swapaxes(1, 2).reshape(weights.shape)


def _rotary_ordered(name: str, weights: NDArray[Any], config: dict[str, Any]) -> NDArray[Any]:
    if ".q_proj" in name:
        return interleaved(weights, config["num_attention_heads"])
    if ".k_proj" in name:
        return interleaved(weights, config["num_key_value_heads"])
    return weights


def _json(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def _finish(writer: GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: GGUFWriter, folder: Path) -> None:
    tokenizer = _json(folder / "tokenizer.json")
    tokens = sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1])
    special = {token["id"] for token in tokenizer["added_tokens"]}
    merges = [
        merge if isinstance(merge, str) else " ".join(merge)
        for merge in tokenizer["model"]["merges"]
    ]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(PRE_TOKENIZER_NAME)
    writer.add_token_list([token for token, _ in tokens])
    writer.add_token_types([_CONTROL if index in special else _NORMAL for _, index in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    writer.add_eot_token_id(2)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def write_base(base_dir: Path, tokenizer_dir: Path, out: Path) -> None:
    """Write the base as a Q8_0 GGUF file, with its norms in F32."""
    config = _json(base_dir / "config.json")
    heads = config["num_attention_heads"]
    writer = GGUFWriter(str(out), "llama")
    writer.add_name(BASE_NAME)
    writer.add_description("A tiny chat model that shows what LoRA adapters do.")
    writer.add_license("apache-2.0")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(config["hidden_size"] // heads)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(_FILE_TYPE_Q8_0)
    writer.add_quantization_version(2)
    _add_tokenizer(writer, tokenizer_dir)
    for name, stored in load_file(str(base_dir / "model.safetensors")).items():
        if name == "lm_head.weight":  # tied to the embeddings
            continue
        weights = _rotary_ordered(name, stored.astype(np.float32), config)
        if weights.ndim < 2:
            writer.add_tensor(_gguf_name(name), weights)
            continue
        packed = quants.quantize(weights, GGMLQuantizationType.Q8_0)
        writer.add_tensor(_gguf_name(name), packed, raw_dtype=GGMLQuantizationType.Q8_0)
    _finish(writer)


def write_adapter(name: str, adapter_dir: Path, base_dir: Path, out: Path) -> None:
    """Write a PEFT adapter as an F16 GGUF adapter for llama.cpp."""
    config = _json(base_dir / "config.json")
    adapter = _json(adapter_dir / "adapter_config.json")
    writer = GGUFWriter(str(out), "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(adapter["lora_alpha"]))
    writer.add_name(name)
    writer.add_description(DESCRIPTIONS[name])
    writer.add_license("apache-2.0")
    writer.add_base_model_count(1)
    writer.add_base_model_name(0, BASE_NAME)
    tensors = load_file(str(adapter_dir / "adapter_model.safetensors"))
    for stored_name, stored in tensors.items():
        is_b = ".lora_B." in stored_name
        weights = stored.astype(np.float32)
        if is_b:  # only B has the projection's output rows
            weights = _rotary_ordered(stored_name, weights, config)
        stem = stored_name.replace("base_model.model.", "", 1).split(".lora_")[0]
        suffix = "lora_b" if is_b else "lora_a"
        writer.add_tensor(f"{_gguf_name(stem)}.weight.{suffix}", weights.astype(np.float16))
    _finish(writer)
