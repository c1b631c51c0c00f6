"""What the rack holds: a stack, and whether all of it is bypassed to hear the bare base."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

from engine.stack import SCALE_MAX, SCALE_MIN, AdapterStack, StackEntry
from tui.errors import TuiError


class ScaleError(TuiError):
    """A typed scale is not a number of the range."""


@dataclass(frozen=True, slots=True)
class Mix:
    """An immutable value: every change gives a new one.

    Adapters are named, not numbered: a key that was pressed before the screen caught up with a
    removal then changes nothing instead of another adapter.
    """

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

    def toggled(self, name: str) -> Self:
        """Switch an adapter on or off."""
        return self._changed(name, lambda: self.stack.toggled(name))

    def rescaled(self, name: str, step: float) -> Self:
        """Move a scale by `step`, within the range and without rounding drift."""
        entry = self.stack.find(name)
        scale = 0.0 if entry is None else round(entry.scale + step, 2)
        return self.with_scale(name, min(SCALE_MAX, max(SCALE_MIN, scale)))

    def with_scale(self, name: str, scale: float) -> Self:
        """Set a scale."""
        # Adding zero turns -0.0, which would be shown as such, into 0.0.
        return self._changed(name, lambda: self.stack.with_scale(name, scale + 0.0))

    def without(self, name: str) -> Self:
        """Remove an adapter."""
        return self._changed(name, lambda: self.stack.without(name))

    def with_inserted(self, index: int, entry: StackEntry) -> Self:
        """Put an adapter with its scale at `index`, unless its name is there already."""
        entries = self.stack.entries
        if self.stack.find(entry.adapter.name) is not None:
            return self
        return self.with_stack(AdapterStack((*entries[:index], entry, *entries[index:])))

    def _changed(self, name: str, change: Callable[[], AdapterStack]) -> Self:
        return self if self.stack.find(name) is None else self.with_stack(change())


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
