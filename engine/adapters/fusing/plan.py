"""Plan a fusion: the parts, and for each fused tensor its pieces, shape and type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

from engine.adapters.pairs import LORA_A, LORA_B, Pair, pairs_of
from engine.adapters.scaled_adapter import FusePart, factor_of
from engine.errors import AdapterError
from engine.gguf.ggml_type import GgmlType
from engine.gguf.tensors import TensorInfo

BType = Literal[GgmlType.F16, GgmlType.F32]
"""Type of the B tensors of a fused adapter."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One adapter's part of a fused tensor."""

    part: int
    tensor: TensorInfo
    factor: float


@dataclass(frozen=True, slots=True)
class Plan:
    """One fused tensor: `n_outer` outer rows, each the concatenation of the pieces' rows."""

    name: str
    shape: tuple[int, ...]
    """Shape in ggml's order."""
    type: GgmlType
    pieces: tuple[Piece, ...]
    n_outer: int


def plans_of(active: Sequence[FusePart], b_type: BType) -> tuple[list[Plan], list[Plan]]:
    """Return the plans of the A tensors and of the B tensors, in order of first occurrence.

    Raises `AdapterError` if the parts have different dimensions for one base tensor.
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
                f"changes {first.target!r} of a model of another size than others of the stack: "
                "fuse adapters of one base.",
                active[index].header.path,
            )
