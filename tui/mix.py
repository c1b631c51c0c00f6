"""What the rack holds: a stack, and whether all of it is bypassed to hear the bare base."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from engine.stack import SCALE_MAX, SCALE_MIN, AdapterStack, StackEntry
from tui.errors import TuiError


class ScaleError(TuiError):
    """A typed scale is not a number of the range."""


@dataclass(frozen=True, slots=True)
class Mix:
    """An immutable value: every change gives a new one."""

    stack: AdapterStack = AdapterStack()  # noqa: RUF009  # immutable
    is_bypassed: bool = False

    @property
    def in_force(self) -> AdapterStack:
        """The stack that the engine is to apply."""
        return self.stack.bypassed() if self.is_bypassed else self.stack

    @property
    def label(self) -> str:
        """What an answer under this mix is labelled with."""
        return "base (adapters bypassed)" if self.is_bypassed else self.stack.label

    def with_stack(self, stack: AdapterStack) -> Self:
        """Return the mix with another stack; whether it is bypassed stays."""
        return replace(self, stack=stack)

    def with_bypass_toggled(self) -> Self:
        """Return the mix bypassed, or the very same stack in force again."""
        return replace(self, is_bypassed=not self.is_bypassed)

    def toggled(self, index: int) -> Self:
        """Switch the adapter at `index` on or off."""
        return self.with_stack(self.stack.toggled(self._name(index)))

    def rescaled(self, index: int, step: float) -> Self:
        """Move the scale at `index` by `step`, within the range and without rounding drift."""
        scale = round(self.stack.entries[index].scale + step, 2)
        return self.with_scale(index, min(SCALE_MAX, max(SCALE_MIN, scale)))

    def with_scale(self, index: int, scale: float) -> Self:
        """Set the scale at `index`."""
        return self.with_stack(self.stack.with_scale(self._name(index), scale + 0.0))

    def without(self, index: int) -> Self:
        """Remove the adapter at `index`."""
        return self.with_stack(self.stack.without(self._name(index)))

    def with_inserted(self, index: int, entry: StackEntry) -> Self:
        """Put an adapter with its scale at `index`."""
        entries = self.stack.entries
        return self.with_stack(AdapterStack((*entries[:index], entry, *entries[index:])))

    def _name(self, index: int) -> str:
        return self.stack.entries[index].adapter.name


def parse_scale(text: str) -> float:
    """Return the scale that a person typed; raises `ScaleError` with a sentence."""
    try:
        scale = float(text.strip().replace(",", "."))
    except ValueError:
        raise ScaleError(f"{text.strip()!r} is not a number: type a scale such as 0.7.") from None
    if not SCALE_MIN <= scale <= SCALE_MAX:
        raise ScaleError(
            f"A scale of {text.strip()} is out of range: it goes from "
            f"{SCALE_MIN:g} to {SCALE_MAX:g}."
        )
    return scale + 0.0
