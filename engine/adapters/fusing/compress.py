"""Makes the adapter of a stack smaller: truncated SVD of its factors, tensor by tensor.

The deltas of a stack are added up as factors side by side (`engine.adapters.factors`), so their
ranks add up, too. Adapters trained on one base overlap, and the summed delta often has much less
in it than that rank has room for; what a lower rank keeps is measured, per tensor and in all.
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
"""The rank that a fused adapter was compressed to."""
KEPT_KEY: Final = "lora_tui.fused.kept"
"""The share of the stack's energy that it keeps, 0 to 1."""

OnProgress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Compressed:
    """What a stack adds to one base tensor, at the rank that was asked for or below."""

    factors: Factors
    energy: Energy

    @property
    def module(self) -> ModuleEnergy:
        """What of it was kept, without the weights."""
        return ModuleEnergy(self.factors.target, self.factors.rank, self.energy)


def summed_ranks(parts: Sequence[FusePart]) -> dict[str, int]:
    """Return the rank of the whole stack for each base tensor it changes; reads headers alone.

    Raises `AdapterError` as `active_parts` and `plans_of` do.
    """
    _, b_plans = plans_of(active_parts(parts), GgmlType.F32)
    targets = targets_of([part for part in parts if part.scale != 0.0])
    return {target: plan.shape[0] for target, plan in zip(targets, b_plans, strict=True)}


def compressed(
    parts: Sequence[FusePart], rank: int | None, on_progress: OnProgress = lambda *_: None
) -> Iterator[Compressed]:
    """Yield what the parts do together to each base tensor, in the order of their first mention.

    `rank` is the most that is kept of any tensor, None for all; a tensor whose summed rank is not
    higher is left as it is. Parts at scale 0 are left out.

    Raises:
        AdapterError: There is nothing to fuse, the parts do not go together, or weights are not
            finite.
        GgufError: A part cannot be read, or changed since its header was read.
    """
    for factors in stacked(parts, on_progress):
        yield compressed_factors(factors, rank)


def stacked(
    parts: Sequence[FusePart], on_progress: OnProgress = lambda *_: None
) -> Iterator[Factors]:
    """Yield the factors of what the parts do together; raises as `compressed` does."""
    n_targets = len(summed_ranks(parts))
    active = active_parts(parts)
    with ExitStack() as stack:
        files = [stack.enter_context(WeightFile(part.header)) for part in active]
        for index, target in enumerate(targets_of(active)):
            on_progress(target, index / n_targets)
            factors = stacked_factors(target, active, files)
            if factors is not None:  # each target has a pair in one part at least
                yield factors
        for file in files:
            file.require_unchanged()


def compressed_factors(factors: Factors, rank: int | None) -> Compressed:
    """Return factors of at most `rank`, the best approximation for every expert.

    Raises `AdapterError` where a weight is not finite.
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
    """Write one adapter that does, at scale 1, nearly what `parts` do together; say how nearly.

    Singular values are split evenly between A and B, both in `type_`, or in F32 where F16 cannot
    hold a tensor. The metadata names the stack as that of an exactly fused adapter does
    (`fused_stack`), the rank and the share of the energy kept. Raises as `compressed` does, and
    `EngineError` where `out` cannot be written.
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
