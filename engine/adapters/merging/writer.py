"""Write the tensors of a merged model, copied or converted in several threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from io import FileIO
from pathlib import Path
from typing import Final

from engine.adapters.factors import Factors, stacked_factors
from engine.adapters.merging.blocks import (
    Block,
    delta_energy,
    merged_block,
    row_ranges,
    term_energy,
)
from engine.adapters.merging.plan import MergedTensor
from engine.adapters.merging.record import TensorMerge, require_retained
from engine.adapters.scaled_adapter import FusePart
from engine.disk.whole_output import write_whole
from engine.errors import AdapterError
from engine.gguf.header import GgufHeader
from engine.gguf.weights import WeightFile
from engine.gguf.writer import Field, GgufWriter, encoded_header

OnProgress = Callable[[str, float], None]
"""Called with the current step and the fraction done, 0 to 1."""

_COPIED_BYTES: Final = 8 * 2**20
_LEAST_ENERGY: Final = 1e-12
"""Least energy of a delta as a share of its terms' energy: float32 rounds each term to 1e-7 of it,
whose square is 1e-14."""


class MergeMeter:
    """Counts progress: bytes hashed of the bases, and bytes of the output."""

    def __init__(
        self,
        on_progress: OnProgress,
        stop_if_cancelled: Callable[[], None],
        models: Sequence[GgufHeader],
        out_bytes: int,
    ) -> None:
        read_bytes = sum(model.file_size_bytes for model in models)
        self._total = max(read_bytes + out_bytes, 1)
        self._done = 0
        self._on_progress = on_progress
        self._stop_if_cancelled = stop_if_cancelled

    def hashed(self, path: Path, n_bytes: int) -> None:
        """Add hashed bytes of a base."""
        self._add(f"reading {path.name}", n_bytes)

    def wrote(self, name: str, n_bytes: int) -> None:
        """Add written bytes of a tensor."""
        self._add(f"merging {name}", n_bytes)

    def _add(self, title: str, n_bytes: int) -> None:
        self._stop_if_cancelled()
        self._done += n_bytes
        self._on_progress(title, min(self._done / self._total, 1.0))


class MergeWriter:
    """Writes the tensors of a plan in order."""

    def __init__(
        self,
        file: FileIO,
        fields: Sequence[Field],
        plan: Sequence[MergedTensor],
        bases: dict[Path, WeightFile],
        active: Sequence[FusePart],
        loras: Sequence[WeightFile],
        meter: MergeMeter,
    ) -> None:
        slots = [tensor.slot for tensor in plan]
        write_whole(file, encoded_header(fields, slots))
        self._writer = GgufWriter(file, slots)
        self._plan = plan
        self._bases = bases
        self._active = active
        self._loras = loras
        self._meter = meter

    def run(self, n_threads: int, *, is_forced: bool) -> tuple[TensorMerge, ...]:
        """Write all tensors; return the results for the touched ones.

        Unless `is_forced`, raises `AdapterError` as soon as too little of the delta can be kept.
        """
        merged: list[TensorMerge] = []
        wanted = 0.0 if is_forced else self._wanted()
        with ThreadPoolExecutor(n_threads, thread_name_prefix="merge") as pool:
            for tensor in self._plan:
                if tensor.is_copied:
                    self._copy(tensor)
                else:
                    found = self._convert(tensor, pool, 2 * n_threads)
                    if tensor.is_touched:
                        merged.append(found)
                        if not is_forced:
                            require_retained(merged, wanted)
                self._writer.end_tensor()
        self._writer.finish()
        return tuple(merged)

    def _wanted(self) -> float:
        """Return <d, d> of the whole delta; raise `AdapterError` if it is only rounding error."""
        wanted = terms = 0.0
        for tensor in self._plan:
            if tensor.is_touched:
                factors = stacked_factors(tensor.name, self._active, self._loras)
                if factors is not None:
                    wanted += delta_energy(factors)
                    terms += term_energy(factors)
        if wanted < _LEAST_ENERGY * terms:
            raise AdapterError(
                "There is nothing to merge: the stack's adapters cancel each other out; change "
                "their scales."
            )
        return wanted

    def _copy(self, tensor: MergedTensor) -> None:
        file = self._bases[tensor.source.path]
        for start in range(0, tensor.source.size_bytes, _COPIED_BYTES):
            size = min(_COPIED_BYTES, tensor.source.size_bytes - start)
            self._writer.write(file.read(tensor.source, start, size))
            self._meter.wrote(tensor.name, size)

    def _convert(self, tensor: MergedTensor, pool: ThreadPoolExecutor, n_ahead: int) -> TensorMerge:
        factors = None
        if tensor.is_touched:
            factors = stacked_factors(tensor.name, self._active, self._loras)
        kept = wanted = 0.0
        for block in self._blocks(tensor, factors, pool, n_ahead):
            kept += block.kept
            wanted += block.wanted
            self._writer.write(block.data)
            self._meter.wrote(tensor.name, block.data.size)
        return TensorMerge(tensor.name, tensor.source.type, tensor.type, kept, wanted)

    def _blocks(
        self,
        tensor: MergedTensor,
        factors: Factors | None,
        pool: ThreadPoolExecutor,
        n_ahead: int,
    ) -> Iterator[Block]:
        """Yield the blocks of a tensor in order, with at most `n_ahead` in progress."""
        file = self._bases[tensor.source.path]
        pending: deque[Future[Block]] = deque()
        for rows in row_ranges(tensor.source):
            data = file.read(tensor.source, rows.offset_bytes, rows.size_bytes)
            pending.append(
                pool.submit(merged_block, data, tensor.source, tensor.type, factors, rows)
            )
            if len(pending) >= n_ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
