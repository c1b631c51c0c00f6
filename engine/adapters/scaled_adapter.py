"""An adapter of a stack with its header and its scale, as fusing and merging take it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.adapters.checking.own_rules import own_rules_broken
from engine.adapters.checking.rules import require_kept
from engine.adapters.pairs import ALPHA, Pair
from engine.adapters.read import require_same
from engine.errors import AdapterError
from engine.gguf.header import GgufHeader, read_header
from engine.stack import Adapter, to_float32


@dataclass(frozen=True, slots=True)
class FusePart:
    """One adapter of a fusion, with its scale."""

    header: GgufHeader
    sha256: str
    """Hex SHA-256 of the file, to recognise an earlier fused file of the same adapters."""
    scale: float


def part_of(adapter: Adapter, scale: float) -> FusePart:
    """Read an adapter's header and check its content; return it as a part.

    Raises `GgufError` or `AdapterError` if the file is missing or its content changed.
    """
    header = read_header(adapter.file)
    require_same(adapter)
    return FusePart(header, adapter.sha256, scale)


def active_parts(parts: Sequence[FusePart]) -> list[FusePart]:
    """Return the parts at a scale other than 0.

    Raises `AdapterError` if there are none, one is not a valid LoRA adapter, or the architectures
    differ.
    """
    active = [part for part in parts if part.scale != 0.0]
    if not active:
        raise AdapterError("There is nothing to fuse: no adapter has a scale other than 0.")
    first = active[0].header
    for part in active:
        require_kept(own_rules_broken(part.header))
        if part.header.architecture != first.architecture:
            raise AdapterError(
                f"is for the architecture {part.header.architecture!r}, but others of the stack "
                f"for {first.architecture!r}: fuse adapters of one base.",
                part.header.path,
            )
    return active


def factor_of(part: FusePart, pair: Pair) -> float:
    """Return llama.cpp's factor of B A: `get_scale` of llama-adapter.h, in float64."""
    alpha = part.header.number(ALPHA) or 0.0
    scale = to_float32(part.scale)
    return scale * alpha / pair.rank_b if alpha else scale
