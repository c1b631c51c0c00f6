"""Encode a converted adapter's tensors in the chosen GGUF type.

`auto` is lossless: float32 stays F32; float16 and bfloat16 become F16 if that holds every value of
the tensor exactly, else BF16, else F32 (a B that a scale was multiplied into). F16 comes first
because more of llama.cpp's backends compute with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from engine.adapters.foreign.formats.tensor import StoredTensor
from engine.gguf.ggml_type import GgmlType

OutType = Literal["auto", "f32", "f16", "bf16", "q8_0"]

Floats = npt.NDArray[np.float32]
Array = npt.NDArray[Any]

_Q8_0_MAX: Final = 127 * 65504.0
"""The largest value whose block scale, a float16, is finite."""


def encoded(
    values: Floats, out_type: OutType, sources: Sequence[StoredTensor]
) -> tuple[GgmlType, Array]:
    """Return the type for a tensor of finite values, and its contiguous data.

    `sources` are the tensors it was made from, whose precision `auto` keeps. Values that F16, BF16
    or Q8_0 would turn into infinities are stored as F32; a Q8_0 tensor whose row length is not a
    multiple of 32 becomes F16, as in llama.cpp's `convert_lora_to_gguf.py`.
    """
    values = np.ascontiguousarray(values, dtype="<f4")
    if out_type == "auto":
        return _exact(values, sources)
    if out_type == "q8_0" and values.shape[-1] % GgmlType.Q8_0.block_length:
        out_type = "f16"
    if out_type == "f16":
        half = _half(values)
        return (GgmlType.F16, half) if bool(np.isfinite(half).all()) else (GgmlType.F32, values)
    if out_type == "bf16":
        bits = _brain_bits(values)
        is_finite = not np.any((bits & 0x7F80) == 0x7F80)
        return (GgmlType.BF16, bits) if is_finite else (GgmlType.F32, values)
    if out_type == "q8_0" and float(np.max(np.abs(values))) <= _Q8_0_MAX:
        return GgmlType.Q8_0, _blocks(values)
    return GgmlType.F32, values


def _exact(values: Floats, sources: Sequence[StoredTensor]) -> tuple[GgmlType, Array]:
    if all(source.dtype != "f32" for source in sources):
        half = _half(values)
        if np.array_equal(half.astype(np.float32), values):
            return GgmlType.F16, half
        if not np.any(values.view("<u4") & 0xFFFF):
            return GgmlType.BF16, (values.view("<u4") >> 16).astype("<u2")
    return GgmlType.F32, values


def _half(values: Floats) -> Array:
    with np.errstate(over="ignore"):
        return values.astype("<f2")


def _brain_bits(values: Floats) -> Array:
    """Return the bits as bfloat16, rounded to nearest even as ggml does."""
    bits = values.view("<u4")
    last = (bits >> 16) & 1
    rounded: Array = ((bits + (np.uint32(0x7FFF) + last)) >> 16).astype("<u2")
    return rounded


def _blocks(values: Floats) -> Array:
    # Imported here because it takes 250 ms and adapters are rarely quantised.
    import gguf

    with np.errstate(over="ignore", invalid="ignore"):  # the inverse of a subnormal scale
        blocks: Array = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0)
    return np.ascontiguousarray(blocks)
