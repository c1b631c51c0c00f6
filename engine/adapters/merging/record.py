"""Record a merge: the share of the delta kept per touched tensor, and the file's properties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.errors import AdapterError
from engine.gguf.ggml_type import GgmlType

LEAST_RETAINED: Final = 0.9
"""Least share of a stack's delta that a merged file must hold."""


@dataclass(frozen=True, slots=True)
class TensorMerge:
    """The result of merging one touched tensor."""

    name: str
    from_type: GgmlType
    to_type: GgmlType
    kept: float
    """<R - D, d>, with D the base's values, d the delta and R the stored values."""
    wanted: float
    """<d, d>."""

    @property
    def retained(self) -> float:
        """Share of the delta in the file: 1 is all, 0 is none; 1 for a zero delta."""
        return self.kept / self.wanted if self.wanted else 1.0


@dataclass(frozen=True, slots=True)
class Merged:
    """A merged model file and its properties."""

    path: Path
    size_bytes: int
    tensors: tuple[TensorMerge, ...]
    """The touched tensors, in file order."""
    n_copied: int
    """Number of tensors copied byte for byte."""
    n_requantised: int
    """Number of untouched tensors stored in another type."""
    is_untied: bool
    """Whether a tied output got weights of its own."""
    notices: tuple[str, ...]
    """Warnings about parts of the adapters that are not merged, or act differently."""

    @property
    def retained(self) -> float:
        """Share of the whole delta in the file: 1 is all, 0 is none."""
        return share_retained(self.tensors)


def share_retained(tensors: Sequence[TensorMerge]) -> float:
    """Return the share of the whole delta in the file; 1 for a zero delta."""
    wanted = sum(tensor.wanted for tensor in tensors)
    return sum(tensor.kept for tensor in tensors) / wanted if wanted else 1.0


def require_retained(tensors: Sequence[TensorMerge], wanted: float) -> None:
    """Raise `AdapterError` if less than `LEAST_RETAINED` of the delta can be in the file.

    `wanted` is <d, d> of the whole delta. Assumes that tensors not yet in `tensors` keep their
    delta whole, so that a hopeless merge stops early.
    """
    seen = sum(tensor.wanted for tensor in tensors)
    missing = sum(tensor.wanted - tensor.kept for tensor in tensors)
    if missing <= (1 - LEAST_RETAINED) * max(wanted, seen):
        return
    share = max(share_retained(tensors), 0.0)  # rounding can make it negative
    coarse = dict.fromkeys(t.to_type for t in tensors if t.retained < LEAST_RETAINED)
    types = " and ".join(type_.name.lower() for type_ in coarse)
    if GgmlType.F32 in coarse:
        remedy = "raise its scales"
    else:
        finer = "f32" if GgmlType.F16 in coarse else "f16"
        remedy = f"merge with --outtype {finer}, into the full-precision model with --from-original"
    where = "" if seen > 0.999 * wanted else f" in the first {len(tensors)} tensors"
    raise AdapterError(
        f"Only {share:.1%} of what the stack changes{where} would be in the merged model, as "
        f"{types} is too coarse for it: {remedy}, keep the stack as one adapter with 'tui fuse', "
        "or add --force."
    )
