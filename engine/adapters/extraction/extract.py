"""Extract a low-rank adapter from the difference of a tuned model and its base.

Replaces each matrix of the difference by its best approximation of the given rank
(`engine.adapters.fusing.low_rank`) and measures the share of the difference kept. Memory: one
matrix in float32 and a few megabytes, besides the factors of one tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from engine.adapters.conversion.identity import base_fingerprint
from engine.adapters.extraction.difference import (
    Counterparts,
    Obstacle,
    compare,
    is_stored_differently,
    obstacle_to,
    subtracted,
)
from engine.adapters.factors import Factors
from engine.adapters.fusing.energy import Energy, ModuleEnergy, summed, whole
from engine.adapters.fusing.low_rank import LowRank, squared_norm, truncated_matrix
from engine.adapters.fusing.spool import FloatType, Spool, put_pair, write_adapter_file
from engine.adapters.pairs import ALPHA
from engine.errors import AdapterError, BaseError
from engine.gguf.ggml_type import GgmlType
from engine.gguf.header import GgufHeader
from engine.gguf.weights import WeightFile
from engine.gguf.writer import Field, float32_field, text_field, uint32_field
from modelfiles.wording import shown

VERSION_KEY: Final = "lora_tui.extract.version"
BASE_FINGERPRINT_KEY: Final = "lora_tui.extract.base_fingerprint"
"""Fingerprint of the base model, as in converted adapters (`base_fingerprint`)."""
RANK_KEY: Final = "lora_tui.extract.rank"
KEPT_KEY: Final = "lora_tui.extract.kept"
"""Share of the difference that the adapter holds, 0 to 1."""
_VERSION: Final = 1

OnProgress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Tensors whose difference an adapter cannot hold, for one reason."""

    obstacle: Obstacle
    names: tuple[str, ...]
    squared_norm: float
    """Squared norm of their difference; 0 if it cannot be computed, as for differing shapes."""


@dataclass(frozen=True, slots=True)
class Extracted:
    """An extracted adapter file and its properties."""

    path: Path
    size_bytes: int
    modules: tuple[ModuleEnergy, ...]
    left_out: tuple[LeftOut, ...]
    n_equal: int
    """Number of tensors that are equal in both models."""

    @property
    def energy(self) -> Energy:
        """Energy of the whole difference and of the kept part, as far as it can be computed."""
        return _with_left_out(self.modules, self.left_out)


def extract(
    tuned: GgufHeader,
    base: GgufHeader,
    out: Path,
    rank: int,
    *,
    type_: FloatType = GgmlType.F16,
    on_progress: OnProgress = lambda *_: None,
) -> Extracted:
    """Write an adapter that, at scale 1, brings `base` as close to `tuned` as `rank` allows.

    Tensors may be stored in any weight types, also in different ones: the rounding of a quantised
    model is then part of the difference. A and B are stored in `type_`, or in F32 if F16 cannot
    hold a tensor. Equal arguments give equal bytes. Calls `on_progress` with the tensor and the
    fraction done; it may raise to cancel, which leaves no file behind.

    Raises:
        BaseError: The models differ in architecture or size, or hold numbers that are not finite.
        AdapterError: The models have no difference that an adapter can hold.
        GgufError: A file cannot be read, or changed since its header was read.
        EngineError: `out` cannot be written.
    """
    comparison = compare(base, tuned)
    left_out = {obstacle: (list(names), 0.0) for obstacle, names in comparison.apart.items()}
    modules: list[ModuleEnergy] = []
    n_equal = n_done = 0
    n_values = sum(_n_values(pair) for pair in comparison.common)
    with WeightFile(base) as ours, WeightFile(tuned) as theirs, Spool(out.parent) as spool:
        for pair in comparison.common:
            on_progress(pair.base.name, n_done / max(n_values, 1))
            n_done += _n_values(pair)
            obstacle = obstacle_to(pair, base)
            if obstacle is None:
                module = _extract_tensor(pair, ours, theirs, spool, rank, type_)
                if module is not None:
                    modules.append(module)
                else:
                    n_equal += 1
                continue
            norm = _difference_of(pair, ours, theirs, obstacle)
            if norm is None:
                n_equal += 1
            else:
                names, sum_so_far = left_out.setdefault(obstacle, ([], 0.0))
                names.append(pair.base.name)
                left_out[obstacle] = names, sum_so_far + norm
        ours.require_unchanged()
        theirs.require_unchanged()
        groups = tuple(LeftOut(o, tuple(n), norm) for o, (n, norm) in left_out.items() if n)
        if not modules:
            raise AdapterError(_nothing_to_extract(groups), tuned.path)
        energy = _with_left_out(modules, groups)
        write_adapter_file(spool, out, _fields(base, tuned, rank, energy))
    return Extracted(out, out.stat().st_size, tuple(modules), groups, n_equal)


