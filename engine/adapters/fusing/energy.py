"""How much of a change an approximation keeps: shares of the squared Frobenius norm."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_WHOLE: Final = 1.0 - 1e-6
"""Shares from here on are whole but for the rounding of float32."""


@dataclass(frozen=True, slots=True)
class Energy:
    """Squared Frobenius norms of a change and of what is kept of it."""

    kept: float
    total: float

    @property
    def share(self) -> float:
        """The share kept, 0 to 1; 1 where there is nothing to keep."""
        return min(self.kept / self.total, 1.0) if self.total > 0.0 else 1.0

    @property
    def is_whole(self) -> bool:
        """Whether nothing is lost but by the rounding of float32."""
        return self.share >= _WHOLE

    @property
    def shown(self) -> str:
        """The share for people, `97.3 %`; only what is whole is called 100 %."""
        if self.is_whole:
            return "100 %"
        return f"{min(self.share, 0.999):.1%}".replace("%", " %")


@dataclass(frozen=True, slots=True)
class ModuleEnergy:
    """What is kept of the change of one base tensor."""

    target: str
    """Name of the base tensor."""
    rank: int
    """Rank that is kept."""
    energy: Energy


def summed(energies: Iterable[Energy]) -> Energy:
    """Return the energy of all together: squared norms of separate tensors add up."""
    each = tuple(energies)
    return Energy(sum(e.kept for e in each), sum(e.total for e in each))


def whole(modules: Iterable[ModuleEnergy]) -> Energy:
    """Return the energy of all modules together."""
    return summed(module.energy for module in modules)


def least(modules: Iterable[ModuleEnergy]) -> ModuleEnergy:
    """Return the module of which the smallest share is kept; there must be one."""
    return min(modules, key=lambda module: module.energy.share)
