"""Add a delta to rows of a base tensor, quantise them, and measure the part of the delta kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from engine.adapters.factors import Factors
from engine.errors import AdapterError
from engine.gguf.ggml_type import GgmlType
from engine.gguf.tensors import TensorInfo
from engine.llama.quants import dequantized, quantized
from modelfiles.wording import shown

BLOCK_VALUES: Final = 1 << 19
"""Values of a block: 2 MB as float32; processing one holds five arrays of that size."""
_F16_MAX: Final = 65_504.0
# OpenBLAS distributes a product of more than this many multiplications over its own threads, which
# wait for each other: with other work on two cores that took 37 ns per value, and in tiles 0.5.
_TILE_PRODUCTS: Final = 1 << 18
_TILE_COLUMNS: Final = 256

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class RowRange:
    """Whole rows of one expert's matrix, or of the only matrix."""

    expert: int
    start: int
    stop: int
    offset_bytes: int
    """Offset in the tensor's data."""
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Block:
    """Rows as stored in the merged file, and the part of the delta that they hold.

    D are the base's values, d the delta and R the stored values, all float32; see `inner_product`.
    """

    data: Bytes
    kept: float
    """<R - D, d>."""
    wanted: float
    """<d, d>."""


def row_ranges(tensor: TensorInfo) -> Iterator[RowRange]:
    """Split a tensor into ranges of rows, deterministically."""
    row_length, n_rows, *experts = tensor.ne
    row_bytes = tensor.type.size_bytes((row_length,))
    step = max(1, BLOCK_VALUES // row_length)
    for expert in range(experts[0] * experts[1]):
        for start in range(0, n_rows, step):
            stop = min(start + step, n_rows)
            offset = (expert * n_rows + start) * row_bytes
            yield RowRange(expert, start, stop, offset, (stop - start) * row_bytes)


def merged_block(
    data: Bytes, source: TensorInfo, type_: GgmlType, factors: Factors | None, rows: RowRange
) -> Block:
    """Return rows of `source`, stored in `data`, with the delta of `factors` added, as `type_`.

    Without factors, only changes the type. Runs in any thread, mostly without the GIL. Raises
    `AdapterError` if a value is not finite or exceeds F16's range.
    """
    before: Floats = dequantized(data, source.type, source.ne[0])
    if factors is None:
        after = before
    else:
        with np.errstate(over="ignore", invalid="ignore"):  # non-finite values are refused below
            delta = _delta(factors, rows)
            after = before + delta
    _require_range(after, source.name, type_)
    stored = quantized(after, type_)
    if factors is None:
        return Block(stored, 0.0, 0.0)
    arrived = dequantized(stored, type_, source.ne[0]) - before
    return Block(stored, inner_product(arrived, delta), inner_product(delta, delta))


def inner_product(one: Floats, other: Floats) -> float:
    """Return the inner product of two matrices: rows summed in float32, then in float64.

    For a row of thousands of values the float32 sum is right to six digits.
    """
    rows = np.einsum("ij,ij->i", one, other)
    return float(rows.sum(dtype=np.float64))


def delta_energy(factors: Factors) -> float:
    """Return <d, d> of a whole delta from the Gram matrices of its factors.

    |B A|^2 is the sum of the elementwise product of B'B and AA', summed over the experts.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # `merged_block` refuses non-finite values
        grams = (_gram(b.T) * _gram(a) for a, b in zip(factors.a, factors.b, strict=True))
        return float(sum(gram.sum() for gram in grams))


def term_energy(factors: Factors) -> float:
    """Return the sum of <t, t> over the delta's terms, one for each rank of each expert.

    A delta far below this sum is the rounding error of terms that cancel each other.
    """
    squares = (
        np.einsum("eir,eir->er", factors.b, factors.b, dtype=np.float64),
        np.einsum("eri,eri->er", factors.a, factors.a, dtype=np.float64),
    )
    return float(np.vdot(*squares))


def _gram(vectors: Floats) -> npt.NDArray[np.float64]:
    """Return the Gram matrix of the rows."""
    rank, length = vectors.shape
    gram = np.zeros((rank, rank))
    step = max(1, _TILE_PRODUCTS // rank**2)
    for start in range(0, length, step):
        piece = vectors[:, start : start + step].astype(np.float64)
        gram += piece @ piece.T
    return gram


def _delta(factors: Factors, rows: RowRange) -> Floats:
    """Return rows of a delta like `Factors.rows`, in tiles small enough for one BLAS thread."""
    a = factors.a[rows.expert]
    b = factors.b[rows.expert, rows.start : rows.stop]
    delta = np.empty((b.shape[0], a.shape[1]), dtype=np.float32)
    step = max(1, _TILE_PRODUCTS // (factors.rank * _TILE_COLUMNS))
    for top in range(0, b.shape[0], step):
        tile = b[top : top + step]
        for left in range(0, a.shape[1], _TILE_COLUMNS):
            columns = slice(left, left + _TILE_COLUMNS)
            np.matmul(tile, a[:, columns], out=delta[top : top + step, columns])
    return delta


def _require_range(values: Floats, name: str, type_: GgmlType) -> None:
    peak = float(np.abs(values).max(initial=0.0))
    if not np.isfinite(peak):
        raise AdapterError(
            f"Tensor {shown(name)} would hold NaN or infinity: the base is damaged, or the "
            "adapters' scales are far too large."
        )
    if type_ is GgmlType.F16 and peak > _F16_MAX:
        raise AdapterError(
            f"Tensor {shown(name)} would hold {peak:.3g}, beyond F16 (65504): merge with the "
            "type bf16 or f32."
        )
