"""Define tensors as stored in a weights file, and their conversion to floats."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from engine.errors import AdapterError
from modelfiles.wording import shown

_DTYPES: Final[Mapping[str, tuple[StoredDtype, str]]] = {
    "F32": ("f32", "<f4"),
    "F16": ("f16", "<f2"),
    "BF16": ("bf16", "<u2"),
    "F64": ("f32", "<f8"),
}
"""By safetensors' dtype name: the `StoredDtype` and the numpy dtype to read it with."""
MAX_DIMENSIONS: Final = 8


@dataclass(frozen=True, slots=True)
class FileTensor:
    """A tensor of any dtype in a file, whose values `read` returns in C order, little-endian."""

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: str
    """Safetensors' name, such as `F32` or `BF16`; names of other formats are translated."""
    read: Callable[[], bytes]
    """Returns the bytes of all values; raises `AdapterError` if the file changed."""

    @property
    def n_values(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    def stored(self) -> StoredTensor:
        """Return the tensor as floats; raise `AdapterError` unless it is F16, BF16, F32 or F64.

        Float64 is rounded to float32 once, the others are exact.
        """
        known = _DTYPES.get(self.dtype)
        if known is None:
            raise AdapterError(
                f"holds {shown(self.name)} as {self.dtype}, not as floats: "
                "save the adapter again in float32, float16 or bfloat16.",
                self.path,
            )
        dtype, layout = known

        def read() -> Floats:
            values = np.frombuffer(self.read(), layout)
            if dtype == "bf16":
                values = (values.astype(np.uint32) << 16).view(np.float32)
            with np.errstate(over="ignore"):  # overflow gives infinities, which are refused later
                return values.astype(np.float32).reshape(self.shape)

        return StoredTensor(self.name, self.shape, dtype, read)


def transposed(tensor: StoredTensor) -> StoredTensor:
    """Return a matrix with rows and columns exchanged."""
    return derived(tensor, tensor.shape[::-1], lambda values: values.T)


def derived(
    tensor: StoredTensor,
    shape: tuple[int, ...],
    change: Callable[[Floats], npt.NDArray[np.float32]],
) -> StoredTensor:
    """Return a tensor of `shape` whose values are those of `tensor`, transformed by `change`."""

    def read() -> Floats:
        return np.ascontiguousarray(change(tensor.read()))

    return StoredTensor(tensor.name, shape, tensor.dtype, read)


Floats = npt.NDArray[np.float32]


StoredDtype = Literal["f32", "f16", "bf16"]


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in a file, in PEFT's orientation, whose values are read on demand."""

    name: str
    """Name in the file, for messages."""
    shape: tuple[int, ...]
    """Shape in numpy's order."""
    dtype: StoredDtype
    """Dtype in the file; wider ones count as f32."""
    read: Callable[[], Floats]
    """Returns the values, float32 of `shape`, exact for f16 and bf16; raises `EngineError` if the
    file changed or was truncated."""
