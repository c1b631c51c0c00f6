"""Build the pair for one base tensor from the modules whose rows it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from engine.adapters.conversion.placement import row_orders
from engine.adapters.conversion.placement.layout import Form, Layout, Part
from engine.adapters.conversion.placement.multipliers import Factors
from engine.adapters.conversion.placement.plan import Floats, PlannedPair
from engine.adapters.foreign.source import LoraModule
from engine.gguf.tensors import TensorInfo


@dataclass(frozen=True, slots=True)
class Contribution:
    """One module's part in the pair of one base tensor."""

    module: LoraModule
    layout: Layout
    parts: tuple[Part, ...]
    """The parts of `layout` in that tensor."""
    is_swapped: bool = False
    """Whether the columns of the module's `a` are outputs, as older PEFT versions wrote expert
    parameters stored as (n_experts, n_out, n_in)."""

    def read(self, factor: float) -> tuple[Floats, Floats]:
        """Return a (..., rank, n_in) and b (..., n_out, rank) times `factor`; 1 keeps the bits."""
        a, b = self.module.a.read(), self.module.b.read()
        if self.is_swapped:
            a, b = b.swapaxes(-1, -2), a.swapaxes(-1, -2)
        if a.ndim == 3 and not self.layout.n_experts:
            a, b = a[0], b[0]
        if factor != 1.0:
            b = _scaled(b, factor)
        if self.layout.columns is not None:
            a = row_orders.columns_of(a, self.layout.columns)
        return a, b


def planned_pair(
    tensor: TensorInfo, contributions: Sequence[Contribution], factors: Factors | None
) -> PlannedPair:
    """Return the pair for `tensor`; `factors` (n_rows,) multiply its rows, None keeps them."""
    first = contributions[0]
    if first.parts[0].form is not Form.ROWS:
        return _latent_pair(tensor, first)
    if tensor.name == "token_embd.weight":
        return _embedding_pair(tensor, first, factors)
    n_in, n_out, n_experts, _ = tensor.ne
    places, rank = _places(contributions, n_experts)
    lead = (n_experts,) if first.layout.n_experts else ()

    def build(scales: Sequence[float]) -> tuple[Floats, Floats]:
        if _is_whole(contributions, n_out):
            a, b = first.read(scales[0] if factors is None else 1.0)
            b = row_orders.rows_of(b, first.parts[0].rows)
            if factors is not None:
                b = _scaled(b, factors[:, None] * scales[0])
            return np.ascontiguousarray(a), np.ascontiguousarray(b)
        a = np.zeros((n_experts, rank, n_in), np.float32)
        b = np.zeros((n_experts, n_out, rank), np.float32)
        for contribution, place, scale in zip(contributions, places, scales, strict=True):
            one_a, one_b = contribution.read(scale if factors is None else 1.0)
            experts = _experts(contribution, n_experts)
            columns = slice(place, place + one_a.shape[-2])
            a[experts, columns] = one_a
            for part in contribution.parts:
                rows = slice(part.start, part.start + part.rows.size)
                taken = row_orders.rows_of(one_b, part.rows)
                if factors is not None:
                    taken = _scaled(taken, factors[rows, None] * scale)
                b[experts, rows, columns] = taken
        return a.reshape(*lead, rank, n_in), b.reshape(*lead, n_out, rank)

    members = tuple(contribution.module for contribution in contributions)
    a_shape, b_shape = (*lead, rank, n_in), (*lead, n_out, rank)
    return PlannedPair(tensor.name, members, rank, a_shape, b_shape, build)


def _is_whole(contributions: Sequence[Contribution], n_out: int) -> bool:
    """Return whether one module fills all rows of all experts, so that no zeros are needed."""
    first, *others = contributions
    is_one = not others and len(first.parts) == 1 and first.layout.expert is None
    return is_one and first.parts[0].rows.size == n_out


