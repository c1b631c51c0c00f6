"""The Frobenius norms of a base's weights, read tensor by tensor and only where they are asked for.

A delta means little by itself: a change of 0.01 is much where the weight has a norm of 1, and
nothing where it has 100.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engine.adapters.cursor import FileStamp
from engine.adapters.ggml_type import GgmlType
from engine.adapters.header import GgufHeader
from engine.adapters.tensors import TensorInfo
from engine.adapters.weights import Bytes, WeightFile, decoded
from engine.cancel import stop_if
from engine.errors import EngineError

Decode = Callable[[Bytes, GgmlType, int], npt.NDArray[np.floating[Any]]]
"""Turns whole stored rows into floats of shape (n_rows, row_length), as `decoded` does."""
CHUNK_VALUES: Final = 1 << 20
"""Values decoded at a time: 4 MB as float32."""


class BaseNorms:
    """Norms of one base's weights at a time; each tensor is read once, until another base comes.

    Args:
        decode: `engine.adapters.weights.decoded`, or ggml's own where the process may load
            llama.cpp: for a base of 1B in Q4_0, 3 seconds of a core became 1.
        n_threads: Threads that decode; reading is done in the caller's.
    """

    def __init__(self, decode: Decode = decoded, n_threads: int = 1) -> None:
        self._decode = decode
        self._n_threads = max(1, n_threads)
        self._stamps: Mapping[Path, FileStamp] = {}
        self._norms: dict[str, float] = {}

    def of(
        self,
        base: GgufHeader,
        targets: Iterable[str],
        *,
        on_fraction: Callable[[float], None] = lambda _: None,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> dict[str, float]:
        """Return the norms of those `targets` that are in the base and can be turned into floats.

        Computed per row in float32, over the rows in float64; of experts over all of them. What
        was read before is not read again, also where an earlier call was cancelled.

        Raises:
            GgufError: The base cannot be read, or changed since its header was read.
            Cancelled: `is_cancelled` said so; it is asked every few megabytes.
        """
        if base.part_stamps != self._stamps:
            self._stamps, self._norms = base.part_stamps, {}
        wanted = [base.tensors[target] for target in targets if target in base.tensors]
        missing = [t for t in wanted if t.name not in self._norms and t.size_bytes]
        if missing:
            self._read(base, missing, on_fraction, is_cancelled)
        norms = {tensor.name: self._norms.get(tensor.name, 0.0) for tensor in wanted}
        return {target: norm for target, norm in norms.items() if not math.isnan(norm)}

    def _read(
        self,
        base: GgufHeader,
        tensors: list[TensorInfo],
        on_fraction: Callable[[float], None],
        is_cancelled: Callable[[], bool],
    ) -> None:
        total_bytes = max(1, sum(tensor.size_bytes for tensor in tensors))
        done_bytes = 0
        squares: defaultdict[str, float] = defaultdict(float)
        waiting: deque[tuple[TensorInfo, bool, Future[float]]] = deque()

        def take_first() -> None:
            tensor, is_last, future = waiting.popleft()
            squares[tensor.name] += future.result()
            if is_last:
                self._norms[tensor.name] = math.sqrt(squares[tensor.name])

        with WeightFile(base) as file, ThreadPoolExecutor(self._n_threads) as pool:
            for tensor in tensors:
                row_length = tensor.ne[0]
                for start, size_bytes in _chunks(tensor):
                    stop_if(is_cancelled)
                    data = file.read(tensor, start, size_bytes)
                    is_last = start + size_bytes == tensor.size_bytes
                    future = pool.submit(self._sum_of_squares, data, tensor.type, row_length)
                    waiting.append((tensor, is_last, future))
                    if len(waiting) > 2 * self._n_threads:
                        take_first()
                    done_bytes += size_bytes
                    on_fraction(done_bytes / total_bytes)
            while waiting:
                take_first()
            file.require_unchanged()

    def _sum_of_squares(self, data: Bytes, type_: GgmlType, row_length: int) -> float:
        """Return the sum of squares of whole rows, NaN where they cannot be turned into floats."""
        try:
            rows = self._decode(data, type_, row_length)
        except EngineError:
            return math.nan
        # F16 would overflow beyond 256: its largest number is 65504.
        rows = rows.astype(np.float32, copy=False)
        of_rows: npt.NDArray[np.float32] = np.einsum("ij,ij->i", rows, rows)
        return float(of_rows.sum(dtype=np.float64))


def _chunks(tensor: TensorInfo) -> Iterator[tuple[int, int]]:
    """Yield where in a tensor's data each chunk of whole rows begins, and its size, in bytes."""
    row_bytes = tensor.type.size_bytes((tensor.ne[0],))
    step = max(1, CHUNK_VALUES // max(1, tensor.ne[0])) * max(1, row_bytes)
    for start in range(0, tensor.size_bytes, step):
        yield start, min(step, tensor.size_bytes - start)
