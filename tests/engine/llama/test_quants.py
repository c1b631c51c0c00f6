"""ggml's conversions agree with gguf-py's, the independent implementation."""

from __future__ import annotations

import gguf
import numpy as np
import pytest

from engine.errors import EngineError
from engine.gguf.ggml_type import GgmlType
from engine.llama.quants import dequantized, is_writable, quantized

VALUES = np.random.default_rng(3).standard_normal((5, 512)).astype(np.float32)
BOTH = (GgmlType.F16, GgmlType.BF16, GgmlType.Q8_0, GgmlType.Q4_0, GgmlType.Q5_1)
K_QUANTS = (GgmlType.Q4_K, GgmlType.Q6_K, GgmlType.Q3_K, GgmlType.IQ4_XS, GgmlType.Q2_K)


@pytest.mark.parametrize("type_", BOTH)
def test_rows_are_quantised_as_gguf_py_does(type_: GgmlType) -> None:
    expected = gguf.quants.quantize(VALUES, gguf.GGMLQuantizationType(int(type_)))
    np.testing.assert_array_equal(quantized(VALUES, type_), expected.reshape(-1).view(np.uint8))


@pytest.mark.parametrize("type_", [*BOTH, *K_QUANTS])
def test_rows_are_dequantised_as_gguf_py_does(type_: GgmlType) -> None:
    data = quantized(VALUES, type_)
    kind = gguf.GGMLQuantizationType(int(type_))
    expected = gguf.quants.dequantize(data.reshape(len(VALUES), -1), kind)
    np.testing.assert_allclose(dequantized(data, type_, 512), expected, rtol=1e-6, atol=1e-7)
    error = np.abs(expected - VALUES).mean()
    assert error < 0.5


def test_f32_is_taken_as_it_is() -> None:
    data = quantized(VALUES, GgmlType.F32)
    np.testing.assert_array_equal(dequantized(data, GgmlType.F32, 512), VALUES)


def test_a_type_that_needs_an_importance_matrix_is_refused() -> None:
    assert not is_writable(GgmlType.IQ2_XXS)
    with pytest.raises(EngineError, match="IQ2_XXS"):
        quantized(VALUES, GgmlType.IQ2_XXS)


def test_integers_are_no_weights() -> None:
    with pytest.raises(EngineError, match="I32"):
        dequantized(np.zeros(2048, dtype=np.uint8), GgmlType.I32, 512)


def test_half_a_row_is_refused() -> None:
    with pytest.raises(ValueError, match="whole number of rows"):
        dequantized(np.zeros(100, dtype=np.uint8), GgmlType.F32, 512)
