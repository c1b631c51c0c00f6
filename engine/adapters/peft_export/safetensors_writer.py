"""Write safetensors files tensor by tensor, without the safetensors package.

Source of the format: the README of huggingface/safetensors. Eight bytes with the length of the
header, the header as JSON, then the data without gaps. Like the package's own writer, pads the
header with spaces to a multiple of 8 bytes and sorts tensors by type, widest first, then by name,
so that every tensor is aligned.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

DtypeName = Literal["F32", "F16", "BF16"]
ITEM_BYTES: Final[dict[DtypeName, int]] = {"F32": 4, "F16": 2, "BF16": 2}
_ALIGNMENT: Final = 8


@dataclass(frozen=True, slots=True)
class SafeTensor:
    """A tensor to write, whose data is requested when it is its turn."""

    name: str
    shape: tuple[int, ...]
    """Shape in numpy's order."""
    dtype: DtypeName
    size_bytes: int
    chunks: Callable[[], Iterable[bytes]]
    """Yields the data in order."""


def write_safetensors(
    path: Path, tensors: Iterable[SafeTensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file; equal arguments give equal bytes.

    Not atomic: the caller writes to a temporary name or folder and renames it. Raises `OSError` if
    the file cannot be written, `ValueError` if a tensor's data differs from its `size_bytes`.
    """
    ordered = sorted(tensors, key=lambda tensor: (-ITEM_BYTES[tensor.dtype], tensor.name))
    header: dict[str, object] = {"__metadata__": dict(sorted((metadata or {}).items()))}
    end = 0
    for tensor in ordered:
        start, end = end, end + tensor.size_bytes
        header[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": tensor.shape,
            "data_offsets": (start, end),
        }
    encoded = msgspec.json.encode(header)
    encoded += b" " * (-len(encoded) % _ALIGNMENT)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        for tensor in ordered:
            n_written = sum(file.write(chunk) for chunk in tensor.chunks())
            if n_written != tensor.size_bytes:
                raise ValueError(f"{tensor.name} gave {n_written} of {tensor.size_bytes} bytes")
