"""Measure the interference of adapters: the cosine between their deltas, from the factors.

The deltas of a stack add up. Two deltas in the same direction (cosine near 1) strengthen each
other, in opposite directions (near -1) they cancel, and orthogonal ones (near 0) keep their
strength: |s₁d₁ + s₂d₂|² = s₁²|d₁|² + s₂²|d₂|² + 2 s₁s₂<d₁, d₂>. Random deltas of n_out x n_in have
a cosine of about ±1 / √(n_out n_in), close to 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import combinations
from types import MappingProxyType
from typing import Final, TypeVar

from engine.adapters.inspection.delta_norm import inner_product, shape_of
from engine.adapters.inspection.inspect import Inspection
from engine.adapters.inspection.module_place import ModulePlace, modules_in_order
from engine.errors import stop_if

_Key = TypeVar("_Key")

APART: Final = 0.05
"""A smaller cosine counts as no overlap: the norm of two unit deltas is at most 2.5 % off √2."""
TOGETHER: Final = 0.3
"""A cosine from here on counts as strong: two deltas of equal norm are 14 % stronger than at 0."""


@dataclass(frozen=True, slots=True)
class Products:
    """Inner products of two deltas with each other and themselves, summed over tensors."""

    product: float = 0.0
    first: float = 0.0
    """Sum of squares of the first delta."""
    second: float = 0.0

    def __add__(self, other: Products) -> Products:
        return Products(
            self.product + other.product, self.first + other.first, self.second + other.second
        )

    @property
    def cosine(self) -> float | None:
        """Cosine from -1 to 1; None if one of the two is zero or not finite."""
        size = math.sqrt(self.first) * math.sqrt(self.second)
        if not size > 0.0 or not math.isfinite(self.product) or not math.isfinite(size):
            return None
        return max(-1.0, min(1.0, self.product / size))


@dataclass(frozen=True, slots=True)
class Overlap:
    """The comparison of two adapters."""

    first: str
    second: str
    n_first: int
    """Number of tensors that the first adapter changes."""
    n_second: int
    common: Mapping[str, Products] = field(default_factory=lambda: MappingProxyType({}))
    """Products for the tensors that both change."""
    places: Mapping[str, ModulePlace] = field(default_factory=lambda: MappingProxyType({}))
    """Places of the first adapter's tensors."""
    total: Products = Products()
    """Sums over all tensors, including those that only one adapter changes."""
    problem: str = ""
    """Why the two cannot be compared, in a sentence; all other results are then empty."""

    @property
    def cosine(self) -> float | None:
        """Cosine of the two deltas as a whole."""
        return self.total.cosine

    def by_module(self) -> dict[str, float]:
        """Return the cosine for each kind of module that both change."""
        sums: dict[str, Products] = {}
        for target, products in self.common.items():
            module = self.places[target].module
            sums[module] = sums.get(module, Products()) + products
        return _cosines({module: sums[module] for module in modules_in_order(sums)})

    def by_layer(self) -> dict[int, float]:
        """Return the cosine for each layer in which both change a tensor, in layer order."""
        sums: dict[int, Products] = {}
        for target, products in self.common.items():
            layer = self.places[target].layer
            if layer is not None:
                sums[layer] = sums.get(layer, Products()) + products
        return _cosines(dict(sorted(sums.items())))

    @property
    def sentence(self) -> str:
        """A sentence on whether the two interfere, judged by their weights."""
        if self.problem:
            return self.problem
        pair = f"{self.first} and {self.second}"
        cosine = self.cosine
        if cosine is None:
            still = [n for n, s in self._sizes if not s > 0.0]
            return f"{' and '.join(still) or pair} changes nothing, so there is nothing to disturb."
        if not self.common:
            return f"{pair} change different tensors: in the weights neither disturbs the other."
        how_much = f"(cosine {cosine_text(cosine)} over {len(self.common)} shared tensors)"
        if abs(cosine) < APART:
            text = f"{pair} hardly overlap {how_much}: in the weights neither disturbs the other"
        elif cosine >= TOGETHER:
            text = (
                f"{pair} pull the same way {how_much}: together they "
                "strengthen each other, so lower the scales when both are on"
            )
        elif cosine > 0:
            text = (
                f"{pair} pull partly the same way {how_much}: together they "
                "are a little stronger than apart"
            )
        elif cosine <= -TOGETHER:
            text = (
                f"{pair} pull against each other {how_much}: together each "
                "takes away from the other"
            )
        else:
            text = (
                f"{pair} pull slightly against each other {how_much}: together "
                "they are a little weaker than apart"
            )
        return text + self._strongest() + "."

    @property
    def _sizes(self) -> tuple[tuple[str, float], tuple[str, float]]:
        return (self.first, self.total.first), (self.second, self.total.second)

    def _strongest(self) -> str:
        """Return the module and layer that overlap noticeably more than the total, or ''."""
        least = abs(self.cosine or 0.0) + APART
        by_module, by_layer = self.by_module(), self.by_layer()
        module = max(by_module, key=lambda key: abs(by_module[key]), default="")
        layer = max(by_layer, key=lambda key: abs(by_layer[key]), default=-1)
        parts = []
        if abs(by_module.get(module, 0.0)) >= least:
            parts.append(f"{module} ({cosine_text(by_module[module])})")
        if abs(by_layer.get(layer, 0.0)) >= least:
            parts.append(f"layer {layer} ({cosine_text(by_layer[layer])})")
        return f"; most in {' and '.join(parts)}" if parts else ""