def _places(contributions: Sequence[Contribution], n_experts: int) -> tuple[list[int], int]:
    """Return the rank offset of each contribution, and the rank of the whole pair.

    Modules of different experts share rank indices; those of one expert are placed side by side.
    """
    n_used = np.zeros(n_experts, dtype=np.intp)
    places = []
    for contribution in contributions:
        experts = _experts(contribution, n_experts)
        place = int(n_used[experts].max())
        places.append(place)
        n_used[experts] = place + contribution.module.rank
    return places, int(n_used.max())


def _experts(contribution: Contribution, n_experts: int) -> slice:
    expert = contribution.layout.expert
    return slice(0, n_experts) if expert is None else slice(expert, expert + 1)


def _scaled(values: Floats, factors: Factors | float) -> Floats:
    scaled: Floats = (values.astype(np.float64) * factors).astype(np.float32)
    return scaled


def _embedding_pair(
    tensor: TensorInfo, contribution: Contribution, factors: Factors | None
) -> PlannedPair:
    """Return the pair of the token embedding, whose A is transposed for lookup by token."""
    n_embd, n_vocab, *_ = tensor.ne
    rank = contribution.module.rank

    def build(scales: Sequence[float]) -> tuple[Floats, Floats]:
        factor = scales[0] if factors is None else scales[0] * float(factors[0])
        a, b = contribution.read(factor)
        return np.ascontiguousarray(a.T), b

    shapes = (n_vocab, rank), (n_embd, rank)
    return PlannedPair(tensor.name, (contribution.module,), rank, *shapes, build)


def _latent_pair(tensor: TensorInfo, contribution: Contribution) -> PlannedPair:
    """Return the pair of attn_k_b or attn_v_b, with one matrix per head.

    A head's delta in attn_v_b is `b[rows] @ a`; in attn_k_b it is transposed: `a.T @ b[rows].T`.
    """
    part, rank = contribution.parts[0], contribution.module.rank
    n_heads = part.rows.shape[0]
    n_in, n_out, *_ = tensor.ne

    def build(scales: Sequence[float]) -> tuple[Floats, Floats]:
        if part.form is Form.LATENT_KEYS:
            # Multiply the factor into the stored B, here the module's a.
            a, b = contribution.read(1.0)
            heads = np.ascontiguousarray(b[part.rows].swapaxes(1, 2))
            shared = a.T
            if scales[0] != 1.0:
                shared = _scaled(shared, scales[0])
            return heads, np.repeat(shared[None], n_heads, axis=0)
        a, b = contribution.read(scales[0])
        return np.repeat(a[None], n_heads, axis=0), np.ascontiguousarray(b[part.rows])

    shapes = (n_heads, rank, n_in), (n_heads, n_out, rank)
    return PlannedPair(tensor.name, (contribution.module,), rank, *shapes, build)


def overlap(contributions: Sequence[Contribution]) -> tuple[LoraModule, LoraModule] | None:
    """Return the first two modules that write the same rows of one tensor, or None."""
    filled: dict[int | None, list[tuple[range, LoraModule]]] = {}
    for contribution in contributions if len(contributions) > 1 else ():
        expert, module = contribution.layout.expert, contribution.module
        keys = set(filled) if expert is None else {expert, None}
        for part in contribution.parts:
            rows = range(part.start, part.start + part.rows.size)
            for other_rows, other in (entry for key in keys for entry in filled.get(key, ())):
                if rows.start < other_rows.stop and other_rows.start < rows.stop:
                    return other, module
        for part in contribution.parts:
            rows = range(part.start, part.start + part.rows.size)
            filled.setdefault(expert, []).append((rows, module))
    return None


def by_tensor(
    contributions: Sequence[Contribution],
) -> dict[str, list[Contribution]]:
    """Return the contributions to each base tensor, in order of first occurrence."""
    grouped: dict[str, list[Contribution]] = {}
    for contribution in contributions:
        for target in dict.fromkeys(part.target for part in contribution.layout.parts):
            parts = tuple(p for p in contribution.layout.parts if p.target == target)
            grouped.setdefault(target, []).append(replace(contribution, parts=parts))
    return grouped
