"""Write tiny PEFT and MLX adapter folders with numpy alone, byte for byte as those programs do."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Dtype = Literal["f32", "f16", "bf16", "f64"]
Pairs = Mapping[str, tuple[Array, Array]]
PREFIX = "base_model.model."
_NAMES = {"f32": "F32", "f16": "F16", "bf16": "BF16", "f64": "F64"}
_STORAGES = {"f32": "Float", "f16": "Half", "bf16": "BFloat16", "f64": "Double"}
_EMBEDDINGS = ("embed_tokens", "wte", "word_embeddings", "embed_in")


def stored_bytes(values: Array, dtype: Dtype) -> bytes:
    """Return the values as stored; bfloat16 rounds to nearest even, as torch does."""
    if dtype == "bf16":
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()
    return (
        np.ascontiguousarray(values)
        .astype({"f32": "<f4", "f16": "<f2", "f64": "<f8"}[dtype])
        .tobytes()
    )


def safetensors_bytes(
    tensors: Mapping[str, Array], dtype: Dtype = "f32", metadata: Mapping[str, str] | None = None
) -> bytes:
    """Return a safetensors file: header length, header, then the tensors in order."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    data = b""
    for name, values in tensors.items():
        raw = stored_bytes(values, dtype)
        header[name] = {
            "dtype": _NAMES[dtype],
            "shape": list(values.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def torch_pickle(tensors: Mapping[str, Array], dtype: Dtype = "f32") -> bytes:
    """Return the pickle inside a file of `torch.save(state_dict)`, opcode by opcode."""
    parts = [b"\x80\x02", b"ccollections\nOrderedDict\n)R", b"("]
    for index, (name, values) in enumerate(tensors.items()):
        strides = np.cumprod([1, *values.shape[:0:-1]])[::-1] if values.ndim else []
        parts += [_text(name), b"ctorch._utils\n_rebuild_tensor_v2\n((", _text("storage")]
        parts += [b"ctorch\n", _STORAGES[dtype].encode(), b"Storage\n", _text(str(index))]
        parts += [_text("cpu"), _integer(values.size), b"tQ", _integer(0)]
        parts += [_tuple(values.shape), _tuple(strides), b"\x89ccollections\nOrderedDict\n)RtR"]
    return b"".join([*parts, b"u."])


def torch_bytes(
    path: Path, tensors: Mapping[str, Array], dtype: Dtype = "f32", pickle: bytes | None = None
) -> None:
    """Return the file of `torch.save(state_dict)`, an uncompressed ZIP archive."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{path.stem}/data.pkl", pickle or torch_pickle(tensors, dtype))
        archive.writestr(f"{path.stem}/byteorder", b"little")
        for index, values in enumerate(tensors.values()):
            archive.writestr(f"{path.stem}/data/{index}", stored_bytes(values, dtype))
        archive.writestr(f"{path.stem}/version", b"3\n")


def write_peft(
    folder: Path,
    modules: Pairs,
    *,
    alpha: float,
    r: int,
    dtype: Dtype = "f32",
    config: Mapping[str, object] | None = None,
    storage: Literal["safetensors", "bin"] = "safetensors",
    tensors: Mapping[str, Array] | None = None,
    prefix: str = PREFIX,
) -> Path:
    """Write adapter_config.json and the weights as PEFT saves them; return the folder.

    `modules` maps a module's path (`model.layers.0.self_attn.q_proj`) to its A and B; those of an
    embedding get PEFT's names for embeddings. `tensors` adds tensors under their full names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fields = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "example/tiny",
        "r": r,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "inference_mode": True,
        "modules_to_save": None,
        "rank_pattern": {},
        "alpha_pattern": {},
        "use_rslora": False,
        "use_dora": False,
        "target_modules": sorted({path.rpartition(".")[2] for path in modules}),
        **(config or {}),
    }
    (folder / "adapter_config.json").write_text(json.dumps(fields, indent=2))
    named: dict[str, Array] = {}
    for path, (a, b) in modules.items():
        if path.endswith(_EMBEDDINGS):
            names = (f"{prefix}{path}.lora_embedding_A", f"{prefix}{path}.lora_embedding_B")
        else:
            names = (f"{prefix}{path}.lora_A.weight", f"{prefix}{path}.lora_B.weight")
        named.update(zip(names, (a, b), strict=True))
    named.update(tensors or {})
    if storage == "bin":
        torch_bytes(folder / "adapter_model.bin", named, dtype)
    else:
        content = safetensors_bytes(named, dtype, {"format": "pt"})
        (folder / "adapter_model.safetensors").write_bytes(content)
    return folder


def write_mlx(
    folder: Path,
    modules: Pairs,
    *,
    scale: float,
    r: int,
    dtype: Dtype = "f32",
    config: Mapping[str, object] | None = None,
    storage: Literal["safetensors", "npz"] = "safetensors",
) -> Path:
    """Write the folder of `mlx_lm.lora` from A and B in PEFT's orientation.

    Stores them transposed, except those of experts, which have three dimensions.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fields = {
        "model": "mlx-community/tiny",
        "fine_tune_type": "lora",
        "num_layers": 16,
        "lora_parameters": {"rank": r, "dropout": 0.0, "scale": scale},
        **(config or {}),
    }
    (folder / "adapter_config.json").write_text(json.dumps(fields, indent=4))
    tensors: dict[str, Array] = {}
    for path, (a, b) in modules.items():
        tensors[f"{path}.lora_a"] = a if a.ndim == 3 else a.T
        tensors[f"{path}.lora_b"] = b if b.ndim == 3 else b.T
    if storage == "npz":
        np.savez(folder / "adapters.npz", **tensors)  # type: ignore[arg-type]  # a stub's keyword
    else:
        (folder / "adapters.safetensors").write_bytes(safetensors_bytes(tensors, dtype))
    return folder


def pair(n_out: int, n_in: int, r: int, seed: int = 0) -> tuple[Array, Array]:
    """Return A (r, n_in) and B (n_out, r), float32, exact in bfloat16 too."""
    random = np.random.default_rng(seed)
    a = random.integers(-64, 64, (r, n_in)).astype(np.float32) / 64
    b = random.integers(-64, 64, (n_out, r)).astype(np.float32) / 64
    return a, b


def _text(text: str) -> bytes:
    raw = text.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def _integer(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def _tuple(values: Any) -> bytes:
    return b"(" + b"".join(_integer(int(value)) for value in values) + b"t"
