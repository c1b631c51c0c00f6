"""Read PEFT folders with numpy alone, and write the stored ones as GGUF adapters."""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from engine.adapters.conversion.placement.make_plan import make_plan
from engine.adapters.foreign.formats.tensor import StoredTensor
from engine.adapters.foreign.source import LoraModule, LoraSource, ModuleKind
from engine.gguf.model_header import require_base

Floats = NDArray[np.float32]
_DTYPES = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2")}
_KEY = re.compile(r"base_model\.model\.(.+)\.lora_(embedding_)?A(?:\.weight)?")
_EXPERTS = {"experts.base_layer": "experts.gate_up_proj", "experts": "experts.down_proj"}


@dataclass(frozen=True, slots=True)
class PeftPair:
    """The pair A and B of a module as float32, and its scale."""

    path: str
    kind: ModuleKind
    a: Floats
    b: Floats
    scale: float

    @property
    def delta(self) -> NDArray[np.float64]:
        """The delta of the module's weight, or of all experts; (n_embd, n_vocab) for embeddings."""
        return self.scale * (self.b.astype(np.float64) @ self.a)


def read_safetensors(path: Path) -> dict[str, Floats]:
    """Return all tensors of a file as float32."""
    data = path.read_bytes()
    (n_header,) = struct.unpack("<Q", data[:8])
    header: dict[str, Any] = json.loads(data[8 : 8 + n_header])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        start, end = (8 + n_header + offset for offset in entry["data_offsets"])
        values = np.frombuffer(data[start:end], _DTYPES[entry["dtype"]])
        tensors[name] = values.reshape(entry["shape"]).astype(np.float32)
    return tensors


def peft_pairs(folder: Path, n_experts: int) -> dict[str, PeftPair]:
    """Return the pairs of a folder without rsLoRA, by module path."""
    config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    assert not config["use_rslora"]
    tensors = read_safetensors(folder / "adapter_model.safetensors")
    pairs = {}
    for key, a in tensors.items():
        match = _KEY.fullmatch(key)
        if match is None:
            continue
        b = tensors[key.replace("lora_A", "lora_B").replace("embedding_A", "embedding_B")]
        path, kind = match[1], ModuleKind.EMBEDDING if match[2] else ModuleKind.LINEAR
        for suffix, parameter in _EXPERTS.items():
            if path.endswith(f".{suffix}"):
                path = path.removesuffix(suffix) + parameter
                kind = ModuleKind.EXPERTS
                # Source: `ParamWrapper.get_delta_weight` of PEFT.
                a = a.reshape(n_experts, -1, a.shape[-1])
                b = b.reshape(b.shape[0], -1, n_experts).transpose(2, 0, 1)
                break
        alphas = [
            alpha
            for pattern, alpha in config["alpha_pattern"].items()
            if re.fullmatch(rf"(.*\.)?({pattern})", path)
        ]
        scale = (alphas or [config["lora_alpha"]])[0] / a.shape[-2]
        pairs[path] = PeftPair(path, kind, a, np.ascontiguousarray(b), scale)
    return pairs


def write_gguf_of(folder: Path, base: Path, out: Path) -> Path:
    """Write a stored PEFT folder as a GGUF adapter for `base`."""
    header = require_base(base)
    n_experts = header.integer(f"{header.architecture}.expert_count") or 0
    modules = tuple(
        LoraModule(
            pair.path,
            pair.kind,
            _stored(f"{pair.path}.a", pair.a),
            _stored(f"{pair.path}.b", pair.b),
            pair.scale,
        )
        for pair in peft_pairs(folder, n_experts).values()
    )
    source = LoraSource(folder, (), "peft", modules, "")
    writer = gguf.GGUFWriter(out, header.architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 0.0)
    for pair in make_plan(source, header).pairs:
        a, b = pair.build([member.scale for member in pair.members])
        writer.add_tensor(f"{pair.target}.lora_a", a.reshape(pair.a_shape))
        writer.add_tensor(f"{pair.target}.lora_b", b.reshape(pair.b_shape))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


def _stored(name: str, values: Floats) -> StoredTensor:
    return StoredTensor(name, values.shape, "f32", partial(np.copy, values))
