"""The table of tensor types agrees with the ggml library that is installed."""

from __future__ import annotations

import ctypes

import pytest
from llama_cpp import llama_cpp

from engine.gguf.ggml_type import GgmlType

LIBRARY = llama_cpp._lib  # ggml's functions are found through it, being what it is linked with


class CpuTraits(ctypes.Structure):
    """`struct ggml_type_traits_cpu` of ggml-cpu.h."""

    _fields_ = (
        ("from_float", ctypes.c_void_p),
        ("dot_product", ctypes.c_void_p),
        ("dot_product_type", ctypes.c_int),
        ("n_rows", ctypes.c_int64),
    )


def block_of(number: int) -> tuple[int, int]:
    """Return ggml's values and bytes per block of a type."""
    LIBRARY.ggml_blck_size.restype = ctypes.c_int64
    LIBRARY.ggml_type_size.restype = ctypes.c_size_t
    return LIBRARY.ggml_blck_size(number), LIBRARY.ggml_type_size(number)


@pytest.mark.parametrize("type_", GgmlType, ids=lambda type_: type_.name)
def test_blocks_have_the_length_and_size_of_the_library(type_: GgmlType) -> None:
    assert (type_.block_length, type_.block_bytes) == block_of(type_)


def test_no_type_of_the_library_is_missing() -> None:
    removed = [number for number in range(max(GgmlType)) if block_of(number)[0] == 0]
    assert sorted([*GgmlType, *removed]) == list(range(max(GgmlType) + 1))


@pytest.mark.parametrize("type_", GgmlType, ids=lambda type_: type_.name)
def test_a_type_is_usable_where_the_library_can_multiply_by_it(type_: GgmlType) -> None:
    LIBRARY.ggml_get_type_traits_cpu.restype = ctypes.POINTER(CpuTraits)
    traits = LIBRARY.ggml_get_type_traits_cpu(type_).contents
    assert type_.is_usable_in_adapter == bool(traits.dot_product)


def test_the_size_counts_whole_blocks() -> None:
    assert GgmlType.F32.size_bytes((3, 5)) == 60
    assert GgmlType.Q8_0.size_bytes((64, 2)) == 4 * 34
    assert GgmlType.F16.size_bytes(()) == 2
    assert GgmlType.Q4_K.size_bytes((0, 7)) == 0
    with pytest.raises(ValueError, match="no multiple of 32"):
        GgmlType.Q8_0.size_bytes((33, 2))
