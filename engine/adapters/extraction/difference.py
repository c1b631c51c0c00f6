"""Compare two models of one architecture, tensor by tensor.

Also decides which differences an adapter can hold: llama.cpp applies pairs only to the matrices
that its graph multiplies by.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from engine.adapters.pairs import OUTPUT, TOKEN_EMBEDDING
from engine.errors import BaseError
from engine.gguf.header import GgufHeader
from engine.gguf.tensors import TensorInfo
from engine.gguf.weights import WeightFile
from engine.llama.quants import dequantized
from modelfiles.wording import shown

Floats = npt.NDArray[np.float32]

_CHUNK_VALUES: Final = 1 << 20
"""Values of each model dequantised at a time: 4 MB as float32."""
_SIZES: Final = ("block_count", "embedding_length", "expert_count")
_NEVER_MULTIPLIED: Final = re.compile(
    r"(position_embd|token_types|rope_freqs)\.weight"
    r"|.*\.(ssm_conv1d\w*|ssm_a|time_mix_first|time_mix_decay)\.weight"
)


class Obstacle(StrEnum):
    """Why an adapter cannot hold the difference of a tensor."""

    VECTOR = "vectors, such as norms and biases"
    TIED = "embeddings whose weights the output shares"
    NOT_MULTIPLIED = "tensors that llama.cpp does not multiply by"
    NO_WEIGHTS = "tensors that hold no weights"
    SHAPE = "tensors of another shape"
    ABSENT = "tensors that only one of the models has"


@dataclass(frozen=True, slots=True)
class Counterparts:
    """A tensor that both models have in the same shape."""

    base: TensorInfo
    tuned: TensorInfo

    @property
    def n_experts(self) -> int:
        """Number of stacked matrices; 1 for a matrix or a vector."""
        return self.base.ne[2] * self.base.ne[3]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The tensors of two models, matched by name and shape."""

    common: tuple[Counterparts, ...]
    """Matched tensors, in the base's order."""
    apart: dict[Obstacle, tuple[str, ...]]
    """Names of tensors without a counterpart of equal shape, by reason."""


def compare(base: GgufHeader, tuned: GgufHeader) -> Comparison:
    """Match the tensors of two models that can be subtracted.

    Raises `BaseError` if the models differ in architecture or size, or have no tensor in common.
    """
    if base.architecture != tuned.architecture:
        raise BaseError(
            f"has the architecture {shown(tuned.architecture or '')}, but the base "
            f"{shown(base.architecture or '')}: name the model it was tuned from.",
            tuned.path,
        )
    for name in _SIZES:
        key = f"{base.architecture}.{name}"
        ours, theirs = base.integer(key), tuned.integer(key)
        if ours != theirs:
            raise BaseError(
                f"has {name} {theirs}, but the base {ours}: name the model it was tuned from.",
                tuned.path,
            )
    common, reshaped = [], []
    for name, ours_info in base.tensors.items():
        theirs_info = tuned.tensors.get(name)
        if theirs_info is None:
            continue
        if ours_info.ne == theirs_info.ne:
            common.append(Counterparts(ours_info, theirs_info))
        else:
            reshaped.append(name)
    if not common:
        raise BaseError(
            "and the base have no tensor of equal name and shape: name the model it was tuned "
            "from.",
            tuned.path,
        )
    alone = sorted(base.tensors.keys() ^ tuned.tensors.keys())
    return Comparison(
        tuple(common), {Obstacle.SHAPE: tuple(reshaped), Obstacle.ABSENT: tuple(alone)}
    )


def obstacle_to(pair: Counterparts, base: GgufHeader) -> Obstacle | None:
    """Return why llama.cpp would refuse or ignore a pair for this tensor, or None."""
    name = pair.base.name
    if not (pair.base.type.is_usable_in_adapter and pair.tuned.type.is_usable_in_adapter):
        return Obstacle.NO_WEIGHTS
    if pair.base.ne[1:] == (1, 1, 1):
        return Obstacle.VECTOR
    if name == TOKEN_EMBEDDING and OUTPUT not in base.tensors:
        return Obstacle.TIED
    if not name.endswith(".weight") or _NEVER_MULTIPLIED.fullmatch(name) or pair.base.ne[3] > 1:
        return Obstacle.NOT_MULTIPLIED
    return None


def subtracted(
    pair: Counterparts, base: WeightFile, tuned: WeightFile, expert: int = 0
) -> Floats | None:
    """Return tuned minus base of one expert, float32 (n_out, n_in); None if they are equal.

    Compares stored bytes first, so that equal rows are not dequantised. Raises `EngineError` if a
    type cannot be dequantised, `GgufError` if a file cannot be read.
    """
    n_in, n_out = pair.base.ne[:2]
    delta: Floats | None = None
    for start, stop in _row_ranges(n_out, n_in):
        first = expert * n_out + start
        ours = _rows(base, pair.base, first, stop - start)
        theirs = _rows(tuned, pair.tuned, first, stop - start)
        if pair.base.type is pair.tuned.type and np.array_equal(ours, theirs):
            continue
        if delta is None:
            delta = np.zeros((n_out, n_in), np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # callers report non-finite values
            np.subtract(
                dequantized(theirs, pair.tuned.type, n_in),
                dequantized(ours, pair.base.type, n_in),
                out=delta[start:stop],
            )
    return delta if delta is not None and delta.any() else None


def is_stored_differently(pair: Counterparts, base: WeightFile, tuned: WeightFile) -> bool:
    """Return whether the types or stored bytes differ, for a tensor that holds no weights."""
    if pair.base.type is not pair.tuned.type:
        return True
    return not np.array_equal(base.read(pair.base), tuned.read(pair.tuned))


def _rows(file: WeightFile, tensor: TensorInfo, first: int, n_rows: int) -> npt.NDArray[np.uint8]:
    row_bytes = tensor.type.size_bytes((tensor.ne[0],))
    return file.read(tensor, first * row_bytes, n_rows * row_bytes)


def _row_ranges(n_rows: int, row_length: int) -> Iterator[tuple[int, int]]:
    step = max(1, _CHUNK_VALUES // row_length)
    for start in range(0, n_rows, step):
        yield start, min(start + step, n_rows)
