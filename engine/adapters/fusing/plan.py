"""What is fused of what: the parts, and for each fused tensor its pieces, shape and type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

from engine.adapters.adapter import Adapter
from engine.adapters.ggml_type import GgmlType
from engine.adapters.header import GgufHeader, read_header
from engine.adapters.own_rules import own_rules_broken
from engine.adapters.read import require_same
from engine.adapters.rules import ALPHA, LORA_A, LORA_B, Pair, pairs_of
from engine.adapters.tensors import TensorInfo
from engine.errors import AdapterError
from engine.stack import to_float32

BType = Literal[GgmlType.F16, GgmlType.F32]
"""Type of the B tensors of a fused adapter."""


@dataclass(frozen=True, slots=True)
class FusePart:
    """One adapter of what is fused."""

    header: GgufHeader
    sha256: str
    """Hex digest of the file, by which an earlier fused file of the same adapters is known."""
    scale: float


@dataclass(frozen=True, slots=True)
class Piece:
    """What one adapter contributes to a fused tensor."""

    part: int
    tensor: TensorInfo
    factor: float


@dataclass(frozen=True, slots=True)
class Plan:
    """One fused tensor: its pieces lie side by side, `n_outer` times one after the other."""

    name: str
    shape: tuple[int, ...]
    """In ggml's order."""
    type: GgmlType
    pieces: tuple[Piece, ...]
    n_outer: int


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


def plans_of(active: Sequence[FusePart], b_type: BType) -> tuple[list[Plan], list[Plan]]:
    """Return the fused A tensors and the fused B tensors, in the order of their first mention.

    Raises `AdapterError` where the parts change one tensor of different dimensions.
    """
    targets: dict[str, list[tuple[int, Pair]]] = {}
    for index, part in enumerate(active):
        for pair in pairs_of(part.header):
            targets.setdefault(pair.target, []).append((index, pair))
    a_plans: list[Plan] = []
    b_plans: list[Plan] = []
    for target, members in targets.items():
        _require_one_shape(active, members)
        first = members[0][1]
        rank = sum(pair.rank_b for _, pair in members)
        experts: tuple[int, ...] = first.b.ne[2:]
        while experts and experts[-1] == 1:
            experts = experts[:-1]
        n_a = first.a.ne[1] if first.is_flipped else first.a.ne[0]
        a_shape = (rank, n_a) if first.is_flipped else (n_a, rank, *experts)
        a_outer = n_a if first.is_flipped else prod(experts)
        b_shape = (rank, first.b.ne[1], *experts)
        a_types = {pair.a.type for _, pair in members}
        a_type = a_types.pop() if len(a_types) == 1 else GgmlType.F32
        a_pieces = tuple(Piece(index, pair.a, 1.0) for index, pair in members)
        b_pieces = tuple(Piece(i, pair.b, factor_of(active[i], pair)) for i, pair in members)
        a_plans.append(Plan(target + LORA_A, a_shape, a_type, a_pieces, a_outer))
        b_plans.append(Plan(target + LORA_B, b_shape, b_type, b_pieces, prod(b_shape[1:])))
    return a_plans, b_plans


def _require_one_shape(active: Sequence[FusePart], members: Sequence[tuple[int, Pair]]) -> None:
    def outside(pair: Pair) -> tuple[int, ...]:
        n_in = pair.a.ne[1] if pair.is_flipped else pair.a.ne[0]
        return (n_in, *pair.a.ne[2:], *pair.b.ne[1:])

    first = members[0][1]
    for index, pair in members:
        if outside(pair) != outside(first) or pair.a.ne[2:] != pair.b.ne[2:]:
            raise AdapterError(
                f"{active[index].header.path} and {active[members[0][0]].header.path} change "
                f"{first.target!r} of models of different size: fuse adapters of one base."
            )


def factor_of(part: FusePart, pair: Pair) -> float:
    """Return what llama.cpp multiplies B A by: `get_scale` of llama-adapter.h, in float64."""
    alpha = part.header.number(ALPHA) or 0.0
    scale = to_float32(part.scale)
    return scale * alpha / pair.rank_b if alpha else scale
