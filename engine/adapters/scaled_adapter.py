"""An adapter of a stack with its header and its scale, as fusing and merging take it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.adapters.checking.own_rules import own_rules_broken
from engine.adapters.pairs import ALPHA, Pair
from engine.adapters.read import require_same
from engine.errors import AdapterError
from engine.gguf.header import GgufHeader, read_header
from engine.stack import Adapter, to_float32


@dataclass(frozen=True, slots=True)
class FusePart:
    """One adapter of what is fused."""

    header: GgufHeader
    sha256: str
    """Hex digest of the file, by which an earlier fused file of the same adapters is known."""
    scale: float


def part_of(adapter: Adapter, scale: float) -> FusePart:
    """Return an adapter as a part, its header read now and its content compared with the record.

    Raises `GgufError` or `AdapterError` where the file is gone or is no longer that adapter.
    """
    header = read_header(adapter.file)
    require_same(adapter)
    return FusePart(header, adapter.sha256, scale)


def active_parts(parts: Sequence[FusePart]) -> list[FusePart]:
    """Return the parts at a scale other than 0.

    Raises `AdapterError` where there is none, one is no sound LoRA adapter, or the architectures
    differ.
    """
    active = [part for part in parts if part.scale != 0.0]
    if not active:
        raise AdapterError("There is nothing to fuse: no adapter has a scale other than 0.")
    first = active[0].header
    for part in active:
        broken = own_rules_broken(part.header)
        if broken:
            raise AdapterError(broken[0].message)
        if part.header.architecture != first.architecture:
            raise AdapterError(
                f"{part.header.path} is for the architecture {part.header.architecture!r} and "
                f"{first.path} for {first.architecture!r}: fuse adapters of one base."
            )
    return active


def factor_of(part: FusePart, pair: Pair) -> float:
    """Return what llama.cpp multiplies B A by: `get_scale` of llama-adapter.h, in float64."""
    alpha = part.header.number(ALPHA) or 0.0
    scale = to_float32(part.scale)
    return scale * alpha / pair.rank_b if alpha else scale
