"""Write a converted adapter as GGUF in one pass, the header last, with checksums.

A tensor's type depends on its values, so the header is written last, into space reserved at the
start; its length does not depend on the types. It holds two SHA-256 digests, because these files
are cached and reused without inspection, and llama.cpp does not detect a flipped bit in a weight.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from io import FileIO
from pathlib import Path
from threading import Thread
from typing import Any, Final

import numpy as np

from engine.adapters.conversion.encoding import OutType, encoded
from engine.adapters.conversion.identity import (
    CONVERTER_VERSION,
    VERSION_KEY,
    identity_fields,
)
from engine.adapters.conversion.placement.plan import PlannedPair
from engine.adapters.conversion.scales import Scales, scales_of
from engine.adapters.foreign.formats.tensor import StoredTensor
from engine.adapters.foreign.source import LoraSource
from engine.adapters.pairs import ALPHA, LORA_A, LORA_B
from engine.disk.regular_file import open_regular
from engine.disk.whole_output import write_whole
from engine.errors import AdapterError, GgufError, stop_if
from engine.gguf.ggml_type import GgmlType
from engine.gguf.header import GgufHeader, read_header
from engine.gguf.metadata import GgufArray, ValueType
from engine.gguf.tensors import padded
from engine.gguf.writer import ALIGNMENT, Slot, bytes_field, encoded_header, float32_field
from modelfiles.wording import shown

CHECKSUMS_KEY: Final = "lora_tui.convert.checksums"
"""SHA-256 of the data, then of the header with zeros in this value's place."""

_NO_CHECKSUMS: Final = bytes(2 * 32)


class ConvertedWriter:
    """Writes the pairs first, and the header once the tensor types are known."""

    def __init__(
        self,
        source: LoraSource,
        base: GgufHeader,
        pairs: Sequence[PlannedPair],
        out_type: OutType,
        name: str,
    ) -> None:
        self.scales: Scales = scales_of(pairs)
        self.types: list[GgmlType] = []
        self._path = source.path
        self._pairs = pairs
        self._out_type = out_type
        self._digest = hashlib.sha256()
        self._fields = [
            *identity_fields(source, base, name),
            float32_field(ALPHA, self.scales.alpha),
        ]

    def write(
        self,
        file: FileIO,
        on_progress: Callable[[float], None],
        is_cancelled: Callable[[], bool],
    ) -> None:
        """Write the whole file; equal arguments, equal bytes.

        Calls `is_cancelled` before each pair, and `on_progress` with the fraction done after it.
        Raises `AdapterError` for numbers that are not finite, `EngineError` if the source cannot
        be read, `Cancelled` if `is_cancelled` returns true.
        """
        self._write_pairs(file, on_progress, is_cancelled)
        blank = self._header(self.types, _NO_CHECKSUMS)
        checksums = self._digest.digest() + hashlib.sha256(blank).digest()
        file.seek(0)
        write_whole(file, self._header(self.types, checksums))

    def _write_pairs(
        self,
        file: FileIO,
        on_progress: Callable[[float], None],
        is_cancelled: Callable[[], bool],
    ) -> None:
        n_tensors = 2 * len(self._pairs)
        file.seek(len(self._header([GgmlType.F32] * n_tensors, _NO_CHECKSUMS)))
        hashing = Thread(target=self._hash)
        hashing.start()
        for index, pair in enumerate(self._pairs):
            stop_if(is_cancelled)
            types, parts = zip(*self._tensors(pair), strict=True)
            self.types += types
            hashing.join()
            # Hash while writing and while reading the next pair: 10% of the conversion time.
            hashing = Thread(target=self._hash, args=parts)
            hashing.start()
            for part in parts:
                write_whole(file, part)
            on_progress((index + 1) / len(self._pairs))
        hashing.join()
        stop_if(is_cancelled)

    def _hash(self, *parts: bytes | memoryview) -> None:
        for part in parts:
            self._digest.update(part)

    def notices(self) -> Iterator[str]:
        """Yield a warning if values were too large for the requested type."""
        n_wide = self.types.count(GgmlType.F32)
        if n_wide and self._out_type not in ("auto", "f32"):
            yield (
                f"{n_wide} of {len(self.types)} tensors hold values beyond the range of "
                f"{self._out_type}, so they are stored as f32."
            )

    def _header(self, types: Sequence[GgmlType], checksums: bytes) -> bytes:
        shapes = [
            (pair.target + suffix, shape)
            for pair in self._pairs
            for suffix, shape in ((LORA_A, pair.a_shape), (LORA_B, pair.b_shape))
        ]
        slots = [
            Slot(name, tuple(reversed(shape)), type_)
            for (name, shape), type_ in zip(shapes, types, strict=True)
        ]
        return encoded_header([*self._fields, bytes_field(CHECKSUMS_KEY, checksums)], slots)

    def _tensors(self, pair: PlannedPair) -> Iterator[tuple[GgmlType, bytes | memoryview]]:
        """Yield type and data of A, then of B, each padded to the alignment."""
        with np.errstate(over="ignore", invalid="ignore"):  # non-finite values are refused below
            a, b = pair.build(self.scales.factors(pair))
        if (a.shape, b.shape) != (pair.a_shape, pair.b_shape):
            raise ValueError(f"{pair.target} was planned as {pair.a_shape} and {pair.b_shape}")
        sources = [member.a for member in pair.members], [member.b for member in pair.members]
        for values, stored in zip((a, b), sources, strict=True):
            if not np.isfinite(values).all():
                raise _not_finite(self._path, pair, stored)
            type_, data = encoded(values, self._out_type, stored)
            raw: Any = data
            view = memoryview(raw).cast("B")
            padding = bytes(padded(len(view), ALIGNMENT) - len(view))
            yield type_, (view if not padding else bytes(view) + padding)


def is_intact(path: Path) -> bool:
    """Return whether a file was written by this converter version and its checksums match.

    Reads the whole file.
    """
    try:
        header = read_header(path)
        array = header.metadata.get(CHECKSUMS_KEY)
        if header.integer(VERSION_KEY) != CONVERTER_VERSION or not (
            isinstance(array, GgufArray)
            and array.element_type is ValueType.UINT8
            and array.count == len(_NO_CHECKSUMS)
        ):
            return False
        with open_regular(path)[0] as file:
            start = bytearray(file.read(header.data_offset))
            data = hashlib.file_digest(file, "sha256")
    except (GgufError, OSError):
        return False
    span = slice(array.offset, array.offset + array.count)
    checksums, start[span] = bytes(start[span]), _NO_CHECKSUMS
    return checksums == data.digest() + hashlib.sha256(start).digest()


def _not_finite(path: Path, pair: PlannedPair, stored: Sequence[StoredTensor]) -> AdapterError:
    for tensor in stored:
        if not np.isfinite(tensor.read()).all():
            return AdapterError(
                f"holds NaN or infinity in {shown(tensor.name)}: its training diverged or the file "
                "is damaged; use another.",
                path,
            )
    return AdapterError(
        f"scales {shown(pair.members[0].path)} out of the range of numbers: correct lora_alpha in "
        "its configuration.",
        path,
    )
