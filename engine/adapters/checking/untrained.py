"""Detect an adapter that was never trained: all its B factors are zero, LoRA's initial value."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engine.adapters.checking.stored_blocks import LAYOUTS, stored_blocks
from engine.adapters.pairs import LORA_B
from engine.gguf.header import GgufHeader

# All bits but the sign, by bytes of a number, as -0 is also zero.
_MAGNITUDE: Final = {4: 0x7FFF_FFFF, 2: 0x7FFF}


def is_untrained(adapter: GgufHeader) -> bool:
    """Return whether every lora_b of the adapter is zero, so that it has no effect.

    LoRA starts with B = 0 (arXiv:2106.09685, section 4.1). Stops reading at the first nonzero B,
    usually the first B. Returns False if a B has another type than F32, F16, BF16 or Q8_0. Raises
    `GgufError` if the file cannot be read or changed since its header was read.
    """
    halves = [tensor for name, tensor in adapter.tensors.items() if name.endswith(LORA_B)]
    if not halves or any(tensor.type not in LAYOUTS for tensor in halves):
        return False
    return all(
        _is_zero(blocks) for _, chunks in stored_blocks(adapter, halves) for blocks in chunks
    )


def _is_zero(blocks: npt.NDArray[Any]) -> bool:
    bits = blocks["scale"] if blocks.dtype.names else blocks
    is_nonzero = (bits & _MAGNITUDE[bits.itemsize]) != 0
    return not np.any(blocks["values"][is_nonzero] if blocks.dtype.names else is_nonzero)
