"""What becomes of an adapter's modules on one base: pairs of GGUF tensors, not yet computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.adapters.foreign.source import LoraModule

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PlannedPair:
    """The pair for one base tensor, made of one module or of several side by side."""

    target: str
    """Name of the base tensor, `blk.0.attn_q.weight`."""
    members: tuple[LoraModule, ...]
    """Usually one; three where a base has q, k and v in one tensor and the adapter has not."""
    rank: int
    """Rank of the pair that is written: the sum of the members' ranks where they have different
    inputs or outputs, as in a block-diagonal pair."""
    a_shape: tuple[int, ...]
    """Shape of `target.lora_a` in numpy's order, as llama.cpp wants it (A of the token embedding
    is stored transposed)."""
    b_shape: tuple[int, ...]
    build: Callable[[Sequence[float]], tuple[Floats, Floats]]
    """Reads the members and returns A and B, float32, in those shapes. The argument holds one
    factor per member, multiplied into its part of B in float64 and rounded once; a factor of 1
    leaves every bit alone."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All pairs of an adapter for one base."""

    pairs: tuple[PlannedPair, ...]
    notices: tuple[str, ...] = ()
