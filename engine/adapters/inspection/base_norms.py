"""Compute Frobenius norms of a base's weights on demand, tensor by tensor.

A delta's norm means little without them: 0.01 is large for a weight of norm 1, and negligible for
one of norm 100.
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

from engine.disk.regular_file import FileStamp
from engine.errors import EngineError, stop_if
from engine.gguf.ggml_type import GgmlType
from engine.gguf.header import GgufHeader
from engine.gguf.tensors import TensorInfo
from engine.gguf.weights import Bytes, WeightFile, decoded

Decode = Callable[[Bytes, GgmlType, int], npt.NDArray[np.floating[Any]]]
"""Dequantises whole stored rows to floats of shape (n_rows, row_length), as `decoded` does."""
CHUNK_VALUES: Final = 1 << 20
"""Values decoded at a time: 4 MB as float32."""


class BaseNorms:
    """Cached norms of one base's weights; a different base empties the cache.

    Args:
        decode: `engine.gguf.weights.decoded`, or ggml's own if the process may load llama.cpp: for
            a 1B base in Q4_0, one core took 1 second instead of 3.
        n_threads: Number of threads that decode; the calling thread reads.
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
        """Return the norms of those `targets` that are in the base and can be dequantised.

        Sums squares in float32 within a row and in float64 over rows, and over all experts. Keeps
        the norms computed before, also those of a cancelled call.

        Raises:
            GgufError: The base cannot be read, or changed since its header was read.
            Cancelled: `is_cancelled` returned true; it is called every few megabytes.
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
        """Return the sum of squares of whole rows, or NaN if they cannot be dequantised."""
        try:
            rows = self._decode(data, type_, row_length)
        except EngineError:
            return math.nan
        # The squares of F16 values beyond 255 would overflow F16, whose largest number is 65504.
        rows = rows.astype(np.float32, copy=False)
        of_rows: npt.NDArray[np.float32] = np.einsum("ij,ij->i", rows, rows)
        return float(of_rows.sum(dtype=np.float64))


def _chunks(tensor: TensorInfo) -> Iterator[tuple[int, int]]:
    """Yield offset in the tensor's data and size, in bytes, of each chunk of whole rows."""
    row_bytes = tensor.type.size_bytes((tensor.ne[0],))
    step = max(1, CHUNK_VALUES // max(1, tensor.ne[0])) * max(1, row_bytes)
    for start in range(0, tensor.size_bytes, step):
        yield start, min(step, tensor.size_bytes - start)
