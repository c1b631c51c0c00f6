"""Arrange the norms of an adapter's deltas in a grid of layers and modules."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from engine.adapters.inspection.inspect import Inspection, Target
from engine.adapters.inspection.module_place import modules_in_order

_MAX_CELLS: Final = 65_536
"""Limit, as a file may hold 32,768 pairs, each with its own layer and module."""


@dataclass(frozen=True, slots=True)
class NormGrid:
    """Frobenius norms at an adapter scale of 1, or their ratios to the base weights' norms.

    A value is None if nothing is changed or the norm is unknown. The norm of several tensors is the
    root of the sum of squares, for the deltas and for the base weights under them.
    """

    is_relative: bool
    """Whether values are |delta| / |W|, 0.01 for one percent."""
    layers: tuple[int, ...]
    modules: tuple[str, ...]
    """Kinds of module that are in layers."""
    cells: tuple[tuple[float | None, ...], ...]
    """Values, one row per layer, one column per module."""
    by_layer: tuple[float | None, ...]
    by_module: tuple[float | None, ...]
    others: tuple[tuple[str, float | None], ...]
    """Names and values of tensors outside the layers, such as the embeddings."""
    total: float | None

    @property
    def values(self) -> tuple[float, ...]:
        """All known values of single places, in no particular order."""
        known = [value for row in self.cells for value in row if value is not None]
        return (*known, *(value for _, value in self.others if value is not None))


def norm_grid(inspection: Inspection) -> NormGrid | None:
    """Return the grid of a measured adapter, or None if it was not measured.

    Also returns None for a grid of more than 65,536 cells, which no model needs. Values are
    relative if the norm of any of the base's weights is known.
    """
    if not inspection.deltas:
        return None
    is_relative = any(inspection.relative(t.name) is not None for t in inspection.targets)

    def value(targets: Iterable[Target]) -> float | None:
        return _value(inspection, targets, is_relative)

    in_layers = [t for t in inspection.targets if t.place.layer is not None]
    modules = modules_in_order(t.place.module for t in in_layers)
    layers = sorted({t.place.layer for t in in_layers if t.place.layer is not None})
    if len(layers) * len(modules) > _MAX_CELLS:
        return None
    at = {(t.place.layer, t.place.module): t for t in in_layers}
    cells = [[at.get((layer, module)) for module in modules] for layer in layers]
    return NormGrid(
        is_relative=is_relative,
        layers=tuple(layers),
        modules=modules,
        cells=tuple(tuple(value([t] if t else []) for t in row) for row in cells),
        by_layer=tuple(value(t for t in row if t) for row in cells),
        by_module=tuple(value(t for t in column if t) for column in zip(*cells, strict=True)),
        others=tuple(
            (t.place.module, value([t])) for t in inspection.targets if t.place.layer is None
        ),
        total=value(inspection.targets),
    )


def _value(inspection: Inspection, targets: Iterable[Target], is_relative: bool) -> float | None:
    """Return the norm of several deltas together, or its ratio to the weights under them."""
    deltas, weights = 0.0, 0.0
    for target in targets:
        delta = inspection.deltas.get(target.name)
        weight = inspection.base_norms.get(target.name, 0.0)
        if delta is None or math.isnan(delta.frobenius) or (is_relative and not weight):
            continue
        deltas += delta.frobenius**2
        weights += weight**2 if is_relative else 1.0
    if not weights:
        return None
    return math.sqrt(deltas / weights) if is_relative else math.sqrt(deltas)
