"""The types in which converted weights are stored, against gguf-py's own conversions."""

from __future__ import annotations

from typing import Any

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.adapters.conversion.encoding import OutType, encoded
from engine.adapters.foreign.formats.tensor import StoredDtype, StoredTensor
from engine.gguf.ggml_type import GgmlType
from engine.gguf.weights import decoded

Array = NDArray[Any]
RNG = np.random.default_rng(0)


def stored(dtype: StoredDtype) -> StoredTensor:
    return StoredTensor("x", (1,), dtype, lambda: np.zeros(1, np.float32))


def values_of(type_: GgmlType, data: Array, values: Array) -> Array:
    raw = np.frombuffer(data.tobytes(), np.uint8).copy()
    return decoded(raw, type_, values.shape[-1]).astype(np.float32).reshape(values.shape)


def bfloat(values: Array) -> Array:
    """Return float32 values cut to what bfloat16 holds."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
    return bits.view(np.float32)


COMMON = RNG.standard_normal((8, 64), dtype=np.float32)
HALF = COMMON.astype(np.float16).astype(np.float32)
BRAIN = bfloat(COMMON)
TINY_BRAIN = bfloat(COMMON * np.float32(2.0**-30))


@pytest.mark.parametrize(
    ("dtype", "values", "expected"),
    [
        ("f32", COMMON, GgmlType.F32),
        ("f32", HALF, GgmlType.F32),  # float32 stays float32, whatever it holds
        ("f16", HALF, GgmlType.F16),
        ("bf16", BRAIN, GgmlType.F16),  # 8 bits of mantissa fit into 11
        ("bf16", TINY_BRAIN, GgmlType.BF16),  # but not below 2**-24
        ("bf16", bfloat(COMMON * np.float32(1e6)), GgmlType.BF16),
        ("f16", HALF * np.float32(1.1), GgmlType.F32),  # a scale was multiplied into it
        ("bf16", BRAIN * np.float32(1.1), GgmlType.F32),
    ],
)
def test_auto_takes_the_smallest_type_that_loses_nothing(
    dtype: StoredDtype, values: Array, expected: GgmlType
) -> None:
    type_, data = encoded(values, "auto", [stored(dtype)])
    assert type_ is expected
    np.testing.assert_array_equal(values_of(type_, data, values), values)


def test_a_pair_made_of_several_tensors_keeps_the_widest() -> None:
    assert encoded(HALF, "auto", [stored("f16"), stored("f32")])[0] is GgmlType.F32


def test_a_negative_zero_keeps_its_sign() -> None:
    values = np.array([[-0.0, 0.0]], np.float32)
    for out_type in ("auto", "f16", "bf16", "f32"):
        type_, data = encoded(values, out_type, [stored("bf16")])
        assert np.signbit(values_of(type_, data, values)).tolist() == [[True, False]]


@pytest.mark.parametrize("out_type", ["f32", "f16", "bf16", "q8_0"])
def test_a_type_asked_for_is_written_as_gguf_py_does(out_type: OutType) -> None:
    type_, data = encoded(COMMON, out_type, [stored("f32")])
    assert type_.name.lower() == out_type
    expected = gguf.quants.quantize(COMMON, gguf.GGMLQuantizationType[type_.name])
    assert data.tobytes() == expected.tobytes()


def test_bf16_rounds_a_tie_to_the_even_neighbour() -> None:
    ties = np.array([[0x3F808000, 0x3F818000, 0xBF808000, 0x3F808001]], np.uint32)
    type_, data = encoded(ties.view(np.float32), "bf16", [stored("f32")])
    assert type_ is GgmlType.BF16
    assert data.tolist() == [[0x3F80, 0x3F82, 0xBF80, 0x3F81]]


def test_rows_that_fill_no_block_of_q8_0_become_f16() -> None:
    values = COMMON[:, :8]
    type_, data = encoded(values, "q8_0", [stored("f32")])
    assert type_ is GgmlType.F16
    np.testing.assert_array_equal(values_of(type_, data, values), values.astype(np.float16))


@pytest.mark.parametrize(
    ("out_type", "largest"), [("f16", 65520.0), ("bf16", 3.4e38), ("q8_0", 8.4e6)]
)
def test_values_beyond_a_type_are_widened_instead_of_becoming_infinite(
    out_type: OutType, largest: float
) -> None:
    values = COMMON.copy()
    values[3, 5] = -largest
    type_, data = encoded(values, out_type, [stored("f32")])
    assert type_ is GgmlType.F32
    np.testing.assert_array_equal(values_of(type_, data, values), values)


@pytest.mark.parametrize(
    ("out_type", "largest"), [("f16", 65504.0), ("bf16", 3.38e38), ("q8_0", 8.31e6)]
)
def test_the_largest_value_of_a_type_stays_in_it(out_type: OutType, largest: float) -> None:
    values = np.full((1, 32), largest, np.float32)
    type_, data = encoded(values, out_type, [stored("f32")])
    assert type_.name.lower() == out_type
    np.testing.assert_allclose(values_of(type_, data, values), values, rtol=2**-8)
