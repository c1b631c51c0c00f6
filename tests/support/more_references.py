"""Write the stored bases and adapters of further architectures as files."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.support.peft_folders import safetensors_bytes
from tests.support.seeded_values import lora_values

Array = NDArray[Any]

STORED = sorted((Path(__file__).parents[1] / "references" / "more").glob("*.npz"))
"""Made by tests/references/make_more_architectures.py."""


@dataclass(frozen=True, slots=True)
class Further:
    """One architecture, written as files."""

    base: Path
    """A GGUF file whose weights are a hole in a sparse file."""
    adapter: Path
    """A PEFT folder."""
    config: dict[str, Any]
    """The base's config.json."""
    n_in_tower: int
    """Number of adapter modules that belong to a vision tower."""
    sketches: dict[str, Array]
    """Sketches of each tensor's merged delta, as `<tensor>.rows` and `<tensor>.columns`."""


def written(path: Path, folder: Path) -> Further:
    """Write the base and adapter stored in one of `STORED` into a folder."""
    with np.load(path) as stored:
        arrays = dict(stored)
    described = json.loads(arrays.pop("described").tobytes())
    base = folder / "base.gguf"
    with base.open("wb") as file:
        file.write(arrays.pop("base_header").tobytes())
        file.truncate(described["base_size_bytes"])
    names: dict[str, tuple[str, list[int]]] = described["tensors"]
    adapter = folder / "adapter"
    adapter.mkdir()
    config = json.dumps(described["adapter_config"])
    (adapter / "adapter_config.json").write_text(config, encoding="utf-8")
    tensors = {name: lora_values(seed, tuple(shape)) for name, (seed, shape) in names.items()}
    (adapter / "adapter_model.safetensors").write_bytes(safetensors_bytes(tensors))
    n_in_tower = sum(re.search("visual|vision|projector", name) is not None for name in names) // 2
    return Further(base, adapter, described["config"], n_in_tower, arrays)
