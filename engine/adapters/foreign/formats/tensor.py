"""Tensors as they lie in a file of weights, and what readers make of them."""

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
"""By safetensors' name: what it counts as, and how numpy reads it."""
MAX_DIMENSIONS: Final = 8


@dataclass(frozen=True, slots=True)
class FileTensor:
    """A tensor of any type in a file; its values lie there in C order, little-endian."""

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: str
    """As safetensors spells it, `F32` or `BF16`; other formats' names are translated."""
    read: Callable[[], bytes]
    """Returns the bytes of all values; raises `AdapterError` where the file changed meanwhile."""

    @property
    def n_values(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    def stored(self) -> StoredTensor:
        """Return it as floats; raises `AdapterError` where its type is no float of 16 bits or more.

        Float64 is rounded to float32 once, the others are exact.
        """
        known = _DTYPES.get(self.dtype)
        if known is None:
            raise AdapterError(
                f"{self.path} holds {shown(self.name)} as {self.dtype}, not as floats: "
                "save the adapter again in float32, float16 or bfloat16."
            )
        dtype, layout = known

        def read() -> Floats:
            values = np.frombuffer(self.read(), layout)
            if dtype == "bf16":
                values = (values.astype(np.uint32) << 16).view(np.float32)
            with np.errstate(over="ignore"):  # beyond float32 is infinite, which is found later
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
    """Return a tensor whose values are those of `tensor`, moved to other places."""

    def read() -> Floats:
        return np.ascontiguousarray(change(tensor.read()))

    return StoredTensor(tensor.name, shape, tensor.dtype, read)


Floats = npt.NDArray[np.float32]


StoredDtype = Literal["f32", "f16", "bf16"]


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in a file, in PEFT's orientation; nothing is read until it is asked for."""

    name: str
    """As the file calls it, for messages."""
    shape: tuple[int, ...]
    """In numpy's order."""
    dtype: StoredDtype
    """What it was trained or saved in; wider ones count as f32."""
    read: Callable[[], Floats]
    """Returns the values, float32 of `shape`, exact for f16 and bf16; raises `EngineError` where
    the file changed meanwhile or is cut short."""
