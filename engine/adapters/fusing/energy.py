"""Measure how much of a change an approximation keeps, as shares of the squared Frobenius norm."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_WHOLE: Final = 1.0 - 1e-6
"""Shares of at least this are whole up to float32 rounding."""


@dataclass(frozen=True, slots=True)
class Energy:
    """Squared Frobenius norms of a change and of the kept part."""

    kept: float
    total: float

    @property
    def share(self) -> float:
        """The share kept, 0 to 1; 1 if the change is zero."""
        return min(self.kept / self.total, 1.0) if self.total > 0.0 else 1.0

    @property
    def is_whole(self) -> bool:
        """Whether the loss is at most float32 rounding."""
        return self.share >= _WHOLE

    @property
    def shown(self) -> str:
        """The share for display, `97.3 %`; `100 %` only if `is_whole`."""
        if self.is_whole:
            return "100 %"
        return f"{min(self.share, 0.999):.1%}".replace("%", " %")


@dataclass(frozen=True, slots=True)
class ModuleEnergy:
    """Rank and energy kept of the change of one base tensor."""

    target: str
    """Name of the base tensor."""
    rank: int
    """Rank kept."""
    energy: Energy


def summed(energies: Iterable[Energy]) -> Energy:
    """Return the summed energy; squared norms of separate tensors add up."""
    each = tuple(energies)
    return Energy(sum(e.kept for e in each), sum(e.total for e in each))


def whole(modules: Iterable[ModuleEnergy]) -> Energy:
    """Return the summed energy of all modules."""
    return summed(module.energy for module in modules)


def least(modules: Iterable[ModuleEnergy]) -> ModuleEnergy:
    """Return the module with the smallest share kept; `modules` must not be empty."""
    return min(modules, key=lambda module: module.energy.share)
