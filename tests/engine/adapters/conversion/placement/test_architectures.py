"""A converted adapter in llama.cpp answers what PEFT computed, in every architecture.

The references are tiny random models (tests/references/make_architectures.py). Where they were made
their bases alone differ by at most 4e-6 between transformers and llama.cpp, and by 2e-5 with an
adapter, which changes logits by 0.2 to 5.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import gguf
import pytest

from engine.adapters.conversion.convert import convert
from tests.support.architecture_references import DATA, NAMES, reference

ADAPTERS = sorted(path.parent for path in DATA.glob("*/*/adapter_config.json"))
OFFICIAL = sorted(path.parent.name for path in DATA.glob("*/official.json"))

N_ARCHITECTURES = 23
TOLERANCE = 1e-4


def test_every_architecture_has_both_adapters() -> None:
    assert len(NAMES) == N_ARCHITECTURES
    for kind in ("plain", "scaled"):
        assert [path.parent.name for path in ADAPTERS if path.name == kind] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_base_alone_agrees(name: str) -> None:
    stored = reference(name)
    assert stored.error("base", stored.base) < TOLERANCE


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_the_converted_adapter_agrees_with_peft(adapter: Path, tmp_path: Path) -> None:
    stored = reference(adapter.parent.name)
    assert stored.effect(adapter.name) > 1000 * TOLERANCE
    out = tmp_path / "adapter.gguf"
    convert(adapter, stored.base, out, out_type="f32")
    base_error = stored.error("base", stored.base)
    assert stored.error(adapter.name, stored.base, out) < TOLERANCE + base_error


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_tensors_are_those_of_llama_cpps_converter(name: str, tmp_path: Path) -> None:
    out = tmp_path / "adapter.gguf"
    convert(DATA / name / "plain", DATA / name / "base.gguf", out, out_type="f32")
    found = {
        str(tensor.name): {
            "shape": [int(n) for n in reversed(tensor.shape)],
            "sha256": hashlib.sha256(tensor.data.tobytes()).hexdigest(),
        }
        for tensor in gguf.GGUFReader(out).tensors
    }
    assert found == json.loads((DATA / name / "official.json").read_text("utf-8"))