def _extract_tensor(
    pair: Counterparts,
    base: WeightFile,
    tuned: WeightFile,
    spool: Spool,
    rank: int,
    type_: FloatType,
) -> ModuleEnergy | None:
    """Add the pair of a tensor to the spool; return the energy kept, or None if nothing differs."""
    experts: list[LowRank | None] = []
    for index in range(pair.n_experts):
        delta = subtracted(pair, base, tuned, index)
        if delta is not None and not np.isfinite(delta).all():
            raise _not_finite(pair)
        experts.append(None if delta is None else truncated_matrix(delta, rank))
    found = [expert for expert in experts if expert is not None]
    if not found:
        return None
    kept = max(expert.rank for expert in found)
    n_in, n_out = pair.base.ne[:2]
    a = np.zeros((len(experts), kept, n_in), np.float32)
    b = np.zeros((len(experts), n_out, kept), np.float32)
    for index, expert in enumerate(experts):
        if expert is not None:
            a[index, : expert.rank] = expert.a
            b[index, :, : expert.rank] = expert.b
    put_pair(spool, Factors(pair.base.name, a, b), type_)
    return ModuleEnergy(pair.base.name, kept, summed(expert.energy for expert in found))


def _difference_of(
    pair: Counterparts, base: WeightFile, tuned: WeightFile, obstacle: Obstacle
) -> float | None:
    """Return the squared norm of a difference that is left out, or None if the tensor is equal."""
    if obstacle is Obstacle.NO_WEIGHTS:
        return 0.0 if is_stored_differently(pair, base, tuned) else None
    deltas = [subtracted(pair, base, tuned, index) for index in range(pair.n_experts)]
    norms = [squared_norm(delta) for delta in deltas if delta is not None]
    if not norms:
        return None
    if not np.isfinite(norms).all():
        raise _not_finite(pair)
    return sum(norms)


def _with_left_out(
    modules: list[ModuleEnergy] | tuple[ModuleEnergy, ...], left_out: tuple[LeftOut, ...]
) -> Energy:
    lost = (Energy(0.0, group.squared_norm) for group in left_out)
    return summed((whole(modules), *lost))


def _fields(base: GgufHeader, tuned: GgufHeader, rank: int, energy: Energy) -> list[Field]:
    base_name = base.text("general.name") or base.path.stem
    tuned_name = tuned.text("general.name") or tuned.path.stem
    fields = [
        text_field("general.architecture", base.architecture or ""),
        text_field("general.type", "adapter"),
        text_field("adapter.type", "lora"),
        float32_field(ALPHA, 0.0),  # ranks differ between tensors; alpha 0 skips division by rank
        text_field("general.name", f"{tuned_name} as adapter"),
        text_field(
            "general.description",
            f"What {tuned_name} has that {base_name} has not, at rank {rank}: "
            f"{energy.shown} of the difference.",
        ),
        uint32_field("general.base_model.count", 1),
        text_field("general.base_model.0.name", base_name),
    ]
    address = base.text("general.repo_url") or base.text("general.source.repo_url")
    if address:
        fields.append(text_field("general.base_model.0.repo_url", address))
    fields.append(uint32_field(VERSION_KEY, _VERSION))
    fields.append(text_field(BASE_FINGERPRINT_KEY, base_fingerprint(base)))
    fields.append(uint32_field(RANK_KEY, rank))
    fields.append(float32_field(KEPT_KEY, energy.share))
    return fields


def _nothing_to_extract(left_out: tuple[LeftOut, ...]) -> str:
    if not left_out:
        return "has the weights of the base: there is nothing to extract."
    reasons = ", ".join(f"{len(group.names)} {group.obstacle}" for group in left_out)
    return (
        f"differs from the base only in what no adapter can hold ({reasons}): use the model itself."
    )


def _not_finite(pair: Counterparts) -> BaseError:
    return BaseError(
        f"or the base holds NaN or infinity in {shown(pair.base.name)}: a file is damaged, or its "
        "training diverged.",
        pair.tuned.path,
    )


def _n_values(pair: Counterparts) -> int:
    n_in, n_out = pair.base.ne[:2]
    return n_in * n_out * pair.n_experts
