"""Keep the displayed mix and the one that the engine uses in agreement."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from engine.errors import EngineError
from tui.chat.session.mix import Mix
from tui.chat.session.observer import Observer


class Mixing:
    """Applies the displayed mix; if the engine refuses it, the accepted one is shown again.

    Args:
        set_stack: Makes the engine use the mix's stack; raises `EngineError`.
    """

    def __init__(self, set_stack: Callable[[Mix], Awaitable[None]], observer: Observer) -> None:
        self.shown = Mix()
        self.accepted = Mix()
        self._set_stack = set_stack
        self._observer = observer
        self._turn = asyncio.Lock()

    async def apply(self) -> bool:
        """Make the engine use the displayed mix; return whether it was asked for another stack."""
        is_asked = False
        async with self._turn:
            while self.shown != self.accepted:
                wanted = self.shown
                try:
                    if wanted.in_force != self.accepted.in_force:
                        is_asked = True
                        await self._set_stack(wanted)
                    self.accepted = wanted
                except EngineError as error:
                    if self.shown == wanted:
                        self.shown = self.accepted
                        self._observer.mix_changed()
                    self._observer.told(str(error), "error")
        return is_asked
