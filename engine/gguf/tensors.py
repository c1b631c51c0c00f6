"""Read the tensor table of a GGUF header: each tensor's name, shape, type and position."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.errors import GgufError
from engine.gguf.cursor import FileCursor
from engine.gguf.ggml_type import GgmlType
from modelfiles.wording import shown

MAX_TENSOR_NAME_BYTES: Final = 63
"""`GGML_MAX_NAME` is 64 with the terminating zero."""
MAX_DIMENSIONS: Final = 4
MAX_ELEMENTS: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Position, shape and type of one tensor, without its data."""

    name: str
    shape: tuple[int, ...]
    """Shape in ggml's order `ne`: row length first, 0 to 4 numbers."""
    type: GgmlType
    offset: int
    """Position of the data in `path`, in bytes."""
    size_bytes: int
    path: Path
    """File that holds the data; a shard if the model is split."""

    @property
    def ne(self) -> tuple[int, int, int, int]:
        """The shape as ggml holds it: four numbers, padded with ones."""
        ne = (*self.shape, 1, 1, 1, 1)
        return ne[0], ne[1], ne[2], ne[3]


def read_tensors(
    cursor: FileCursor, n_tensors: int, alignment: int
) -> tuple[dict[str, TensorInfo], int]:
    """Read the tensor table; return it and the file position where the data begins.

    Raises `GgufError` unless the tensors are contiguous in the file, each aligned.
    """
    entries: dict[str, tuple[tuple[int, ...], GgmlType, int, int]] = {}
    expected_offset = 0
    for index in range(n_tensors):
        name = cursor.name(MAX_TENSOR_NAME_BYTES, f"the name of tensor {index}")
        if name in entries:
            raise cursor.damaged(f"it has the tensor {shown(name)} twice")
        shape = _read_shape(cursor, name)
        type_ = _ggml_type(cursor, name)
        try:
            size_bytes = type_.size_bytes(shape)
        except ValueError as error:
            raise cursor.damaged(f"tensor {shown(name)} of type {type_.name} has {error}") from None
        offset = cursor.u64(f"the offset of tensor {shown(name)}")
        if offset != expected_offset:  # llama.cpp takes tensors in order, aligned, without gaps
            raise cursor.damaged(
                f"tensor {shown(name)} has the offset {offset} where {expected_offset} is due"
            )
        expected_offset += padded(size_bytes, alignment)
        entries[name] = (shape, type_, offset, size_bytes)
    data_offset = padded(cursor.position, alignment)
    if n_tensors:
        cursor.skip(data_offset - cursor.position, "the tensor table")
    tensors: dict[str, TensorInfo] = {}
    for name, (shape, type_, offset, size_bytes) in entries.items():
        start = data_offset + offset
        if start + size_bytes > cursor.stamp.size_bytes:
            raise GgufError(
                f"is cut short: tensor {shown(name)} ends at byte "
                f"{start + size_bytes}, but the file has {cursor.stamp.size_bytes} bytes; "
                "download or copy it again.",
                cursor.path,
            )
        tensors[name] = TensorInfo(name, shape, type_, start, size_bytes, cursor.path)
    return tensors, data_offset


def _read_shape(cursor: FileCursor, name: str) -> tuple[int, ...]:
    what = f"the shape of tensor {shown(name)}"
    n_dimensions = cursor.u32(what)
    if n_dimensions > MAX_DIMENSIONS:
        raise cursor.damaged(f"tensor {shown(name)} has {n_dimensions} dimensions, at most 4 exist")
    shape = tuple(cursor.u64(what) for _ in range(n_dimensions))
    n_elements = 1
    for length in shape:
        n_elements *= max(length, 1)
    if n_elements >= MAX_ELEMENTS:
        raise cursor.damaged(f"tensor {shown(name)} claims the shape {shape}")
    return shape


def _ggml_type(cursor: FileCursor, name: str) -> GgmlType:
    number = cursor.u32(f"the type of tensor {shown(name)}")
    try:
        return GgmlType(number)
    except ValueError:
        raise GgufError(
            f"stores tensor {shown(name)} in the unknown type {number}: it is damaged, or made for "
            "a newer or another program.",
            cursor.path,
        ) from None


def padded(n_bytes: int, alignment: int) -> int:
    """Return `n_bytes` rounded up to the next multiple of `alignment`."""
    return (n_bytes + alignment - 1) // alignment * alignment
