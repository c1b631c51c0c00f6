"""Plan the conversion of an adapter for one base: which modules become which tensor pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from engine.adapters.checking.tied_output import is_untied
from engine.adapters.conversion.placement.base_model import BaseModel, known_base
from engine.adapters.conversion.placement.build_pair import (
    Contribution,
    by_tensor,
    overlap,
    planned_pair,
)
from engine.adapters.conversion.placement.layout import (
    Address,
    Layout,
    Misfit,
    PlaceError,
    address_of,
    layout_of,
)
from engine.adapters.conversion.placement.multipliers import Factors, needs_config, row_factors
from engine.adapters.conversion.placement.plan import Plan
from engine.adapters.conversion.placement.refusal import Problem, double, refusal
from engine.adapters.foreign.source import LoraModule, LoraSource, ModuleKind
from engine.errors import AdapterError
from engine.gguf.header import GgufHeader
from modelfiles.wording import shown

_EMBEDDING: Final = "token_embd.weight"
_USUAL_PARAMETERS: Final = ("gate_up_proj", "down_proj")


def make_plan(
    source: LoraSource, base: GgufHeader, config: Mapping[str, Any] | None = None
) -> Plan:
    """Return the pairs of `source` on `base`, without reading weights.

    `config` is the base's config.json, needed if llama.cpp's converter multiplied weights by
    numbers that the header does not hold (Falcon-H1, Jais). Raises `AdapterError` in one sentence
    if the architecture has no rules, a module is unknown, has no tensor in the base or has another
    size, or two modules map to the same rows.

    Refuses adapters of tied embeddings; for a merge, which unties them, pass the header of the
    untied base.
    """
    model = known_base(base)
    _require_apart(source, base)
    layouts = _Layouts(model)
    contributions: list[Contribution] = []
    problems: list[Problem] = []
    for module in source.modules:
        try:
            contributions.append(_contribution(module, layouts))
        except PlaceError as problem:
            problems.append((module, problem))
    if problems:
        raise refusal(source, model, problems)
    pairs = []
    for target, members in by_tensor(contributions).items():
        tensor = base.tensors[target]
        if first_overlap := overlap(members):
            raise double(source, target, *first_overlap)
        pairs.append(planned_pair(tensor, members, _factors(target, model, config)))
    return Plan(tuple(pairs))


def _require_apart(source: LoraSource, base: GgufHeader) -> None:
    """Refuse an MLX embedding for an untied base: in MLX it also changes the output.

    PEFT does not change a tied output; MLX multiplies the output by the adapted table
    (`LoRAEmbedding.as_linear` of mlx-lm).
    """
    embeddings = [m.path for m in source.modules if m.kind is ModuleKind.EMBEDDING]
    if source.kind == "mlx" and embeddings and is_untied(base):
        raise AdapterError(
            f"changes {embeddings[0]}, which MLX also uses as the output, and a merge would part "
            "the two: train it without the embeddings.",
            source.path,
        )


class _Layouts:
    """The layouts of a base's modules, shared by the experts of one layer.

    For 256 experts in each of 58 layers, the row orders alone would take 1 GB.
    """

    __slots__ = ("_known", "base")

    def __init__(self, base: BaseModel) -> None:
        self.base = base
        self._known: dict[tuple[int | None, str], Layout] = {}

    def of(self, address: Address) -> Layout:
        """Return the layout of an address; raise `PlaceError` as `layout_of` does."""
        if address.expert is None:
            return layout_of(address, self.base)
        key = address.layer, address.name
        if key not in self._known:
            self._known[key] = layout_of(address, self.base)
        return replace(self._known[key], expert=address.expert)


def _contribution(module: LoraModule, layouts: _Layouts) -> Contribution:
    if _rank_of_a(module) != module.rank:
        raise PlaceError(Misfit.RANKS)
    path = module.path.removesuffix(".weight")
    address = address_of(path)
    if address is None:
        raise PlaceError(Misfit.UNKNOWN)
    if address.is_expert and not address.name:
        return _of_parameters(module, address, layouts)
    layout = layouts.of(replace(address, row_order=module.row_order))
    if layout.expert is not None and layout.expert >= layout.n_experts:
        raise PlaceError(Misfit.EXPERT, layout.parts[0].target, str(layout.n_experts))
    is_swapped = _fit(module, layout)
    if is_swapped is None:
        raise _size_error(module, layout)
    if layout.parts[0].target == _EMBEDDING and layouts.base.tensor("output", None) is None:
        raise PlaceError(Misfit.TIED, _EMBEDDING)
    return Contribution(module, layout, layout.parts, is_swapped)


def _rank_of_a(module: LoraModule) -> int:
    return module.a.shape[-2] if len(module.a.shape) > 1 else 0


def _of_parameters(module: LoraModule, address: Address, layouts: _Layouts) -> Contribution:
    """Return the contribution to the one expert parameter whose shape the module's pair fits."""
    fitting = []
    absent: PlaceError | None = None
    for name in module.parameters or _USUAL_PARAMETERS:
        try:
            layout = layouts.of(Address(name, address.layer, is_expert=True))
        except PlaceError as problem:
            absent = problem
            continue
        is_swapped = _fit(module, layout)
        absent = _size_error(module, layout)
        if is_swapped is not None:
            fitting.append(Contribution(module, layout, layout.parts, is_swapped))
    straight = [contribution for contribution in fitting if not contribution.is_swapped]
    chosen = straight if straight else fitting
    if len(chosen) > 1:
        raise PlaceError(Misfit.AMBIGUOUS, chosen[0].layout.parts[0].target)
    if not chosen:
        raise absent or PlaceError(Misfit.UNKNOWN)
    return chosen[0]


def _fit(module: LoraModule, layout: Layout) -> bool | None:
    """Return whether the module's factors are swapped, or None if they do not fit."""
    a, b, rank = module.a.shape, module.b.shape, module.rank
    if module.kind is ModuleKind.EMBEDDING:
        is_table = layout.parts[0].target == _EMBEDDING
        fits = a == (rank, layout.n_out) and b == (layout.n_in, rank) and is_table
        return False if fits else None
    if layout.parts[0].target == _EMBEDDING:
        return None
    lead: tuple[int, ...] = ()
    if module.kind is ModuleKind.EXPERTS:
        if layout.expert is not None:
            return None
        lead = (layout.n_experts or 1,)
    elif layout.n_experts and layout.expert is None:
        return None
    straight = (*lead, rank, layout.n_in), (*lead, layout.n_out, rank)
    if (a, b) == straight:
        return False
    swapped = (*lead, rank, layout.n_out), (*lead, layout.n_in, rank)
    return True if lead and (a, b) == swapped else None


def _size_error(module: LoraModule, layout: Layout) -> PlaceError:
    lead = f"{layout.n_experts} experts of " if module.kind is ModuleKind.EXPERTS else ""
    needs = f"{lead}{layout.n_out} x {layout.n_in}"
    return PlaceError(Misfit.SIZE, layout.parts[0].target, needs)


def _factors(target: str, base: BaseModel, config: Mapping[str, Any] | None) -> Factors | None:
    kind, members = base.architecture.multipliers, base.members(target)
    if not kind or not any(needs_config(kind, name) for name, _ in members):
        return None
    if config is None:
        raise AdapterError(
            f"{base.name} models scale weights such as {shown(target)} by numbers missing in GGUF "
            "files: give the base's config.json with --config."
        )
    return np.concatenate([row_factors(kind, name, n, config) for name, n in members])
