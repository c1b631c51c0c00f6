"""Written safetensors files are read back by the format's rules alone."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.adapters.peft_export.safetensors_writer import SafeTensor, write_safetensors
from tests.support.stored_folders import read_safetensors

WIDE = np.arange(6, dtype=np.float32).reshape(2, 3)
NARROW = np.arange(5, dtype=np.float16)


def tensors() -> list[SafeTensor]:
    def halves(data: bytes) -> Iterator[bytes]:
        yield data[:4]
        yield data[4:]

    return [
        SafeTensor("b.narrow", (5,), "F16", 10, lambda: halves(NARROW.tobytes())),
        SafeTensor("z.wide", (2, 3), "F32", 24, lambda: halves(WIDE.tobytes())),
        SafeTensor("a.wide", (2, 3), "F32", 24, lambda: [(WIDE + 1).tobytes()]),
    ]


def test_tensors_come_back(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "x.safetensors", tensors(), {"format": "pt"})
    found = read_safetensors(tmp_path / "x.safetensors")
    assert set(found) == {"a.wide", "z.wide", "b.narrow"}
    np.testing.assert_array_equal(found["a.wide"], WIDE + 1)
    np.testing.assert_array_equal(found["z.wide"], WIDE)
    np.testing.assert_array_equal(found["b.narrow"], NARROW)


def test_data_lie_aligned_without_gaps_the_widest_first(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "x.safetensors", tensors(), {"format": "pt"})
    data = (tmp_path / "x.safetensors").read_bytes()
    (n_header,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + n_header])
    assert n_header % 8 == 0
    assert len(data) == 8 + n_header + 58
    assert header.pop("__metadata__") == {"format": "pt"}
    offsets = {name: entry["data_offsets"] for name, entry in header.items()}
    assert offsets == {"a.wide": [0, 24], "z.wide": [24, 48], "b.narrow": [48, 58]}


@pytest.mark.parametrize("size_bytes", [8, 12])
def test_a_tensor_that_gives_other_than_it_said_is_no_file(size_bytes: int, tmp_path: Path) -> None:
    wrong = SafeTensor("x", (5,), "F16", size_bytes, lambda: [NARROW.tobytes()])
    with pytest.raises(ValueError, match=f"x gave 10 of {size_bytes} bytes"):
        write_safetensors(tmp_path / "x.safetensors", [wrong])
