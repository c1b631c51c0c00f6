"""Determine a model's `general.file_type`, which stands for the type of most of its weights.

Source: `enum llama_ftype` of llama.h, and the guess of llama_model_loader.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from math import prod
from typing import Final

from engine.gguf.ggml_type import GgmlType

FILE_TYPE_KEY: Final = "general.file_type"

_FILE_TYPES: Final = {
    GgmlType.F32: 0,
    GgmlType.F16: 1,
    GgmlType.Q4_0: 2,
    GgmlType.Q4_1: 3,
    GgmlType.Q8_0: 7,
    GgmlType.Q5_0: 8,
    GgmlType.Q5_1: 9,
    GgmlType.Q2_K: 10,
    GgmlType.Q3_K: 12,
    GgmlType.Q4_K: 15,
    GgmlType.Q5_K: 17,
    GgmlType.Q6_K: 18,
    GgmlType.IQ2_XXS: 19,
    GgmlType.IQ2_XS: 20,
    GgmlType.IQ3_XXS: 23,
    GgmlType.IQ1_S: 24,
    GgmlType.IQ4_NL: 25,
    GgmlType.IQ3_S: 26,
    GgmlType.IQ2_S: 28,
    GgmlType.IQ4_XS: 30,
    GgmlType.IQ1_M: 31,
    GgmlType.BF16: 32,
    GgmlType.TQ1_0: 36,
    GgmlType.TQ2_0: 37,
    GgmlType.MXFP4: 38,
    GgmlType.NVFP4: 39,
    GgmlType.Q1_0: 40,
    GgmlType.Q2_0: 41,
}


def majority_type(tensors: Iterable[tuple[tuple[int, ...], GgmlType]]) -> GgmlType | None:
    """Return the type of most values in matrices, or None without matrices.

    `tensors` yields each tensor's shape, in either order, and its type.
    """
    counts: Counter[GgmlType] = Counter()
    for shape, type_ in tensors:
        if len(shape) > 1:
            counts[type_] += prod(shape)
    # In a tie, the type with the lower number.
    return max(counts, key=lambda type_: (counts[type_], -type_)) if counts else None


def file_type_of(type_: GgmlType) -> int | None:
    """Return the file type for a majority type (the medium one of K-quant mixes), or None."""
    return _FILE_TYPES.get(type_)
