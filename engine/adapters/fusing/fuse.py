"""Fuse a stack of LoRA adapters into one mathematically equivalent adapter.

The deltas of a stack add up, and a sum of products is one product of concatenated factors:

    sum_i s_i B_i A_i = [s_1 B_1 … s_n B_n] [A_1; …; A_n]

so the rows of A and the columns of B are concatenated along the rank, with `scale * alpha / rank`
folded into B. llama.cpp then runs one chain of small operations per weight instead of n: measured
with 8 adapters of rank 16, decode was 1.9 to 2.6 times as fast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engine.adapters.fusing.file import (
    FUSED_VERSION,
    VERSION_KEY,
    Further,
    FusedWriter,
    Layout,
    fused_stack,
    writing,
)
from engine.adapters.fusing.plan import BType, Piece, Plan, plans_of
from engine.adapters.pairs import LORA_A
from engine.adapters.scaled_adapter import FusePart, active_parts
from engine.errors import AdapterError, GgufError, stop_if
from engine.gguf.ggml_type import GgmlType
from engine.gguf.header import GgufHeader, read_header
from engine.gguf.weights import WeightFile, decoded
from engine.stack import to_float32
from modelfiles.wording import shown

CHUNK_VALUES: Final = 1 << 18
"""Values of B folded at a time: 2 MB as float64 stay in the processor's cache."""
_F16_MIN_NORMAL: Final = 0x0400
"""Bits of 2**-14: a factor whose largest value is smaller would lose precision or become 0."""
_F16_INFINITY: Final = 0x7C00


@dataclass(frozen=True, slots=True)
class Fused:
    """A fused adapter file and its properties."""

    path: Path
    size_bytes: int
    is_a_copied: bool
    """Whether the A tensors were copied from the earlier file instead of the adapters."""


def fuse(
    parts: Sequence[FusePart],
    out: Path,
    *,
    b_type: BType = GgmlType.F16,
    previous: Path | None = None,
    texts: Mapping[str, Further] | None = None,
    is_durable: bool = True,
    is_cancelled: Callable[[], bool] = lambda: False,
    on_progress: Callable[[str, float], None] = lambda *_: None,
) -> Fused:
    """Write one adapter that is, at scale 1, equivalent to `parts` at their scales.

    The parts may change different tensors and have different ranks. A keeps its stored bytes if
    all its pieces have one type, else it becomes F32. B is folded in float64 and rounded once, to
    `b_type`, or to F32 if F16 cannot hold it: a value beyond 65504, or a factor whose largest value
    is below 2**-14. Leaves out norms, which llama.cpp ignores, and invocation tokens. Equal
    arguments give equal bytes, whether or not A was copied.

    Args:
        parts: Adapters with their scales; those at scale 0 are skipped.
        out: The file to write atomically.
        b_type: Type of B; F32 is worth its size only on an F32 base.
        previous: An earlier result for the same adapters in the same order at other scales, from
            which A is copied; ignored if it does not match.
        texts: Further metadata, such as `general.name`.
        is_durable: Whether to sync the file to survive a power cut.
        is_cancelled: Called between chunks of at most a few megabytes.
        on_progress: Called with the current tensor and the fraction done, 0 to 1; may raise.

    Raises:
        AdapterError: There is nothing to fuse, or the parts are incompatible.
        GgufError: A part cannot be read, or changed since its header was read.
        EngineError: `out` cannot be written.
        Cancelled: `is_cancelled` returned true.
    """
    active = active_parts(parts)
    a_plans, b_plans = plans_of(active, b_type)
    layout = _layout(active, (*a_plans, *b_plans), texts or {})
    earlier = _usable(previous, active, a_plans)
    n_plans = len(a_plans) + len(b_plans)
    with ExitStack() as files, writing(out, layout, is_durable=is_durable) as writer:
        weights = [files.enter_context(WeightFile(part.header)) for part in active]
        is_a_copied = earlier is not None and writer.copy_a(earlier, [p.type for p in a_plans])
        for index, plan in enumerate(() if is_a_copied else a_plans):
            on_progress(plan.name, index / n_plans)
            for chunk in _a_chunks(plan, weights):
                stop_if(is_cancelled)
                writer.write(chunk)
            writer.end_tensor(plan.type)
        writer.begin_b()
        fold = _Fold()
        for index, plan in enumerate(b_plans, len(a_plans)):
            on_progress(plan.name, index / n_plans)
            _write_b(plan, weights, writer, fold, is_cancelled)
        for file in weights:
            file.require_unchanged()
        stop_if(is_cancelled)
    return Fused(out, out.stat().st_size, is_a_copied)


