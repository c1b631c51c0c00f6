"""Read the weights of a GGUF file: a tensor's stored bytes, or its values as floats.

Uses ordinary reads instead of a memory map: touching a page beyond the end of a file that was
truncated after mapping kills the process with SIGBUS.
"""

from __future__ import annotations

from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.disk.handle import Handle
from engine.disk.regular_file import open_regular, require_unchanged
from engine.errors import AdapterError, GgufError
from engine.gguf.ggml_type import GgmlType
from engine.gguf.header import GgufHeader
from engine.gguf.tensors import TensorInfo
from modelfiles.wording import shown

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.floating[Any]]


class WeightFile(Handle):
    """An open GGUF file, or all shards of a split model, to read tensor data from.

    A context manager.

    Raises:
        GgufError: A file cannot be opened, or changed since its header was read.
    """

    def __init__(self, header: GgufHeader) -> None:
        self._stamps = header.part_stamps
        self._files: dict[Path, FileIO] = {}
        try:
            for path, expected in header.part_stamps.items():
                self._files[path], stamp = open_regular(path)
                if stamp != expected:
                    raise GgufError("changed since its header was read: try again.", path)
        except GgufError:
            self._free()
            raise

    def read(self, tensor: TensorInfo, start: int = 0, size_bytes: int | None = None) -> Bytes:
        """Return stored bytes of a tensor from byte `start` of its data on, by default all.

        The array is uint8, shape (size_bytes,), writable. Raises `GgufError` if the file ends
        before.
        """
        wanted = tensor.size_bytes - start if size_bytes is None else size_bytes
        data = np.empty(wanted, dtype=np.uint8)
        view = data.data
        file = self._files[tensor.path]
        try:
            file.seek(tensor.offset + start)
            while view and (n_read := file.readinto(view)):
                view = view[n_read:]
        except OSError as error:
            raise GgufError(f"cannot be read: {error.strerror}.", tensor.path) from None
        if view:
            raise GgufError(
                f"was cut short while being read: tensor {shown(tensor.name)} ends beyond the "
                "file; copy it again.",
                tensor.path,
            )
        return data

    def values(self, tensor: TensorInfo) -> npt.NDArray[np.float32]:
        """Return a tensor's values: float32, in numpy's order of axes (the row last).

        Raises `GgufError` as `read` does, `AdapterError` as `decoded` does.
        """
        rows = decoded(self.read(tensor), tensor.type, tensor.ne[0])
        return rows.astype(np.float32, copy=False).reshape(tensor.shape[::-1])

    def require_unchanged(self) -> None:
        """Raise `GgufError` if a file changed since its header was read."""
        for path, stamp in self._stamps.items():
            require_unchanged(path, stamp)

    def _free(self) -> None:
        for file in self._files.values():
            file.close()


def decoded(data: Bytes, type_: GgmlType, row_length: int) -> Floats:
    """Return the values of whole stored rows: shape (n_rows, row_length), float16 or float32.

    Returns views of `data` for F16 and F32 and dequantises blocks with `gguf.quants`. Raises
    `AdapterError` for a type that `gguf.quants` cannot dequantise.
    """
    if type_ is GgmlType.F32:
        return data.view("<f4").reshape(-1, row_length)
    if type_ is GgmlType.F16:
        return data.view("<f2").reshape(-1, row_length)
    if type_ is GgmlType.BF16:
        bits = data.view("<u2").astype(np.uint32)
        bits <<= 16
        return bits.view(np.float32).reshape(-1, row_length)
    # Imported here because it takes 250 ms and most adapters are not quantised.
    import gguf

    row_bytes = type_.size_bytes((row_length,))
    try:
        values: Floats = gguf.quants.dequantize(
            data.reshape(-1, row_bytes), gguf.GGMLQuantizationType(int(type_))
        )
    except (NotImplementedError, ValueError):
        raise AdapterError(
            f"Weights of type {type_.name} cannot be read as floats: convert the adapter to f16."
        ) from None
    return values.reshape(-1, row_length)
