"""Write GGUF files with arbitrary, even false, contents, independently of the tested reader."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import gguf
import numpy as np
from numpy.typing import NDArray

from engine.gguf.metadata import ValueType

_FORMATS = {
    ValueType.UINT8: "<B",
    ValueType.INT8: "<b",
    ValueType.UINT16: "<H",
    ValueType.INT16: "<h",
    ValueType.UINT32: "<I",
    ValueType.INT32: "<i",
    ValueType.FLOAT32: "<f",
    ValueType.BOOL: "<?",
    ValueType.UINT64: "<Q",
    ValueType.INT64: "<q",
    ValueType.FLOAT64: "<d",
}


@dataclass(frozen=True, slots=True)
class RawValue:
    """A metadata value with its stored type."""

    type: ValueType
    value: Any
    element_type: ValueType | None = None

    def encode(self) -> bytes:
        """Return the bytes of the value's type and content."""
        head = struct.pack("<I", self.type)
        if self.type is not ValueType.ARRAY:
            return head + _scalar(self.type, self.value)
        assert self.element_type is not None
        elements = b"".join(_scalar(self.element_type, element) for element in self.value)
        return head + struct.pack("<IQ", self.element_type, len(self.value)) + elements


def text(value: str | bytes) -> RawValue:
    """Return a string value."""
    return RawValue(ValueType.STRING, value)


@dataclass(frozen=True, slots=True)
class RawTensor:
    """A tensor with its data; `shape` is in ggml's order, row length first."""

    shape: tuple[int, ...]
    type: int
    data: bytes
    offset: int | None = None
    """Offset to write in the header; by default the true one."""


def tensor_of(array: NDArray[Any]) -> RawTensor:
    """Return a tensor of float32, float16 or int32 values."""
    types = {"float32": 0, "float16": 1, "int32": 26}
    return RawTensor(array.shape[::-1], types[array.dtype.name], array.tobytes())


@dataclass(slots=True)
class RawGguf:
    """The parts of a GGUF file, which tests change and write."""

    metadata: dict[str, RawValue] = field(default_factory=dict)
    tensors: dict[str, RawTensor] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the parts of a valid file."""
        reader = gguf.GGUFReader(path)
        metadata = {}
        for key, part in reader.fields.items():
            if key.startswith("GGUF."):
                continue
            types = [ValueType(int(kind)) for kind in part.types]
            element_type = types[1] if len(types) > 1 else None
            metadata[key] = RawValue(types[0], part.contents(), element_type)
        tensors = {
            tensor.name: RawTensor(
                tuple(int(n) for n in tensor.shape),
                int(tensor.tensor_type),
                np.ascontiguousarray(tensor.data).tobytes(),
            )
            for tensor in reader.tensors
        }
        return cls(metadata, tensors)

    def write(self, path: Path) -> Path:
        """Write the file and return its path."""
        path.write_bytes(gguf_bytes(tuple(self.metadata.items()), tuple(self.tensors.items())))
        return path

    def replace_array(self, name: str, array: NDArray[Any]) -> None:
        """Replace the tensor `name` by an array, or add it."""
        self.tensors[name] = tensor_of(array)


def gguf_bytes(
    metadata: Sequence[tuple[str | bytes, RawValue]] = (),
    tensors: Sequence[tuple[str | bytes, RawTensor]] = (),
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    n_tensors: int | None = None,
    n_keys: int | None = None,
    alignment: int = 32,
) -> bytes:
    """Return the bytes of a GGUF file; the header's counts are true unless given."""
    out = bytearray(magic)
    out += struct.pack("<I", version)
    out += struct.pack("<Q", len(tensors) if n_tensors is None else n_tensors)
    out += struct.pack("<Q", len(metadata) if n_keys is None else n_keys)
    for key, value in metadata:
        out += _string(key) + value.encode()
    data = bytearray()
    for name, tensor in tensors:
        out += _string(name) + struct.pack("<I", len(tensor.shape))
        out += b"".join(struct.pack("<Q", length) for length in tensor.shape)
        offset = len(data) if tensor.offset is None else tensor.offset
        out += struct.pack("<IQ", tensor.type, offset)
        data += tensor.data
        data += bytes(-len(data) % alignment)
    out += bytes(-len(out) % alignment)
    return bytes(out + data)


def values_of(metadata: Mapping[str, RawValue]) -> dict[str, Any]:
    """Return the plain values by key."""
    return {key: value.value for key, value in metadata.items()}


def _scalar(kind: ValueType, value: Any) -> bytes:
    return _string(value) if kind is ValueType.STRING else struct.pack(_FORMATS[kind], value)


def _string(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data
