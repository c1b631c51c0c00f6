"""Quantise and dequantise whole rows of weights with ggml's own functions.

Both directions release the GIL, so rows can be converted in several threads.
Source: `ggml_quantize_chunk` and `ggml_get_type_traits` of ggml.h.
"""

from __future__ import annotations

import ctypes
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engine.errors import EngineError
from engine.gguf.ggml_type import GgmlType

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

_ToFloat: Final = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)


class _Traits(ctypes.Structure):
    """`struct ggml_type_traits` of ggml.h as shipped in llama-cpp-python 0.3.36."""

    _fields_ = (
        ("type_name", ctypes.c_char_p),
        ("blck_size", ctypes.c_int64),
        ("blck_size_interleave", ctypes.c_int64),
        ("type_size", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", ctypes.c_void_p),
        ("from_float_ref", ctypes.c_void_p),
    )


def dequantized(data: Bytes, type_: GgmlType, row_length: int) -> Floats:
    """Return the values of stored rows: shape (n_rows, row_length), float32.

    Raises `EngineError` for a type that cannot hold weights, and `ValueError` if `data` is not a
    whole number of rows.
    """
    row_bytes = type_.size_bytes((row_length,))
    if data.size % row_bytes:
        raise ValueError(f"{data.size} bytes are no whole number of rows of {row_bytes} bytes")
    n_rows = data.size // row_bytes
    if type_ is GgmlType.F32:
        return np.ascontiguousarray(data).view("<f4").reshape(n_rows, row_length)
    data = np.ascontiguousarray(data)
    values = np.empty((n_rows, row_length), dtype=np.float32)
    _to_float(type_)(data.ctypes.data, values.ctypes.data, values.size)
    return values


def quantized(values: Floats, type_: GgmlType) -> Bytes:
    """Quantise rows to a type: `values` is float32 of shape (n_rows, row_length), all finite.

    The result is a flat array of bytes. Raises `EngineError` for a type that needs an importance
    matrix or cannot hold weights, and `ValueError` if rows are not a whole number of blocks.
    """
    n_rows, row_length = values.shape
    size_bytes = type_.size_bytes((row_length, n_rows))
    values = np.ascontiguousarray(values, dtype=np.float32)
    if type_ is GgmlType.F32:
        return values.reshape(-1).view(np.uint8)
    if not is_writable(type_):
        raise EngineError(f"Weights cannot be written as {type_.name}: name f16, q8_0 or another.")
    out = np.empty(size_bytes, dtype=np.uint8)
    written = _call(
        "ggml_quantize_chunk",
        ctypes.c_size_t,
        ctypes.c_int(type_),
        ctypes.c_void_p(values.ctypes.data),
        ctypes.c_void_p(out.ctypes.data),
        ctypes.c_int64(0),
        ctypes.c_int64(n_rows),
        ctypes.c_int64(row_length),
        ctypes.c_void_p(None),
    )
    if written != size_bytes:
        raise EngineError(f"llama.cpp wrote {written} of {size_bytes} bytes as {type_.name}.")
    return out


def is_writable(type_: GgmlType) -> bool:
    """Return whether `quantized` can write a type: it holds weights, needs no importance matrix."""
    if not type_.is_usable_in_adapter:
        return False
    needs_matrix = _call("ggml_quantize_requires_imatrix", ctypes.c_bool, ctypes.c_int(type_))
    return not needs_matrix


def _to_float(type_: GgmlType) -> Any:
    traits = _call("ggml_get_type_traits", ctypes.POINTER(_Traits), ctypes.c_int(type_)).contents
    # The layout of the traits depends on ggml's version, so check it against known block sizes.
    is_known = traits.blck_size == type_.block_length and traits.type_size == type_.block_bytes
    if not (is_known and traits.to_float and type_.is_usable_in_adapter):
        raise EngineError(f"Weights stored as {type_.name} cannot be turned into floats.")
    return _ToFloat(traits.to_float)


def _call(name: str, returns: Any, *arguments: Any) -> Any:
    from engine.llama.library import library  # loads llama.cpp, which plain types do without

    function = library[name]  # a fresh object, so that setting its type affects no one else
    function.restype = returns
    return function(*arguments)
