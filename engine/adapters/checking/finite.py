"""Find NaN and infinities in an adapter's weights; a single one turns every answer into noise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from engine.adapters.pairs import LORA_A, LORA_B
from engine.disk.regular_file import require_unchanged
from engine.gguf.cursor import FileCursor
from engine.gguf.ggml_type import GgmlType
from engine.gguf.header import GgufHeader

_CHUNK_BLOCKS: Final = 1 << 18
# The stored block layout of each type and its exponent mask: only infinities and NaN set all bits.
_LAYOUTS: Final[dict[GgmlType, tuple[np.dtype[Any], int]]] = {
    GgmlType.F32: (np.dtype("<u4"), 0x7F80_0000),
    GgmlType.F16: (np.dtype("<u2"), 0x7C00),
    GgmlType.BF16: (np.dtype("<u2"), 0x7F80),
    GgmlType.Q8_0: (np.dtype([("scale", "<u2"), ("values", "i1", (32,))]), 0x7C00),
}


def not_finite_tensors(adapter: GgufHeader) -> Iterator[str]:
    """Yield the names of LoRA tensors that hold an infinity or NaN.

    Scans F32, F16, BF16 and the block scales of Q8_0, at most 9 MB at a time, and skips other
    quantisations. Compares bits instead of converting: 5 GB/s for a cached file. Raises
    `GgufError` if the file cannot be read to the end or changed since its header was read.
    """
    with FileCursor(adapter.path) as cursor:
        require_unchanged(adapter.path, adapter.stamp)
        for name, tensor in adapter.tensors.items():
            if not name.endswith((LORA_A, LORA_B)) or tensor.type not in _LAYOUTS:
                continue
            layout, exponent = _LAYOUTS[tensor.type]
            cursor.skip(tensor.offset - cursor.position, name)
            n_blocks = tensor.size_bytes // layout.itemsize
            is_finite = True
            while n_blocks and is_finite:
                n_taken = min(n_blocks, _CHUNK_BLOCKS)
                n_blocks -= n_taken
                blocks = np.frombuffer(cursor.take(n_taken * layout.itemsize, name), layout)
                bits = blocks["scale"] if layout.names else blocks
                is_finite = not np.any((bits & exponent) == exponent)
            if not is_finite:
                yield name