def fused_size_bytes(parts: Sequence[FusePart], b_type: BType = GgmlType.F16) -> int:
    """Return the size of the file that `fuse` would write if no B tensor is widened to F32.

    Raises `AdapterError` as `fuse` does.
    """
    active = active_parts(parts)
    plans = [plan for plans in plans_of(active, b_type) for plan in plans]
    return _layout(active, plans, {}).size_bytes([plan.type for plan in plans])


def _layout(
    active: Sequence[FusePart], plans: Iterable[Plan], texts: Mapping[str, Further]
) -> Layout:
    return Layout(
        architecture=active[0].header.architecture or "",
        sha256s=tuple(part.sha256 for part in active),
        scales=tuple(to_float32(part.scale) for part in active),
        texts=texts,
        shapes={plan.name: plan.shape for plan in plans},
    )


def _usable(
    previous: Path | None, active: Sequence[FusePart], a_plans: Sequence[Plan]
) -> GgufHeader | None:
    """Return the header of `previous` if its A section equals the one to be written, else None."""
    if previous is None:
        return None
    try:
        header = read_header(previous)
        stack = fused_stack(header)
    except GgufError:
        return None
    if header.integer(VERSION_KEY) != FUSED_VERSION:
        return None
    if stack is None or [sha256 for sha256, _ in stack] != [part.sha256 for part in active]:
        return None
    found = [(t.name, t.shape, t.type) for t in header.tensors.values() if t.name.endswith(LORA_A)]
    return header if found == [(p.name, p.shape, p.type) for p in a_plans] else None


def _a_chunks(plan: Plan, weights: Sequence[WeightFile]) -> Iterator[npt.NDArray[Any]]:
    """Yield the bytes of a fused A tensor in order, a few megabytes at a time."""
    n_values = prod(plan.shape) // plan.n_outer
    for start, stop in _ranges(plan.n_outer, n_values):
        blocks = []
        for piece in plan.pieces:
            data = _rows(piece, weights, plan.n_outer, start, stop)
            if piece.tensor.type is not plan.type:
                values = decoded(data, piece.tensor.type, piece.tensor.ne[0])
                data = np.ascontiguousarray(values, dtype=np.float32).reshape(-1).view(np.uint8)
            blocks.append(data.reshape(stop - start, -1))
        if stop - start == 1:
            yield from blocks
        else:
            yield np.concatenate(blocks, axis=1)


def _write_b(
    plan: Plan,
    weights: Sequence[WeightFile],
    writer: FusedWriter,
    fold: _Fold,
    is_cancelled: Callable[[], bool],
) -> None:
    """Write a fused B tensor in its planned type, or in F32 if F16 cannot hold it."""
    mark = writer.mark()
    for type_ in (plan.type, GgmlType.F32):
        dtype = np.dtype("<f2" if type_ is GgmlType.F16 else "<f4")
        peaks = np.zeros(plan.shape[0], dtype="<u2")
        for start, stop in _ranges(plan.n_outer, plan.shape[0]):
            stop_if(is_cancelled)
            folded = np.empty((stop - start, plan.shape[0]), dtype=dtype)
            column = 0
            for piece in plan.pieces:
                end = column + piece.tensor.ne[0]
                data = _rows(piece, weights, plan.n_outer, start, stop)
                fold(data, piece, folded[:, column:end])
                column = end
            if type_ is GgmlType.F32 and not np.isfinite(folded).all():
                raise AdapterError(
                    f"The stack's scales drive {shown(plan.name)} out of the range of numbers: "
                    "use smaller ones or other adapters."
                )
            if type_ is GgmlType.F16:
                magnitudes = folded.view("<u2") & 0x7FFF  # same order as the absolute values
                np.maximum(peaks, magnitudes.max(axis=0), out=peaks)
            writer.write(folded)
        if type_ is GgmlType.F32 or _fits_f16(plan, peaks, weights):
            writer.end_tensor(type_)
            return
        writer.back_to(mark)


