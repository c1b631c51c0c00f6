"""One adapter in the spellings of other trainers becomes the same tensors.

Which tensors those are is decided elsewhere: by PEFT's logits and llama.cpp's own converter.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.adapters.conversion.convert import convert
from tests.support.architecture_references import DATA
from tests.support.expert_modules import PREFIX, expert_pairs, with_expert_modules
from tests.support.peft_folders import safetensors_bytes, write_mlx

Floats = NDArray[np.float32]
Tensors = dict[str, tuple[list[int], bytes]]


N_EXPERT, RANK, SCALE = 4, 4, 2.0

RENAMED: dict[str, Callable[[str], str]] = {
    "compiled by torch": lambda name: name.replace(PREFIX, f"{PREFIX}_orig_mod."),
    "sharded by FSDP": lambda name: name.replace(PREFIX, f"{PREFIX}_fsdp_wrapped_module."),
    "a raw state dict": lambda name: name.replace(".weight", ".default.weight"),
    "an adapter named lora": lambda name: name.replace(".lora_", "_"),
    "an adapter of any name": lambda name: name.replace(".weight", ".my_adapter.v2.weight"),
    "data parallelism inside PEFT": lambda name: name.replace(PREFIX, f"{PREFIX}module."),
    "each layer compiled and wrapped": lambda name: name.replace(
        ".self_attn", ".module._orig_mod.self_attn"
    ),
    "wrapped twice": lambda name: PREFIX + name,
    "the text part of a vision model": lambda name: name.replace(
        "model.layers", "model.language_model.layers"
    ),
    "the text part of a vision model before transformers 4.52": lambda name: name.replace(
        "model.layers", "language_model.model.layers"
    ),
}


@pytest.mark.parametrize("rename", RENAMED.values(), ids=RENAMED)
def test_names_with_the_wrappings_of_a_trainer(
    rename: Callable[[str], str], tmp_path: Path
) -> None:
    tensors = {rename(name): values for name, values in stored("llama").items()}
    folder = peft_folder(tmp_path / "spelled", "llama", tensors)
    assert converted(folder, "llama", tmp_path) == plain("llama", tmp_path)


def test_a_checkpoint_with_the_state_of_the_training(tmp_path: Path) -> None:
    folder = peft_folder(tmp_path / "checkpoint-500", "llama", stored("llama"))
    for name in ("optimizer.pt", "training_args.bin", "rng_state.pth", "scheduler.pt"):
        (folder / name).write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    (folder / "trainer_state.json").write_text("{}", encoding="utf-8")
    assert converted(folder, "llama", tmp_path) == plain("llama", tmp_path)


def test_modules_named_by_a_pattern_and_a_base_in_four_bits(tmp_path: Path) -> None:
    """Unsloth writes both."""
    changes = {
        "target_modules": "(?:.*?(?:self_attn|mlp).*?(?:q_proj|v_proj|up_proj).*?)",
        "base_model_name_or_path": "unsloth/tiny-bnb-4bit",
        "task_type": "CAUSAL_LM",
    }
    folder = peft_folder(tmp_path / "unsloth", "llama", stored("llama"), changes)
    assert converted(folder, "llama", tmp_path) == plain("llama", tmp_path)


@pytest.mark.parametrize("storage", ["safetensors", "npz"])
def test_mlx_stores_the_factors_transposed(storage: Any, tmp_path: Path) -> None:
    pairs = {module: (a, b) for module, (a, b) in pairs_of(stored("llama")).items()}
    folder = write_mlx(tmp_path / "mlx", pairs, scale=SCALE, r=RANK, storage=storage)
    assert converted(folder, "llama", tmp_path) == plain("llama", tmp_path)


@pytest.mark.parametrize(
    ("name", "block", "projections"),
    [
        ("mixtral", "block_sparse_moe", ("w1", "w3", "w2")),
        ("qwen3moe", "mlp", ("gate_proj", "up_proj", "down_proj")),
    ],
)
def test_experts_as_modules_of_their_own(
    name: str, block: str, projections: tuple[str, str, str], tmp_path: Path
) -> None:
    """So they were until transformers 5."""
    tensors = with_expert_modules(
        stored(name), block, projections, n_layers=2, n_experts=N_EXPERT, rank=RANK
    )
    changes = {"target_parameters": None}
    folder = peft_folder(tmp_path / "experts", name, tensors, changes)
    assert converted(folder, name, tmp_path) == plain(name, tmp_path)


@pytest.mark.parametrize("is_shared", [False, True])
def test_experts_of_tinker(tmp_path: Path, is_shared: bool) -> None:
    """One tensor of three dimensions for all experts; the side of the model's width is shared."""
    plain_tensors = stored("qwen3moe")
    tensors = {name: values for name, values in plain_tensors.items() if ".experts." not in name}
    apart = {}
    for layer in range(2):
        pairs = expert_pairs(plain_tensors, layer, n_experts=N_EXPERT, rank=RANK)
        path = f"{PREFIX}model.layers.{layer}.mlp.experts"
        for part, (a, b) in zip(("w1", "w3", "w2"), pairs, strict=True):
            if is_shared:
                a, b = (a, b[:1]) if part == "w2" else (a[:1], b)
            tensors[f"{path}.{part}.lora_A.weight"] = a
            tensors[f"{path}.{part}.lora_B.weight"] = b
            name = {"w1": "gate_proj", "w3": "up_proj", "w2": "down_proj"}[part]
            for n in range(N_EXPERT):
                apart[f"{path}.{n}.{name}.lora_A.weight"] = a[n % len(a)]
                apart[f"{path}.{n}.{name}.lora_B.weight"] = np.ascontiguousarray(b[n % len(b)])
    changes = {"target_parameters": None}
    tinker = peft_folder(tmp_path / "tinker", "qwen3moe", tensors, changes)
    rest = {name: values for name, values in tensors.items() if ".experts." not in name}
    modules = peft_folder(tmp_path / "modules", "qwen3moe", {**rest, **apart}, changes)
    assert converted(tinker, "qwen3moe", tmp_path) == converted(modules, "qwen3moe", tmp_path)


