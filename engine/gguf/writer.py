"""Write GGUF files front to back: metadata, tensor table, then each tensor's data in order.

`gguf.GGUFWriter` holds every tensor until the end or copies it to a temporary file. This module
writes a tensor in chunks and copies metadata byte for byte from another file's header. Source of
the format: ggml's `docs/gguf.md`. Version 3, little-endian, alignment 32.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, Final

from engine.disk.regular_file import open_regular
from engine.disk.whole_output import new_file, write_whole
from engine.errors import GgufError
from engine.gguf.ggml_type import GgmlType
from engine.gguf.header import GgufHeader
from engine.gguf.metadata import ValueType
from engine.gguf.tensors import padded

ALIGNMENT: Final = 32
_GGUF_VERSION: Final = 3
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Field:
    """One metadata key with its value as encoded in the file."""

    key: str
    value: bytes
    """The encoded value type, followed by the encoded value."""

    def encoded(self) -> bytes:
        """Return the pair's bytes."""
        return string(self.key) + self.value


@dataclass(frozen=True, slots=True)
class Slot:
    """A tensor's entry in the table."""

    name: str
    shape: tuple[int, ...]
    """Shape in ggml's order `ne`: row length first."""
    type: GgmlType

    @property
    def size_bytes(self) -> int:
        """Size of the tensor's data in bytes, without padding."""
        return self.type.size_bytes(self.shape)


def string(text: str) -> bytes:
    """Return a string as GGUF stores it: its length in bytes, then UTF-8.

    Replaces lone surrogates, such as those for an invalid byte in a file name, with U+FFFD.
    """
    data = _SURROGATE.sub("\ufffd", text).encode()
    return struct.pack("<Q", len(data)) + data


def text_field(key: str, text: str) -> Field:
    """Return a string under `key`."""
    return _field(key, ValueType.STRING, string(text))


def uint32_field(key: str, number: int) -> Field:
    """Return an unsigned 32-bit integer under `key`."""
    return _field(key, ValueType.UINT32, struct.pack("<I", number))


def float32_field(key: str, number: float) -> Field:
    """Return a 32-bit float under `key`."""
    return _field(key, ValueType.FLOAT32, struct.pack("<f", number))


def texts_field(key: str, texts: Sequence[str]) -> Field:
    """Return an array of strings under `key`."""
    return _array(key, ValueType.STRING, len(texts), b"".join(map(string, texts)))


def uint32s_field(key: str, numbers: Sequence[int]) -> Field:
    """Return an array of unsigned 32-bit integers under `key`."""
    return _array(key, ValueType.UINT32, len(numbers), struct.pack(f"<{len(numbers)}I", *numbers))


def float32s_field(key: str, numbers: Sequence[float]) -> Field:
    """Return an array of 32-bit floats under `key`."""
    return _array(key, ValueType.FLOAT32, len(numbers), struct.pack(f"<{len(numbers)}f", *numbers))


def bytes_field(key: str, data: bytes) -> Field:
    """Return an array of unsigned 8-bit integers under `key`."""
    return _array(key, ValueType.UINT8, len(data), data)


def copied_fields(header: GgufHeader) -> list[Field]:
    """Return all metadata of a file as stored, including arrays, in the file's order.

    Raises `GgufError` if the file changed since its header was read.
    """
    file, stamp = open_regular(header.path)
    with file:
        if stamp != header.stamp:
            raise GgufError("changed since its header was read: try again.", header.path)
        fields = []
        for key, (start, end) in header.spans.items():
            file.seek(start)
            value = bytearray()
            while len(value) < end - start:
                part = file.read(end - start - len(value))
                if not part:
                    raise GgufError("was cut short while it was read.", header.path)
                value += part
            fields.append(Field(key, bytes(value)))
    return fields


class GgufWriter:
    """Writes the data of the tensors in the order of their slots."""

    def __init__(self, file: FileIO, slots: Sequence[Slot]) -> None:
        self._file = file
        self._slots = list(slots)
        self._n_ended = 0
        self._n_written = 0

    def write(self, data: Any) -> None:
        """Write the next part of the current tensor's data from any contiguous buffer.

        Raises `ValueError` if the data exceeds the slot's size.
        """
        view = memoryview(data).cast("B")
        slot = self._slots[self._n_ended]
        self._n_written += len(view)
        if self._n_written > slot.size_bytes:
            raise ValueError(f"{slot.name} gets more than its {slot.size_bytes} bytes")
        write_whole(self._file, view)

    def end_tensor(self) -> None:
        """Pad the current tensor and go to the next; raise `ValueError` if data is missing."""
        slot = self._slots[self._n_ended]
        if self._n_written != slot.size_bytes:
            raise ValueError(f"{slot.name} got {self._n_written} of {slot.size_bytes} bytes")
        padding = bytes(padded(self._n_written, ALIGNMENT) - self._n_written)
        self._n_ended += 1
        self._n_written = 0
        write_whole(self._file, padding)

    def finish(self) -> None:
        """Raise `ValueError` unless every tensor is written."""
        if self._n_ended != len(self._slots):
            raise ValueError(f"{self._n_ended} of {len(self._slots)} tensors were written")


def encoded_header(fields: Sequence[Field], slots: Sequence[Slot]) -> bytes:
    """Return the encoded header, padded to the start of the first tensor's data."""
    table = []
    offset = 0
    for slot in slots:
        n_dimensions = len(slot.shape)
        numbers = struct.pack(f"<I{n_dimensions}QIQ", n_dimensions, *slot.shape, slot.type, offset)
        table.append(string(slot.name) + numbers)
        offset += padded(slot.size_bytes, ALIGNMENT)
    start = b"GGUF" + struct.pack("<IQQ", _GGUF_VERSION, len(slots), len(fields))
    header = b"".join((start, *(field.encoded() for field in fields), *table))
    return header.ljust(padded(len(header), ALIGNMENT), b"\0")


@contextmanager
def writing_gguf(
    out: Path, fields: Sequence[Field], slots: Sequence[Slot], what: str = "The file"
) -> Iterator[GgufWriter]:
    """Yield a writer for a GGUF file that replaces `out` when the block ends without an error.

    Equal arguments and data give equal bytes. `what` names the file in error messages. Raises
    `EngineError` if the file cannot be written, `ValueError` if a tensor is missing or incomplete;
    leaves no partial file behind.
    """
    with new_file(out, what) as file:
        write_whole(file, encoded_header(fields, slots))
        writer = GgufWriter(file, slots)
        yield writer
        writer.finish()


def _field(key: str, type_: ValueType, value: bytes) -> Field:
    return Field(key, struct.pack("<I", type_) + value)


def _array(key: str, element_type: ValueType, count: int, elements: bytes) -> Field:
    return _field(key, ValueType.ARRAY, struct.pack("<IQ", element_type, count) + elements)
