"""The stored references are what transformers and PEFT compute today."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
STORED = Path(__file__).parent / "data"
LIMIT_S = 600


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("references")
    subprocess.run(
        [sys.executable, "-m", "tests.references.make_references", str(folder)],
        cwd=ROOT,
        check=True,
        timeout=LIMIT_S,
    )
    return folder


@pytest.mark.reference
def test_the_logits_are_the_same(computed: Path) -> None:
    ours, theirs = np.load(STORED / "logits.npy"), np.load(computed / "logits.npy")
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-5)


@pytest.mark.reference
def test_the_prompts_and_stacks_are_the_same(computed: Path) -> None:
    ours, theirs = (
        json.loads((folder / "references.json").read_text("utf-8")) for folder in (STORED, computed)
    )
    del ours["made_with"], theirs["made_with"]
    assert theirs == ours


@pytest.mark.reference
@pytest.mark.parametrize("name", ["base", "first", "second"])
def test_the_weights_are_the_same(computed: Path, name: str) -> None:
    ours = gguf.GGUFReader(STORED / f"{name}.gguf")
    theirs = gguf.GGUFReader(computed / f"{name}.gguf")
    assert [tensor.name for tensor in theirs.tensors] == [tensor.name for tensor in ours.tensors]
    for mine, other in zip(ours.tensors, theirs.tensors, strict=True):
        np.testing.assert_array_equal(other.data, mine.data)
    assert {key: part.contents() for key, part in theirs.fields.items()} == {
        key: part.contents() for key, part in ours.fields.items()
    }
