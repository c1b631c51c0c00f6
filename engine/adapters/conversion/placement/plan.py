"""Define the plan of a conversion: the pairs of GGUF tensors for one base, not yet computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.adapters.foreign.source import LoraModule

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PlannedPair:
    """The pair for one base tensor, made from one module or from several side by side."""

    target: str
    """Name of the base tensor, `blk.0.attn_q.weight`."""
    members: tuple[LoraModule, ...]
    """Usually one; three if the base has q, k and v in one tensor and the adapter does not."""
    rank: int
    """Rank of the written pair: the sum of the members' ranks, as in a block-diagonal pair; members
    of different experts share ranks."""
    a_shape: tuple[int, ...]
    """Shape of `target.lora_a` in numpy's order, as llama.cpp expects it (A of the token embedding
    is stored transposed)."""
    b_shape: tuple[int, ...]
    build: Callable[[Sequence[float]], tuple[Floats, Floats]]
    """Reads the members and returns A and B, float32, in these shapes. The argument holds one
    factor per member, multiplied into its part of B in float64 and rounded once; a factor of 1
    keeps every bit."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All pairs of an adapter for one base."""

    pairs: tuple[PlannedPair, ...]
    notices: tuple[str, ...] = ()
