"""Detect an adapter that was never trained: all its B factors are zero, LoRA's initial value."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from engine.adapters.pairs import LORA_B
from engine.disk.regular_file import require_unchanged
from engine.gguf.cursor import FileCursor
from engine.gguf.ggml_type import GgmlType
from engine.gguf.header import GgufHeader

_CHUNK_BLOCKS: Final = 1 << 18
# The stored block layout of each type and a mask of all bits but the sign, as -0 is also zero.
_LAYOUTS: Final[dict[GgmlType, tuple[np.dtype[Any], int]]] = {
    GgmlType.F32: (np.dtype("<u4"), 0x7FFF_FFFF),
    GgmlType.F16: (np.dtype("<u2"), 0x7FFF),
    GgmlType.BF16: (np.dtype("<u2"), 0x7FFF),
    GgmlType.Q8_0: (np.dtype([("scale", "<u2"), ("values", "i1", (32,))]), 0x7FFF),
}


def is_untrained(adapter: GgufHeader) -> bool:
    """Return whether every lora_b of the adapter is zero, so that it has no effect.

    LoRA starts with B = 0 (arXiv:2106.09685, section 4.1). Stops reading at the first nonzero B,
    usually the first B. Returns False if a B has another type than F32, F16, BF16 or Q8_0. Raises
    `GgufError` if the file cannot be read or changed since its header was read.
    """
    halves = [tensor for name, tensor in adapter.tensors.items() if name.endswith(LORA_B)]
    if not halves or any(tensor.type not in _LAYOUTS for tensor in halves):
        return False
    with FileCursor(adapter.path) as cursor:
        require_unchanged(adapter.path, adapter.stamp)
        for tensor in halves:
            layout, magnitude = _LAYOUTS[tensor.type]
            cursor.skip(tensor.offset - cursor.position, tensor.name)
            n_blocks = tensor.size_bytes // layout.itemsize
            while n_blocks:
                n_taken = min(n_blocks, _CHUNK_BLOCKS)
                n_blocks -= n_taken
                blocks = np.frombuffer(cursor.take(n_taken * layout.itemsize, tensor.name), layout)
                if not _is_zero(blocks, magnitude):
                    return False
    return True


def _is_zero(blocks: np.ndarray[Any, Any], magnitude: int) -> bool:
    if not blocks.dtype.names:
        return not np.any(blocks & magnitude)
    return not np.any(blocks["values"][(blocks["scale"] & magnitude) != 0])