def overlaps(
    inspections: Sequence[Inspection],
    *,
    on_fraction: Callable[[float], None] = lambda _: None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> tuple[Overlap, ...]:
    """Compare every two of the measured adapters, each at a scale of 1.

    Reads every factor once. An adapter whose norms are unknown is not compared. Memory: the factors
    of one tensor of all adapters. Raises `GgufError` and `AdapterError` if weights cannot be read,
    `Cancelled` if `is_cancelled` returns true.
    """
    targets = list(dict.fromkeys(t.name for one in inspections for t in one.targets))
    common: dict[tuple[int, int], dict[str, Products]] = {
        key: {} for key in combinations(range(len(inspections)), 2)
    }
    squares = [0.0] * len(inspections)
    misfits: set[tuple[int, int]] = set()
    with ExitStack() as stack:
        readers = {
            index: stack.enter_context(one.open_factors())
            for index, one in enumerate(inspections)
            if one.is_measured
        }
        for n_done, target in enumerate(targets):
            stop_if(is_cancelled)
            found = {i: r.read(target) for i, r in readers.items() if target in r.targets}
            own = {index: inner_product(factors, factors) for index, factors in found.items()}
            for index, square in own.items():
                squares[index] += square
            for i, j in combinations(found, 2):
                if shape_of(found[i]) != shape_of(found[j]):
                    misfits.add((i, j))
                else:
                    product = inner_product(found[i], found[j])
                    common[i, j][target] = Products(product, own[i], own[j])
            on_fraction((n_done + 1) / len(targets))
    return tuple(
        _overlap(
            (inspections[i], inspections[j]),
            (squares[i], squares[j]),
            of_two,
            has_misfit=(i, j) in misfits,
        )
        for (i, j), of_two in common.items()
    )


def _overlap(
    two: tuple[Inspection, Inspection],
    squares: tuple[float, float],
    common: Mapping[str, Products],
    *,
    has_misfit: bool,
) -> Overlap:
    first, second = two
    unsound = [one.name for one in two if not one.is_measured]
    problem = ""
    if unsound:
        problem = (
            f"{' and '.join(unsound)} cannot be compared: the norms of the deltas are not known."
        )
    elif first.format != second.format and "gguf" in (first.format, second.format):
        problem = (
            f"{first.name} and {second.name} name their tensors differently: give a base, so that "
            "both are converted for it."
        )
    elif first.architecture != second.architecture or has_misfit:
        problem = (
            f"{first.name} and {second.name} are made for different models, so their deltas "
            "cannot be compared."
        )
    n_first, n_second = len(first.targets), len(second.targets)
    if problem:
        return Overlap(first.name, second.name, n_first, n_second, problem=problem)
    product = sum(products.product for products in common.values())
    total = Products(product, squares[0], squares[1])
    places = {target.name: target.place for target in first.targets}
    return Overlap(
        first.name,
        second.name,
        n_first,
        n_second,
        MappingProxyType(dict(common)),
        MappingProxyType(places),
        total,
    )


def cosine_text(cosine: float) -> str:
    """Return a cosine with two decimals, never `-0.00`."""
    return f"{round(cosine, 2) + 0.0:.2f}"


def _cosines(sums: Mapping[_Key, Products]) -> dict[_Key, float]:
    return {key: cosine for key, p in sums.items() if (cosine := p.cosine) is not None}
