"""Read the metadata of a GGUF header: keep scalars, and read arrays only on demand."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final

from engine.disk.regular_file import FileStamp, require_unchanged
from engine.gguf.cursor import FileCursor
from modelfiles.wording import shown

MAX_KEY_BYTES: Final = 65_535
MAX_STRING_BYTES: Final = 64 * 1024 * 1024
MAX_ALL_STRINGS_BYTES: Final = 128 * 1024 * 1024
"""Total bytes of keys and string values of one header, all of which stay in memory."""
MAX_STRING_ELEMENTS: Final = 4_000_000
"""Total elements of all string arrays; the largest vocabularies have about 800,000."""
MAX_ARRAY_ELEMENTS: Final = 4_000_000


class ValueType(IntEnum):
    """Type of a metadata value as stored in the file."""

    UINT8 = 0
    INT8 = 1
    UINT16 = 2
    INT16 = 3
    UINT32 = 4
    INT32 = 5
    FLOAT32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9
    UINT64 = 10
    INT64 = 11
    FLOAT64 = 12


_NUMBERS: Final = {
    ValueType.UINT8: struct.Struct("<B"),
    ValueType.INT8: struct.Struct("<b"),
    ValueType.UINT16: struct.Struct("<H"),
    ValueType.INT16: struct.Struct("<h"),
    ValueType.UINT32: struct.Struct("<I"),
    ValueType.INT32: struct.Struct("<i"),
    ValueType.FLOAT32: struct.Struct("<f"),
    ValueType.BOOL: struct.Struct("<?"),
    ValueType.UINT64: struct.Struct("<Q"),
    ValueType.INT64: struct.Struct("<q"),
    ValueType.FLOAT64: struct.Struct("<d"),
}
Scalar = int | float | bool | str


@dataclass(frozen=True, slots=True)
class GgufArray:
    """An array in a header, read from the file on demand."""

    path: Path
    key: str
    element_type: ValueType
    count: int
    offset: int
    """File position of the first element."""
    stamp: FileStamp

    def __len__(self) -> int:
        return self.count

    def read(self) -> tuple[Scalar, ...]:
        """Return the elements; raises `GgufError` if the file changed since its header was read."""
        require_unchanged(self.path, self.stamp)
        what = f"the array {shown(self.key)}"
        with FileCursor(self.path, self.offset) as cursor:
            if self.element_type is ValueType.STRING:
                budget = _Budget(cursor)
                return tuple(budget.text(what) for _ in range(self.count))
            number = _NUMBERS[self.element_type]
            data = cursor.take(self.count * number.size, what)
            return tuple(value for (value,) in number.iter_unpack(data))


Value = Scalar | GgufArray


Span = tuple[int, int]
"""Start and end position of a byte range in a file."""


def read_metadata(
    cursor: FileCursor, n_keys: int
) -> tuple[dict[str, Value], dict[str, ValueType], dict[str, Span]]:
    """Read `n_keys` pairs; return the values, their stored types and their spans, all by key.

    A span includes the type before the value.
    """
    metadata: dict[str, Value] = {}
    types: dict[str, ValueType] = {}
    spans: dict[str, Span] = {}
    budget = _Budget(cursor)
    for index in range(n_keys):
        key = cursor.name(MAX_KEY_BYTES, f"metadata key {index}")
        if key in metadata:
            raise cursor.damaged(f"it has the metadata key {shown(key)} twice")
        what = f"the value of {shown(key)}"
        start = cursor.position
        types[key] = kind = _value_type(cursor, cursor.u32(what), key)
        budget.spend_bytes(len(key))
        if kind is ValueType.ARRAY:
            metadata[key] = _pass_array(cursor, key, budget)
        elif kind is ValueType.STRING:
            metadata[key] = budget.text(what)
        else:
            number = _NUMBERS[kind]
            metadata[key] = number.unpack(cursor.take(number.size, what))[0]
        spans[key] = start, cursor.position
    return metadata, types, spans


class _Budget:
    """Bytes of text and string elements that the rest of a header may still use."""

    __slots__ = ("_cursor", "_n_bytes", "_n_strings")

    def __init__(self, cursor: FileCursor) -> None:
        self._cursor = cursor
        self._n_bytes = MAX_ALL_STRINGS_BYTES
        self._n_strings = MAX_STRING_ELEMENTS

    def spend_bytes(self, n_bytes: int) -> None:
        self._n_bytes -= n_bytes
        if self._n_bytes < 0:
            raise self._cursor.damaged(
                f"its metadata holds more than {MAX_ALL_STRINGS_BYTES} bytes of text"
            )

    def text(self, what: str) -> str:
        """Read a string for display; invalid bytes become U+FFFD."""
        raw = self._cursor.string(MAX_STRING_BYTES, what)
        self.spend_bytes(len(raw))
        return raw.decode("utf-8", errors="replace")

    def spend_strings(self, n_strings: int, key: str) -> None:
        self._n_strings -= n_strings
        if self._n_strings < 0:
            raise self._cursor.damaged(
                f"{shown(key)} brings its arrays to more than {MAX_STRING_ELEMENTS} strings"
            )


def _pass_array(cursor: FileCursor, key: str, budget: _Budget) -> GgufArray:
    what = f"the array {shown(key)}"
    element_type = _value_type(cursor, cursor.u32(what), key)
    if element_type is ValueType.ARRAY:
        raise cursor.damaged(f"{what} is an array of arrays")
    count = cursor.u64(what)
    if count > MAX_ARRAY_ELEMENTS:
        raise cursor.damaged(f"{what} claims {count} elements")
    array = GgufArray(cursor.path, key, element_type, count, cursor.position, cursor.stamp)
    if element_type is ValueType.STRING:
        budget.spend_strings(count, key)
        cursor.skip_strings(count, what)
    else:
        cursor.skip(count * _NUMBERS[element_type].size, what)
    return array


def _value_type(cursor: FileCursor, number: int, key: str) -> ValueType:
    try:
        return ValueType(number)
    except ValueError:
        raise cursor.damaged(f"{shown(key)} has the unknown value type {number}") from None
