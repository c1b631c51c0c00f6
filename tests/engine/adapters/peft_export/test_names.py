"""An adapter written as a PEFT folder has the modules again that it had before it was GGUF.

Compared by name and delta, without torch: what PEFT does with such a folder is tested where torch
is (tests/references).
"""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.adapters.conversion.convert import convert
from engine.adapters.peft_export.export import write_peft_folder
from engine.adapters.read import read_adapter
from engine.adapters.scaled_adapter import part_of
from engine.gguf.ggml_type import GgmlType
from engine.gguf.model_header import require_base
from tests.support.architecture_references import DATA, NAMES
from tests.support.more_references import STORED, written

Floats = NDArray[np.float32]

N_EXPERT = 4
TOLERANCE = 1e-5
NAMELESS = ("falcon-h1", "hunyuan-moe", "llama4")
"""Of which it is not known what transformers calls every module: they stay GGUF."""
VISION = ("gemma3-vision", "glm4v", "llava", "qwen25vl", "qwen2vl", "qwen35-vision", "qwen3vl")
"""Whose GGUF base does not say that there was a vision tower."""
FURTHER = [path for path in STORED if path.stem not in (*NAMELESS, *VISION)]


@pytest.mark.parametrize("name", NAMES)
def test_the_modules_of_an_architecture(name: str, tmp_path: Path) -> None:
    folder = DATA / name
    require_round_trip(folder / "plain", folder / "base.gguf", None, tmp_path)


@pytest.mark.parametrize("path", FURTHER, ids=lambda path: path.stem)
def test_the_modules_of_a_further_architecture(path: Path, tmp_path: Path) -> None:
    further = written(path, tmp_path)
    require_round_trip(further.adapter, further.base, further.config, tmp_path)


def require_round_trip(
    adapter: Path, base: Path, config: dict[str, Any] | None, folder: Path
) -> None:
    """Convert an adapter, write it as a PEFT folder, and compare the two folders."""
    made = convert(adapter, base, folder / "adapter.gguf", out_type="f32", config=config)
    part = part_of(read_adapter(made.path), 1.0)
    write_peft_folder([part], require_base(base), folder / "out", type_=GgmlType.F32)
    before, after = deltas_in(adapter), deltas_in(folder / "out")
    assert set(after) == set(before)
    for module, delta in before.items():
        assert np.abs(delta).max() > 100 * TOLERANCE
        np.testing.assert_allclose(after[module], delta, rtol=0, atol=TOLERANCE)


def deltas_in(folder: Path) -> dict[str, Floats]:
    """Return the delta of every module of a PEFT folder, by the name in its weights' file.

    Of the parameter of all experts it is (n_experts, n_out, n_in).
    """
    config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    tensors = stored(folder / "adapter_model.safetensors")
    deltas = {}
    for name, a in tensors.items():
        if not name.endswith(".lora_A.weight"):
            continue
        module = name.removesuffix(".lora_A.weight")
        b = tensors[f"{module}.lora_B.weight"]
        if re.search(r"experts(\.base_layer)?$", module):
            rank = len(a) // N_EXPERT
            a = a.reshape(N_EXPERT, rank, -1)
            b = b.reshape(len(b), rank, N_EXPERT).transpose(2, 0, 1)
        deltas[module] = scale_of(module, config) * (b @ a)
    return deltas


def scale_of(module: str, config: dict[str, Any]) -> float:
    """Return alpha / rank, with those of the patterns where one matches."""

    def value(pattern: str, default: str) -> float:
        for key, number in config[pattern].items():
            if re.match(rf"(.*\.)?({key})$", module):
                return float(number)
        return float(config[default])

    assert not config["use_rslora"]
    return value("alpha_pattern", "lora_alpha") / value("rank_pattern", "r")


def stored(path: Path) -> dict[str, Floats]:
    """Return the float32 tensors of a file, of which no two may have one name."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    entries = json.loads(content[8 : 8 + length], object_pairs_hook=list)
    data = content[8 + length :]
    tensors = {}
    for name, fields in entries:
        if name != "__metadata__":
            entry = dict(fields)
            start, end = entry["data_offsets"]
            assert entry["dtype"] == "F32"
            assert name not in tensors
            tensors[name] = np.frombuffer(data[start:end], "<f4").reshape(entry["shape"])
    return tensors
