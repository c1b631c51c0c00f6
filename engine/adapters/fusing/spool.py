"""Tensors that wait in a nameless temporary file until the header before them can be written.

Which tensors there are, their ranks and types is known only when all are computed, and a header
comes first; so they are neither computed twice nor all kept in memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from engine.adapters.factors import Factors
from engine.adapters.pairs import LORA_A, LORA_B, TOKEN_EMBEDDING
from engine.disk.handle import Handle
from engine.disk.whole_output import write_whole
from engine.errors import EngineError
from engine.gguf.ggml_type import GgmlType
from engine.gguf.writer import Field, Slot, writing_gguf

Floats = npt.NDArray[np.float32]
FloatType = Literal[GgmlType.F16, GgmlType.F32]

_CHUNK_BYTES: Final = 1 << 20
_F16_MIN_NORMAL: Final = 2.0**-14
_F16_MAX: Final = 65504.0


@dataclass(frozen=True, slots=True)
class Spooled:
    """One tensor that waits."""

    name: str
    shape: tuple[int, ...]
    """In numpy's order."""
    type: FloatType
    offset: int
    size_bytes: int


class Spool(Handle):
    """Tensors in a temporary file without a name: however the process ends, it leaves none.

    A context manager. The file lies in `folder`, where there must be room for the result anyway.
    Raises `EngineError` where it cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        self.items: list[Spooled] = []
        """What was put, in order."""
        self._folder = folder
        self._n_bytes = 0
        try:
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  # a Handle
        except OSError as error:
            raise self._failed(error) from None

    def put(self, name: str, values: Floats, type_: FloatType) -> Spooled:
        """Add a tensor; where F16 cannot hold it, it becomes F32."""
        kept_type = type_ if type_ is GgmlType.F32 or fits_f16(values) else GgmlType.F32
        data: Any = np.ascontiguousarray(values, "<f2" if kept_type is GgmlType.F16 else "<f4")
        item = Spooled(name, values.shape, kept_type, self._n_bytes, data.nbytes)
        try:
            write_whole(self._file, data)
        except OSError as error:
            raise self._failed(error) from None
        self.items.append(item)
        self._n_bytes += item.size_bytes
        return item

    def chunks(self, item: Spooled) -> Iterator[bytes]:
        """Yield the data of a tensor, at most a megabyte at a time."""
        start, end = item.offset, item.offset + item.size_bytes
        while start < end:
            self._file.seek(start)
            chunk = self._file.read(min(_CHUNK_BYTES, end - start))
            start += len(chunk)
            yield chunk

    def stored(self, item: Spooled) -> npt.NDArray[np.floating[Any]]:
        """Return a tensor in the type it is stored in, of its shape."""
        dtype = np.dtype("<f2" if item.type is GgmlType.F16 else "<f4")
        return np.frombuffer(b"".join(self.chunks(item)), dtype).reshape(item.shape)

    def values(self, item: Spooled) -> Floats:
        """Return a tensor as float32, of its shape."""
        return self.stored(item).astype(np.float32, copy=False)

    def _failed(self, error: OSError) -> EngineError:
        return EngineError(f"A temporary file in {self._folder} failed: {error.strerror}.")

    def _free(self) -> None:
        self._file.close()


def fits_f16(values: Floats) -> bool:
    """Whether F16 holds values: the largest is finite there and no subnormal number, or is 0."""
    peak = float(np.abs(values).max(initial=0.0))
    return peak == 0.0 or _F16_MIN_NORMAL <= peak <= _F16_MAX


def put_pair(spool: Spool, factors: Factors, type_: FloatType) -> None:
    """Add both halves of a pair as llama.cpp wants them.

    Those of a matrix have two dimensions, those of several experts three; the pair of the token
    embedding is stored the other way round.
    """
    a, b = factors.a, factors.b
    if a.shape[0] == 1:
        a, b = a[0], b[0]
    if factors.target.endswith(TOKEN_EMBEDDING):
        a, b = b, a.T
    spool.put(factors.target + LORA_A, a, type_)
    spool.put(factors.target + LORA_B, b, type_)


def write_adapter_file(spool: Spool, out: Path, fields: Sequence[Field]) -> None:
    """Write the pairs that wait as one adapter GGUF, whole or not at all; raises `EngineError`."""
    slots = [Slot(item.name, item.shape[::-1], item.type) for item in spool.items]
    with writing_gguf(out, fields, slots, "The adapter") as writer:
        for item in spool.items:
            for chunk in spool.chunks(item):
                writer.write(chunk)
            writer.end_tensor()
