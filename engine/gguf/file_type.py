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

_RUNS: Final = (
    (0, "F32 F16 Q4_0 Q4_1"),
    (7, "Q8_0 Q5_0 Q5_1 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K IQ2_XXS IQ2_XS"),
    (21, "Q2_K_S IQ3_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S IQ3_M IQ2_S IQ2_M IQ4_XS IQ1_M BF16"),
    (36, "TQ1_0 TQ2_0 MXFP4 NVFP4 Q1_0 Q2_0"),
)
FILE_TYPES: Final = {
    number: name for first, names in _RUNS for number, name in enumerate(names.split(), first)
}
"""The name of each number in use, as quantisers print it."""
_NUMBERS: Final = {name: number for number, name in FILE_TYPES.items()}


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
    return _NUMBERS.get(type_.name, _NUMBERS.get(f"{type_.name}_M"))
