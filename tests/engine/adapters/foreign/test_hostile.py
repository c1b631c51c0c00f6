"""Whatever a file holds, reading it ends in an adapter or in one sentence, and nothing else."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.adapters.foreign.read import read_source
from engine.errors import AdapterError, EngineError
from tests.support.gguf_large import peak_memory
from tests.support.peft_folders import PREFIX, pair, write_mlx, write_peft

Q = "model.layers.0.self_attn.q_proj"
SEED = 20_240_501


def peft(folder: Path) -> Path:
    return write_peft(folder, {Q: pair(6, 4, 2)}, alpha=4, r=2) / "adapter_model.safetensors"


def torch(folder: Path) -> Path:
    write_peft(folder, {Q: pair(6, 4, 2)}, alpha=4, r=2, storage="bin")
    return folder / "adapter_model.bin"


def npz(folder: Path) -> Path:
    return write_mlx(folder, {Q: pair(6, 4, 2)}, scale=2, r=2, storage="npz") / "adapters.npz"


def configuration(folder: Path) -> Path:
    return peft(folder).with_name("adapter_config.json")


def experts(folder: Path) -> Path:
    a, b = pair(6, 4, 6)
    names = (
        f"{PREFIX}model.layers.0.mlp.experts.lora_A.weight",
        f"{PREFIX}model.layers.0.mlp.experts.lora_B.weight",
    )
    write_peft(folder, {}, alpha=4, r=2, tensors=dict(zip(names, (a, b), strict=True)))
    return folder / "adapter_model.safetensors"


def changed(content: bytes) -> Iterator[bytes]:
    """Return the content with every byte changed, and cut at every third position."""
    noise = random.Random(SEED)
    for at in range(len(content)):
        if at % 3 == 0:
            yield content[:at]
        yield content[:at] + bytes([noise.randrange(256)]) + content[at + 1 :]


# An instruction of old pickles makes Python's own `pickletools` unescape damaged text.
@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")
@pytest.mark.parametrize("write", [peft, torch, npz, configuration, experts])
def test_no_change_of_a_byte_and_no_cut_raises_anything_else(
    tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    path = write(tmp_path)
    n_refused = n_read = 0
    for content in changed(path.read_bytes()):
        path.write_bytes(content)
        try:
            source = read_source(tmp_path)
            for module in source.modules:
                assert module.a.read().shape == module.a.shape
                assert module.b.read().shape == module.b.shape
                assert module.a.shape[-2] == module.b.shape[-1] == module.rank
                assert np.isfinite(module.scale)
            n_read += 1
        except EngineError as error:
            message = str(error)
            assert message.endswith(".")
            assert message.isprintable()
            n_refused += 1
    assert n_refused > 100
    assert n_read > 10


def test_many_tensors_take_memory_in_proportion(tmp_path: Path) -> None:
    paths = [f"model.layers.{index}.mlp.up_proj" for index in range(2000)]
    write_peft(tmp_path, dict.fromkeys(paths, pair(6, 4, 2)), alpha=4, r=2)
    n_bytes = (tmp_path / "adapter_model.safetensors").stat().st_size
    with peak_memory() as peak:
        read_source(tmp_path)
    assert peak.n_bytes < 20 * n_bytes


def test_a_tensor_of_a_terabyte_is_not_read_to_know_its_shape(tmp_path: Path) -> None:
    n_in = 1 << 36
    header = json.dumps(
        {
            f"{PREFIX}{Q}.lora_A.weight": {
                "dtype": "F32",
                "shape": [2, n_in],
                "data_offsets": [0, 8 * n_in],
            },
        }
    ).encode()
    path = peft(tmp_path)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 8 * n_in)
    with pytest.raises(AdapterError, match="lacks lora_B"):
        read_source(tmp_path)
