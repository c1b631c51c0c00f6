"""An adapter fits a base whatever was fused or split when the base was converted.

llama.cpp's converter can write q, k and v as one tensor (`--fuse-qkv`), and gate and up of the
experts (`--fuse-gate-up-exps`); its own script for adapters knows nothing of it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.adapters.conversion.convert import convert
from engine.adapters.foreign.formats.safetensors import read_safetensors
from tests.support.architecture_references import reference
from tests.support.peft_folders import safetensors_bytes

Tensors = dict[str, NDArray[np.float32]]

FUSED = (
    *("llama", "mistral", "mixtral", "smollm3", "granite", "qwen2", "qwen3", "qwen3moe"),
    *("gemma", "gemma2", "gemma3", "olmo2", "command-r", "starcoder2", "stablelm"),
)
TOLERANCE = 1e-4
PARTS = {
    "qkv_proj": {"q_proj": slice(32), "k_proj": slice(32, 48), "v_proj": slice(48, 64)},
    "gate_up_proj": {"gate_proj": slice(64), "up_proj": slice(64, 128)},
}
"""The rows of the parts of each fused module of the phi3."""


def with_fused_qkv(tensors: Tensors) -> Tensors:
    return fused(tensors, ("attn_q", "attn_k", "attn_v"), "attn_qkv", axis=0)


def with_fused_experts(tensors: Tensors) -> Tensors:
    return fused(tensors, ("ffn_gate_exps", "ffn_up_exps"), "ffn_gate_up_exps", axis=1)


def with_split_qkv(tensors: Tensors) -> Tensors:
    """Take attn_qkv apart, of 4 query heads to 2 of keys and 2 of values."""
    found = {}
    for name, values in tensors.items():
        if ".attn_qkv." in name:
            q, kv = np.split(values, 2)
            for part, rows in zip("qkv", (q, *np.split(kv, 2)), strict=True):
                found[name.replace("attn_qkv", f"attn_{part}")] = rows
        else:
            found[name] = values
    return found


def fused(tensors: Tensors, parts: tuple[str, ...], whole: str, axis: int) -> Tensors:
    """Put the rows of some tensors of each layer into one."""
    found = {}
    for name, values in tensors.items():
        layer, _, rest = name.rpartition(f".{parts[0]}.")
        if layer:
            rows = [tensors[f"{layer}.{part}.{rest}"] for part in parts]
            found[f"{layer}.{whole}.{rest}"] = np.concatenate(rows, axis=axis)
        elif not any(f".{part}." in name for part in parts):
            found[name] = values
    return found


CASES = [
    *((name, with_fused_qkv) for name in FUSED),
    ("phi3", with_split_qkv),
    ("deepseek2", with_fused_experts),
    ("qwen3next", with_fused_experts),
]


@pytest.mark.parametrize("kind", ["plain", "scaled"])
@pytest.mark.parametrize(
    ("name", "change"), CASES, ids=[f"{name} {change.__name__}" for name, change in CASES]
)
def test_the_adapter_agrees_with_peft(
    name: str, change: Callable[[Tensors], Tensors], kind: str, tmp_path: Path
) -> None:
    stored = reference(name)
    base = rewritten(stored.base, tmp_path / "base.gguf", change)
    base_error = stored.error("base", base)
    assert base_error < TOLERANCE
    out = tmp_path / "adapter.gguf"
    convert(stored.folder / kind, base, out, out_type="f32")
    assert stored.error(kind, base, out) < TOLERANCE + base_error


@pytest.mark.parametrize(
    "modules", [("qkv_proj",), ("gate_up_proj",), ("qkv_proj", "gate_up_proj")]
)
def test_parts_trained_apart_agree_with_peft_on_a_base_that_fuses_them(
    modules: tuple[str, ...], tmp_path: Path
) -> None:
    """A Phi-3 in Llama's shape has adapters of q, k, v, gate and up (unsloth/Phi-3.5, Phi-4)."""
    stored = reference("phi3")
    apart = shutil.copytree(stored.folder / "plain", tmp_path / "apart")
    weights = apart / "adapter_model.safetensors"
    tensors: Tensors = {}
    for name, tensor in read_safetensors(weights).items():
        values = tensor.stored().read()
        module = next((module for module in modules if f".{module}." in name), None)
        if module is None:
            tensors[name] = values
            continue
        for part, rows in PARTS[module].items():
            half = values[rows] if ".lora_B." in name else values
            tensors[name.replace(module, part)] = half
    weights.write_bytes(safetensors_bytes(tensors))
    out = tmp_path / "adapter.gguf"
    convert(apart, stored.base, out, out_type="f32")
    assert stored.error("plain", stored.base, out) < 1e-5


def rewritten(base: Path, out: Path, change: Callable[[Tensors], Tensors]) -> Path:
    """Write a base with the same metadata and other tensors."""
    reader = gguf.GGUFReader(base)
    architecture = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(out, architecture)
    for key, field in reader.fields.items():
        if not key.startswith("GGUF.") and key != "general.architecture":
            kind = field.types[0]
            element = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(key, field.contents(), kind, element)
    before = {str(tensor.name): np.array(tensor.data) for tensor in reader.tensors}
    after = change(before)
    assert set(after) != set(before)
    for name, values in after.items():
        writer.add_tensor(name, np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out
