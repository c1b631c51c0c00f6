"""Read the stored numbers of adapter tensors as bits, without converting them to floats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engine.disk.regular_file import require_unchanged
from engine.gguf.cursor import FileCursor
from engine.gguf.ggml_type import GgmlType
from engine.gguf.header import GgufHeader
from engine.gguf.tensors import TensorInfo

_CHUNK_BLOCKS: Final = 1 << 18
LAYOUTS: Final[dict[GgmlType, np.dtype[Any]]] = {
    GgmlType.F32: np.dtype("<u4"),
    GgmlType.F16: np.dtype("<u2"),
    GgmlType.BF16: np.dtype("<u2"),
    GgmlType.Q8_0: np.dtype([("scale", "<u2"), ("values", "i1", (32,))]),
}
"""The block layout of each type that can be read."""

Blocks = npt.NDArray[Any]


def stored_blocks(
    adapter: GgufHeader, tensors: Sequence[TensorInfo]
) -> Iterator[tuple[TensorInfo, Iterator[Blocks]]]:
    """Yield tensors, given in the order of the file, with their blocks in chunks of up to 9 MB.

    The chunks of a tensor are gone once the next one is asked for. Raises `GgufError` if the file
    cannot be read to the end or changed since its header was read.
    """
    with FileCursor(adapter.path) as cursor:
        require_unchanged(adapter.path, adapter.stamp)
        for tensor in tensors:
            cursor.skip(tensor.offset - cursor.position, tensor.name)
            yield tensor, _chunks(cursor, tensor)


def _chunks(cursor: FileCursor, tensor: TensorInfo) -> Iterator[Blocks]:
    layout = LAYOUTS[tensor.type]
    n_blocks = tensor.size_bytes // layout.itemsize
    for start in range(0, n_blocks, _CHUNK_BLOCKS):
        n_taken = min(_CHUNK_BLOCKS, n_blocks - start)
        yield np.frombuffer(cursor.take(n_taken * layout.itemsize, tensor.name), layout)
