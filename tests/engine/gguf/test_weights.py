"""A tensor's data as stored and as floats, whatever its type."""

from __future__ import annotations

import os
from pathlib import Path

import gguf
import numpy as np
import pytest

from engine.errors import AdapterError, GgufError
from engine.gguf.header import read_header
from engine.gguf.weights import WeightFile
from tests.support.dense_delta import tensors_of
from tests.support.gguf_raw import RawGguf, RawTensor
from tests.support.tiny_models import Dtype, write_adapter, write_base


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("weights") / "base.gguf", architecture="mixtral")


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "q8_0"])
def test_values_are_those_of_the_gguf_package(base: Path, tmp_path: Path, dtype: Dtype) -> None:
    path = write_adapter(tmp_path / "a.gguf", base, dtype=dtype)
    header = read_header(path)
    expected = tensors_of(path)
    with WeightFile(header) as file:
        for name, tensor in header.tensors.items():
            values = file.values(tensor)
            assert values.dtype == np.float32
            assert np.array_equal(values, expected[name]), name


def test_a_k_quant_is_dequantised_too(base: Path, tmp_path: Path) -> None:
    path = write_adapter(tmp_path / "a.gguf", base, targets=["attn_q"], rank=256)
    raw = RawGguf.read(path)
    name = "blk.0.attn_q.weight.lora_b"
    n_out = raw.tensors[name].shape[1]
    data = np.random.default_rng(0).integers(0, 60, n_out * 210, dtype=np.uint8).tobytes()
    raw.tensors[name] = RawTensor((256, n_out), gguf.GGMLQuantizationType.Q6_K, data)
    raw.write(path)
    header = read_header(path)
    with WeightFile(header) as file:
        assert np.array_equal(file.values(header.tensors[name]), tensors_of(path)[name])


def test_stored_bytes_can_be_read_in_part(base: Path, tmp_path: Path) -> None:
    path = write_adapter(tmp_path / "a.gguf", base)
    header = read_header(path)
    tensor = list(header.tensors.values())[3]
    with WeightFile(header) as file:
        part = file.read(tensor, 8, 16).tobytes()
    assert part == path.read_bytes()[tensor.offset + 8 : tensor.offset + 24]


def test_a_type_without_values_is_refused_in_words(base: Path, tmp_path: Path) -> None:
    path = write_adapter(tmp_path / "a.gguf", base, targets=["attn_q"])
    raw = RawGguf.read(path)
    name = "blk.0.attn_q.weight.lora_a"
    raw.tensors[name] = RawTensor((64, 4), gguf.GGMLQuantizationType.I32, bytes(64 * 4 * 4))
    raw.write(path)
    header = read_header(path)
    with WeightFile(header) as file, pytest.raises(AdapterError, match="Weights of type I32"):
        file.values(header.tensors[name])


def test_a_file_replaced_after_its_header_was_read_is_refused(base: Path, tmp_path: Path) -> None:
    path = write_adapter(tmp_path / "a.gguf", base)
    header = read_header(path)
    write_adapter(path, base, seed=9)
    os.utime(path, ns=(0, 0))
    with pytest.raises(GgufError, match="changed since its header was read"):
        WeightFile(header)


def test_a_file_cut_short_while_it_is_open_is_an_error_not_a_crash(
    base: Path, tmp_path: Path
) -> None:
    path = write_adapter(tmp_path / "a.gguf", base)
    header = read_header(path)
    last = list(header.tensors.values())[-1]
    with WeightFile(header) as file:
        os.truncate(path, last.offset + 1)
        with pytest.raises(GgufError, match="cut short"):
            file.read(last)
        with pytest.raises(GgufError, match="changed"):
            file.require_unchanged()
