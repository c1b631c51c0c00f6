"""Define ggml's tensor types: their numbers on disk, block sizes, and which an adapter may use.

Source: `enum ggml_type` in ggml.h and the type traits of ggml.c, llama.cpp of July 2026 as shipped
in llama-cpp-python 0.3.36. A test compares the table with the installed library.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from math import prod


class GgmlType(IntEnum):
    """A tensor's type as stored in a GGUF file."""

    F32 = 0
    F16 = 1
    Q4_0 = 2
    Q4_1 = 3
    Q5_0 = 6
    Q5_1 = 7
    Q8_0 = 8
    Q8_1 = 9
    Q2_K = 10
    Q3_K = 11
    Q4_K = 12
    Q5_K = 13
    Q6_K = 14
    Q8_K = 15
    IQ2_XXS = 16
    IQ2_XS = 17
    IQ3_XXS = 18
    IQ1_S = 19
    IQ4_NL = 20
    IQ3_S = 21
    IQ2_S = 22
    IQ4_XS = 23
    I8 = 24
    I16 = 25
    I32 = 26
    I64 = 27
    F64 = 28
    IQ1_M = 29
    BF16 = 30
    TQ1_0 = 34
    TQ2_0 = 35
    MXFP4 = 39
    NVFP4 = 40
    Q1_0 = 41
    Q2_0 = 42

    @property
    def block_length(self) -> int:
        """Values per block; a row holds a whole number of blocks."""
        return _BLOCKS[self][0]

    @property
    def block_bytes(self) -> int:
        """Bytes per block."""
        return _BLOCKS[self][1]

    @property
    def is_usable_in_adapter(self) -> bool:
        """Whether llama.cpp can multiply a matrix of this type: floats and weight quantisations."""
        return self not in _NOT_WEIGHTS

    def size_bytes(self, shape: Sequence[int]) -> int:
        """Return the size in bytes of a tensor of `shape` (ggml order: row length first).

        Raises `ValueError` if the rows do not hold a whole number of blocks.
        """
        row_length = shape[0] if shape else 1
        if row_length % self.block_length:
            raise ValueError(f"rows of {row_length} are no multiple of {self.block_length}")
        return prod(shape) // self.block_length * self.block_bytes


_BLOCKS = {
    GgmlType.F32: (1, 4),
    GgmlType.F16: (1, 2),
    GgmlType.Q4_0: (32, 18),
    GgmlType.Q4_1: (32, 20),
    GgmlType.Q5_0: (32, 22),
    GgmlType.Q5_1: (32, 24),
    GgmlType.Q8_0: (32, 34),
    GgmlType.Q8_1: (32, 36),
    GgmlType.Q2_K: (256, 84),
    GgmlType.Q3_K: (256, 110),
    GgmlType.Q4_K: (256, 144),
    GgmlType.Q5_K: (256, 176),
    GgmlType.Q6_K: (256, 210),
    GgmlType.Q8_K: (256, 292),
    GgmlType.IQ2_XXS: (256, 66),
    GgmlType.IQ2_XS: (256, 74),
    GgmlType.IQ3_XXS: (256, 98),
    GgmlType.IQ1_S: (256, 50),
    GgmlType.IQ4_NL: (32, 18),
    GgmlType.IQ3_S: (256, 110),
    GgmlType.IQ2_S: (256, 82),
    GgmlType.IQ4_XS: (256, 136),
    GgmlType.I8: (1, 1),
    GgmlType.I16: (1, 2),
    GgmlType.I32: (1, 4),
    GgmlType.I64: (1, 8),
    GgmlType.F64: (1, 8),
    GgmlType.IQ1_M: (256, 56),
    GgmlType.BF16: (1, 2),
    GgmlType.TQ1_0: (256, 54),
    GgmlType.TQ2_0: (256, 66),
    GgmlType.MXFP4: (32, 17),
    GgmlType.NVFP4: (64, 36),
    GgmlType.Q1_0: (128, 18),
    GgmlType.Q2_0: (64, 18),
}

# Integers, doubles and the two types that only hold activations have no dot product in ggml's CPU
# backend: multiplying by them jumps to a null pointer.
_NOT_WEIGHTS = frozenset(
    (
        *(GgmlType.I8, GgmlType.I16, GgmlType.I32, GgmlType.I64, GgmlType.F64),
        *(GgmlType.Q8_1, GgmlType.Q8_K),
    )
)
