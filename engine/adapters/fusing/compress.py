"""Compress a fused stack to a lower rank by a truncated SVD of its factors, tensor by tensor.

The deltas of a stack are added by concatenating their factors (`engine.adapters.factors`), so
their ranks add up. Adapters trained on one base overlap, and the summed delta often needs a much
lower rank. The energy kept is measured per tensor and in total.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from engine.adapters.factors import Factors, stacked_factors, targets_of
from engine.adapters.fusing.energy import Energy, ModuleEnergy, summed, whole
from engine.adapters.fusing.file import Further, fused_fields
from engine.adapters.fusing.low_rank import squared_norm_of_product, truncated_product
from engine.adapters.fusing.plan import plans_of
from engine.adapters.fusing.spool import FloatType, Spool, put_pair, write_adapter_file
from engine.adapters.scaled_adapter import FusePart, active_parts
from engine.errors import AdapterError
from engine.gguf.ggml_type import GgmlType
from engine.gguf.weights import WeightFile
from engine.gguf.writer import Field, float32_field, uint32_field
from engine.stack import to_float32

RANK_KEY: Final = "lora_tui.fused.rank"
"""Rank that a fused adapter was compressed to."""
KEPT_KEY: Final = "lora_tui.fused.kept"
"""Share of the stack's energy that the adapter keeps, 0 to 1."""

OnProgress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Compressed:
    """The factors of a stack for one base tensor, at most of the requested rank."""

    factors: Factors
    energy: Energy

    @property
    def module(self) -> ModuleEnergy:
        """The rank and energy kept, without the weights."""
        return ModuleEnergy(self.factors.target, self.factors.rank, self.energy)


def summed_ranks(parts: Sequence[FusePart]) -> dict[str, int]:
    """Return the summed rank of the stack for each base tensor it changes, from headers alone.

    Raises `AdapterError` as `active_parts` and `plans_of` do.
    """
    _, b_plans = plans_of(active_parts(parts), GgmlType.F32)
    targets = targets_of([part for part in parts if part.scale != 0.0])
    return {target: plan.shape[0] for target, plan in zip(targets, b_plans, strict=True)}


def compressed(
    parts: Sequence[FusePart], rank: int | None, on_progress: OnProgress = lambda *_: None
) -> Iterator[Compressed]:
    """Yield the compressed factors of the stack for each base tensor, in order of first occurrence.

    `rank` is the maximum rank of a tensor, None for no limit; tensors whose summed rank is not
    higher stay exact. Skips parts at scale 0.

    Raises:
        AdapterError: There is nothing to fuse, the parts are incompatible, or weights are not
            finite.
        GgufError: A part cannot be read, or changed since its header was read.
    """
    for factors in stacked(parts, on_progress):
        yield compressed_factors(factors, rank)


def stacked(
    parts: Sequence[FusePart], on_progress: OnProgress = lambda *_: None
) -> Iterator[Factors]:
    """Yield the concatenated factors of the stack for each base tensor; raise as `compressed`."""
    n_targets = len(summed_ranks(parts))
    active = active_parts(parts)
    with ExitStack() as stack:
        files = [stack.enter_context(WeightFile(part.header)) for part in active]
        for index, target in enumerate(targets_of(active)):
            on_progress(target, index / n_targets)
            factors = stacked_factors(target, active, files)
            if factors is not None:  # always: each target has a pair in at least one part
                yield factors
        for file in files:
            file.require_unchanged()


def compressed_factors(factors: Factors, rank: int | None) -> Compressed:
    """Return the best approximation of at most `rank` for every expert.

    Raises `AdapterError` if a weight is not finite.
    """
    if not (np.isfinite(factors.a).all() and np.isfinite(factors.b).all()):
        raise AdapterError(
            f"The stack's weights for {factors.target} hold numbers that are not finite: use other "
            "adapters or smaller scales."
        )
    pairs = list(zip(factors.b, factors.a, strict=True))
    if rank is None or factors.rank <= rank:
        total = sum(squared_norm_of_product(b, a) for b, a in pairs)
        return Compressed(factors, Energy(total, total))
    experts = [truncated_product(b, a, rank) for b, a in pairs]
    energy = summed(expert.energy for expert in experts)
    kept = max(expert.rank for expert in experts)
    a = np.zeros((len(experts), kept, factors.a.shape[2]), np.float32)
    b = np.zeros((len(experts), factors.b.shape[1], kept), np.float32)
    for index, expert in enumerate(experts):
        a[index, : expert.rank] = expert.a
        b[index, :, : expert.rank] = expert.b
    return Compressed(Factors(factors.target, a, b), energy)


def write_compressed(
    parts: Sequence[FusePart],
    out: Path,
    rank: int,
    *,
    type_: FloatType = GgmlType.F16,
    texts: Mapping[str, Further] | None = None,
    on_progress: OnProgress = lambda *_: None,
) -> tuple[ModuleEnergy, ...]:
    """Write one adapter that approximates `parts` at scale 1; return the energy kept per tensor.

    Splits singular values evenly between A and B, both stored in `type_`, or in F32 if F16 cannot
    hold a tensor. The metadata holds the stack, as in an exactly fused adapter (`fused_stack`), the
    rank and the share of the energy kept. Raises as `compressed` does, and `EngineError` if `out`
    cannot be written.
    """
    active = active_parts(parts)
    modules = []
    with Spool(out.parent) as spool:
        for each in compressed(active, rank, on_progress):
            put_pair(spool, each.factors, type_)
            modules.append(each.module)
        write_adapter_file(spool, out, _fields(active, rank, whole(modules), texts or {}))
    return tuple(modules)


def _fields(
    active: Sequence[FusePart], rank: int, energy: Energy, texts: Mapping[str, Further]
) -> list[Field]:
    return [
        *fused_fields(
            active[0].header.architecture or "",
            texts,
            [part.sha256 for part in active],
            [to_float32(part.scale) for part in active],
        ),
        uint32_field(RANK_KEY, rank),
        float32_field(KEPT_KEY, energy.share),
    ]
