"""The content of the rack: a stack, and whether it is bypassed to run the bare base."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

from engine.stack import SCALE_MAX, SCALE_MIN, AdapterStack, StackEntry
from tui.errors import TuiError


class ScaleError(TuiError):
    """A typed scale is not a number in the range."""


@dataclass(frozen=True, slots=True)
class Mix:
    """An immutable value: every change returns a new one.

    Adapters are identified by name, not by number: a key pressed before the screen has shown a
    removal then changes nothing, instead of another adapter.
    """

    stack: AdapterStack = AdapterStack()  # noqa: RUF009  # immutable
    is_bypassed: bool = False

    @property
    def in_force(self) -> AdapterStack:
        """The stack that the engine should apply."""
        return self.stack.bypassed() if self.is_bypassed else self.stack

    @property
    def label(self) -> str:
        """Label of an answer under this mix."""
        return "base (adapters bypassed)" if self.is_bypassed else self.stack.label

    def with_stack(self, stack: AdapterStack) -> Self:
        """Return the mix with another stack, bypassed or not as before."""
        return replace(self, stack=stack)

    def with_bypass_toggled(self) -> Self:
        """Return the mix bypassed, or with the same stack in force again."""
        return replace(self, is_bypassed=not self.is_bypassed)

    def toggled(self, name: str) -> Self:
        """Return the mix with an adapter switched on or off."""
        return self._changed(name, lambda: self.stack.toggled(name))

    def rescaled(self, name: str, step: float) -> Self:
        """Return the mix with a scale moved by `step`, within the range, without rounding drift."""
        entry = self.stack.find(name)
        scale = 0.0 if entry is None else round(entry.scale + step, 2)
        return self.with_scale(name, min(SCALE_MAX, max(SCALE_MIN, scale)))

    def with_scale(self, name: str, scale: float) -> Self:
        """Return the mix with an adapter's scale set."""
        # Adding zero turns -0.0, which would be shown with its sign, into 0.0.
        return self._changed(name, lambda: self.stack.with_scale(name, scale + 0.0))

    def without(self, name: str) -> Self:
        """Return the mix without an adapter."""
        return self._changed(name, lambda: self.stack.without(name))

    def with_inserted(self, index: int, entry: StackEntry) -> Self:
        """Return the mix with an adapter inserted at `index`, unless its name is taken."""
        entries = self.stack.entries
        if self.stack.find(entry.adapter.name) is not None:
            return self
        return self.with_stack(AdapterStack((*entries[:index], entry, *entries[index:])))

    def _changed(self, name: str, change: Callable[[], AdapterStack]) -> Self:
        return self if self.stack.find(name) is None else self.with_stack(change())


def parse_scale(text: str) -> float:
    """Return the scale that the user typed; raise `ScaleError` with a sentence if it is invalid."""
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
