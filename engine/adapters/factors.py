"""Read the two factors of a LoRA delta in the orientation of the base tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.adapters.pairs import Pair, pairs_of
from engine.adapters.scaled_adapter import FusePart, factor_of
from engine.gguf.weights import WeightFile

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Factors:
    """The delta that an adapter or a stack adds to one base tensor W: `b[e] @ a[e]` to each W[e].

    W has the shape (n_experts, n_out, n_in) in numpy's order, with one expert for a matrix. Files
    store the pair of the token embedding transposed; it is transposed back here, so that W of
    (n_vocab, n_embd) also gets a delta of its own shape.
    """

    target: str
    """Name of the base tensor."""
    a: Floats
    """float32 (n_experts, rank, n_in)."""
    b: Floats
    """float32 (n_experts, n_out, rank), with scale, alpha and rank folded in."""

    @property
    def rank(self) -> int:
        """Number of columns of `b`, an upper bound of the delta's mathematical rank."""
        n_columns: int = self.a.shape[1]
        return n_columns

    def rows(self, expert: int, start: int, stop: int) -> Floats:
        """Return rows `start` to `stop` of one expert's delta: float32 (stop - start, n_in)."""
        delta: Floats = self.b[expert, start:stop] @ self.a[expert]
        return delta


def read_factors(file: WeightFile, pair: Pair, factor: float) -> Factors:
    """Read a pair of an adapter file and multiply `factor` into `b` in float64.

    Raises `GgufError` and `AdapterError` as `WeightFile.values` does.
    """
    a, b = file.values(pair.a), file.values(pair.b)
    with np.errstate(over="ignore", invalid="ignore"):  # callers report non-finite values
        folded: Floats = (b.astype(np.float64) * factor).astype(np.float32)
    if pair.is_flipped:
        a, folded = folded.T, a
    n_a, n_b = a.shape[-2:], folded.shape[-2:]
    return Factors(
        pair.target,
        np.ascontiguousarray(a.reshape(-1, *n_a)),
        np.ascontiguousarray(folded.reshape(-1, *n_b)),
    )


def targets_of(parts: Sequence[FusePart]) -> tuple[str, ...]:
    """Return the base tensors that any of `parts` changes, in order of first occurrence."""
    return tuple(dict.fromkeys(p.target for part in parts for p in pairs_of(part.header)))


def stacked_factors(
    target: str, parts: Sequence[FusePart], files: Sequence[WeightFile]
) -> Factors | None:
    """Return the factors of all parts for `target`, concatenated along the rank; None if none.

    `files` are the parts' files, in the same order. Skips parts at scale 0.
    """
    pieces = [
        read_factors(file, pair, factor_of(part, pair))
        for part, file in zip(parts, files, strict=True)
        if part.scale != 0.0
        for pair in pairs_of(part.header)
        if pair.target == target
    ]
    if not pieces:
        return None
    return Factors(
        target,
        np.concatenate([piece.a for piece in pieces], axis=1),
        np.concatenate([piece.b for piece in pieces], axis=2),
    )
