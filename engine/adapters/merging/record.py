"""What a merge made: per touched tensor how much of the delta arrived, and the file as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.errors import AdapterError
from engine.gguf.ggml_type import GgmlType

LEAST_RETAINED: Final = 0.9
"""Share of a stack's delta that a merged file must hold to count as that stack's."""


@dataclass(frozen=True, slots=True)
class TensorMerge:
    """What became of one touched tensor."""

    name: str
    from_type: GgmlType
    to_type: GgmlType
    kept: float
    """<R - D, d>, with D the base's values, d the delta and R what is stored."""
    wanted: float
    """<d, d>."""

    @property
    def retained(self) -> float:
        """Share of the delta that is in the file: 1 is all, 0 is none; 1 of a delta of zero."""
        return self.kept / self.wanted if self.wanted else 1.0


@dataclass(frozen=True, slots=True)
class Merged:
    """A merged model that was written."""

    path: Path
    size_bytes: int
    tensors: tuple[TensorMerge, ...]
    """The touched tensors, in the file's order."""
    n_copied: int
    """Tensors with the very bytes of the base."""
    n_requantised: int
    """Untouched tensors stored in another type."""
    is_untied: bool
    """Whether the output got weights of its own."""
    notices: tuple[str, ...]
    """Sentences on what of the adapters is not in the model, or acts otherwise."""

    @property
    def retained(self) -> float:
        """Share of the whole delta that is in the file, from 0 to 1."""
        return share_retained(self.tensors)


def share_retained(tensors: Sequence[TensorMerge]) -> float:
    """Return the share of the whole delta that is in the file; 1 of a delta of zero."""
    wanted = sum(tensor.wanted for tensor in tensors)
    return sum(tensor.kept for tensor in tensors) / wanted if wanted else 1.0


def require_retained(tensors: Sequence[TensorMerge], wanted: float) -> None:
    """Raise `AdapterError` where less than `LEAST_RETAINED` of the delta can be in the file.

    `wanted` is <d, d> of the whole delta: where `tensors` are not all yet, the others are taken to
    hold theirs whole, so that a hopeless merge is not done to its end.
    """
    seen = sum(tensor.wanted for tensor in tensors)
    missing = sum(tensor.wanted - tensor.kept for tensor in tensors)
    if missing <= (1 - LEAST_RETAINED) * max(wanted, seen):
        return
    share = max(share_retained(tensors), 0.0)  # rounding can point the other way
    coarse = dict.fromkeys(t.to_type for t in tensors if t.retained < LEAST_RETAINED)
    types = " and ".join(type_.name.lower() for type_ in coarse)
    if GgmlType.F32 in coarse:
        remedy = "raise its scales"
    else:
        finer = "f32" if GgmlType.F16 in coarse else "f16"
        remedy = f"merge with --type {finer}, into the full-precision model with --from-original"
    where = "" if seen > 0.999 * wanted else f" in the first {len(tensors)} tensors"
    raise AdapterError(
        f"Only {share:.1%} of what the stack changes{where} would be in the merged model, as "
        f"{types} is too coarse for it: {remedy}, keep the stack as one adapter with 'tui fuse', "
        "or add --force."
    )