def test_experts_of_mlx(tmp_path: Path) -> None:
    attention = {k: v for k, v in stored("qwen3moe").items() if ".experts." not in k}
    pairs: dict[str, tuple[Floats, Floats]] = dict(pairs_of(attention))
    for layer in range(2):
        parts = ("gate_proj", "up_proj", "down_proj")
        found = expert_pairs(stored("qwen3moe"), layer, n_experts=N_EXPERT, rank=RANK)
        for part, pair in zip(parts, found, strict=True):
            pairs[f"model.layers.{layer}.mlp.switch_mlp.{part}"] = pair
    folder = write_mlx(tmp_path / "mlx", pairs, scale=SCALE, r=RANK)
    assert converted(folder, "qwen3moe", tmp_path) == plain("qwen3moe", tmp_path)


def stored(name: str) -> dict[str, Floats]:
    """Return the tensors of an architecture's plain adapter."""
    content = (DATA / name / "plain" / "adapter_model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    data = content[8 + length :]
    tensors = {}
    for key, entry in json.loads(content[8 : 8 + length]).items():
        if key != "__metadata__":
            start, end = entry["data_offsets"]
            tensors[key] = np.frombuffer(data[start:end], "<f4").reshape(entry["shape"])
    return tensors


def pairs_of(tensors: dict[str, Floats]) -> dict[str, tuple[Floats, Floats]]:
    """Return A and B by module, without PEFT's prefix."""
    ending = ".lora_A.weight"
    return {
        name.removeprefix(PREFIX).removesuffix(ending): (a, tensors[name.replace("_A.", "_B.")])
        for name, a in tensors.items()
        if name.endswith(ending)
    }


def peft_folder(
    folder: Path, name: str, tensors: dict[str, Floats], changes: dict[str, Any] | None = None
) -> Path:
    """Write a folder with the plain adapter's configuration and these tensors."""
    shutil.copytree(DATA / name / "plain", folder)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text("utf-8")) | (changes or {})
    path.write_text(json.dumps(config), encoding="utf-8")
    (folder / "adapter_model.safetensors").write_bytes(safetensors_bytes(tensors))
    return folder


def plain(name: str, folder: Path) -> Tensors:
    """Return what the stored adapter becomes."""
    return converted(DATA / name / "plain", name, folder)


def converted(source: Path, name: str, folder: Path) -> Tensors:
    """Return shape and bytes of every tensor a folder is converted to, and the alpha."""
    out = folder / f"{source.name}.gguf"
    convert(source, DATA / name / "base.gguf", out, out_type="f32")
    reader = gguf.GGUFReader(out)
    tensors = {
        str(tensor.name): (tensor.shape.tolist(), tensor.data.tobytes())
        for tensor in reader.tensors
    }
    return {**tensors, "alpha": ([], bytes(reader.fields["adapter.lora.alpha"].parts[-1]))}