class _Fold:
    """Multiplies stored values of B by a factor in float64 and rounds once."""

    def __init__(self) -> None:
        self._tables: dict[tuple[GgmlType, float], npt.NDArray[np.float16]] = {}

    def __call__(
        self, data: npt.NDArray[np.uint8], piece: Piece, out: npt.NDArray[np.floating[Any]]
    ) -> None:
        """Fold whole rows of a piece into `out`, shape (n_rows, rank), F16 or F32."""
        type_ = piece.tensor.type
        if out.dtype == np.float16 and type_ in (GgmlType.F16, GgmlType.BF16):
            # There are only 65,536 such numbers, so each product is computed once and looked up:
            # 1.3 ns per value instead of 4 on one server core.
            bits = data.view("<u2").reshape(out.shape)
            np.take(self._table(type_, piece.factor), bits, out=out, mode="clip")
            return
        values = decoded(data, type_, piece.tensor.ne[0]).astype(np.float64)
        values *= piece.factor
        with np.errstate(over="ignore"):
            out[:] = values

    def _table(self, type_: GgmlType, factor: float) -> npt.NDArray[np.float16]:
        table = self._tables.get((type_, factor))
        if table is None:
            bits = np.arange(1 << 16, dtype="<u2")
            values = decoded(bits.view(np.uint8), type_, 1).reshape(-1)
            with np.errstate(over="ignore", invalid="ignore"):
                table = (values.astype(np.float64) * factor).astype(np.float16)
            self._tables[type_, factor] = table
        return table


def _fits_f16(plan: Plan, peaks: npt.NDArray[np.uint16], weights: Sequence[WeightFile]) -> bool:
    """Return whether F16 can hold the tensor, given the peak bits of each column."""
    column = 0
    for piece in plan.pieces:
        end = column + piece.tensor.ne[0]
        peak = int(peaks[column:end].max())
        column = end
        if peak == 0 and _is_zero(piece, plan, weights):
            continue
        if not _F16_MIN_NORMAL <= peak < _F16_INFINITY:
            return False
    return True


def _is_zero(piece: Piece, plan: Plan, weights: Sequence[WeightFile]) -> bool:
    """Return whether all of a piece is 0, as B is before training, not just too small for F16."""
    for start, stop in _ranges(plan.n_outer, plan.shape[0]):
        data = _rows(piece, weights, plan.n_outer, start, stop)
        if decoded(data, piece.tensor.type, piece.tensor.ne[0]).any():
            return False
    return True


def _rows(
    piece: Piece, weights: Sequence[WeightFile], n_outer: int, start: int, stop: int
) -> npt.NDArray[np.uint8]:
    """Return the stored bytes of outer rows `start` to `stop` of a piece."""
    row_bytes = piece.tensor.size_bytes // n_outer
    return weights[piece.part].read(piece.tensor, start * row_bytes, (stop - start) * row_bytes)


def _ranges(n_outer: int, n_values: int) -> Iterator[tuple[int, int]]:
    """Split `n_outer` rows of `n_values` into ranges of about one chunk."""
    step = max(1, CHUNK_VALUES // n_values)
    for start in range(0, n_outer, step):
        yield start, min(start + step, n_outer)
