"""Buffer tensors in an unnamed temporary file until the header before them can be written.

A header comes first, but the tensors, their ranks and types are known only when all are computed;
the buffer avoids computing them twice or keeping them all in memory.
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
    """Position, shape and type of one buffered tensor."""

    name: str
    shape: tuple[int, ...]
    """Shape in numpy's order."""
    type: FloatType
    offset: int
    size_bytes: int


class Spool(Handle):
    """Tensors in an unnamed temporary file, which never outlives the process.

    A context manager. The file is in `folder`, which needs space for the result anyway. Raises
    `EngineError` if it cannot be created or written.
    """

    def __init__(self, folder: Path) -> None:
        self.items: list[Spooled] = []
        """The added tensors, in order."""
        self._folder = folder
        self._n_bytes = 0
        try:
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  # a Handle
        except OSError as error:
            raise self._failed(error) from None

    def put(self, name: str, values: Floats, type_: FloatType) -> Spooled:
        """Add a tensor in `type_`, or in F32 if F16 cannot hold it."""
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
        """Yield the data of a tensor, at most 1 MiB at a time."""
        start, end = item.offset, item.offset + item.size_bytes
        while start < end:
            self._file.seek(start)
            chunk = self._file.read(min(_CHUNK_BYTES, end - start))
            start += len(chunk)
            yield chunk

    def stored(self, item: Spooled) -> npt.NDArray[np.floating[Any]]:
        """Return a tensor in its stored type and shape."""
        dtype = np.dtype("<f2" if item.type is GgmlType.F16 else "<f4")
        return np.frombuffer(b"".join(self.chunks(item)), dtype).reshape(item.shape)

    def values(self, item: Spooled) -> Floats:
        """Return a tensor as float32, in its shape."""
        return self.stored(item).astype(np.float32, copy=False)

    def _failed(self, error: OSError) -> EngineError:
        return EngineError(f"A temporary file in {self._folder} failed: {error.strerror}.")

    def _free(self) -> None:
        self._file.close()


def fits_f16(values: Floats) -> bool:
    """Return whether F16 can hold values: the largest is finite and not subnormal there, or 0."""
    peak = float(np.abs(values).max(initial=0.0))
    return peak == 0.0 or _F16_MIN_NORMAL <= peak <= _F16_MAX


def put_pair(spool: Spool, factors: Factors, type_: FloatType) -> None:
    """Add both halves of a pair in llama.cpp's form.

    Halves have two dimensions for a matrix, three for several experts; the pair of the token
    embedding is transposed.
    """
    a, b = factors.a, factors.b
    if a.shape[0] == 1:
        a, b = a[0], b[0]
    if factors.target.endswith(TOKEN_EMBEDDING):
        a, b = b, a.T
    spool.put(factors.target + LORA_A, a, type_)
    spool.put(factors.target + LORA_B, b, type_)


def write_adapter_file(spool: Spool, out: Path, fields: Sequence[Field]) -> None:
    """Write the spooled pairs atomically as one GGUF adapter; raise `EngineError` on failure."""
    slots = [Slot(item.name, item.shape[::-1], item.type) for item in spool.items]
    with writing_gguf(out, fields, slots, "The adapter") as writer:
        for item in spool.items:
            for chunk in spool.chunks(item):
                writer.write(chunk)
            writer.end_tensor()
